"""The contract of the kit, for the six networks; DeepLabV3 with an auxiliary head once more."""

from segzoo.testing import ModelConformance


class Small(ModelConformance):
    """At 32 x 32: these networks are large, and dilated: they compute much per pixel."""

    def side(self) -> int:
        return 32


class Deeper(Small):
    """The code of those over ResNet-50 with more blocks: what takes long is checked there."""

    test_gradients = test_export = test_seeded = test_global_state = test_channels = None  # pyright: ignore[reportAssignmentType]


class TestFCNResNet50(Small):
    model = "segzoo-torchvision/tv-fcn-resnet50"


class TestFCNResNet101(Deeper):
    model = "segzoo-torchvision/tv-fcn-resnet101"


class TestDeepLabV3ResNet50(Small):
    model = "segzoo-torchvision/tv-deeplabv3-resnet50"


class TestDeepLabV3ResNet101(Deeper):
    model = "segzoo-torchvision/tv-deeplabv3-resnet101"


class TestDeepLabV3MobileNetV3Large(Small):
    model = "segzoo-torchvision/tv-deeplabv3-mobilenet-v3-large"


class TestDeepLabV3MobileNetV3LargeWithAuxiliaryHead(Small):
    model = "segzoo-torchvision/tv-deeplabv3-mobilenet-v3-large"
    options = {"aux": True}


class TestLRASPPMobileNetV3Large(ModelConformance):
    model = "segzoo-torchvision/tv-lraspp-mobilenet-v3-large"
