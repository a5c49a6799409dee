"""torchvision's segmentation networks and data sets for segzoo."""
