"""What segzoo-encoder-lite0 provides; light, the weights are read in `weights.py`."""

from segzoo import EncoderWeightsSpec


def segzoo_encoder_weights() -> list[EncoderWeightsSpec]:
    """Return the ImageNet weights of `tf_efficientnet_lite0`."""
    return [
        EncoderWeightsSpec(
            encoder="tf_efficientnet_lite0",
            tag="imagenet",
            summary="EfficientNet-Lite0 trained on ImageNet, 4.7 M parameters",
            load="segzoo_encoder_lite0.weights:load",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            licence="Apache-2.0",
        )
    ]
