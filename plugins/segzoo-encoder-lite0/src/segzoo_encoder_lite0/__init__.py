"""ImageNet weights of EfficientNet-Lite0 for segzoo."""
