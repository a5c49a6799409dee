"""The architectures and encoders of segmentation-models-pytorch for segzoo."""
