"""The segmentation model, encoders, and weights files: written, read and distrusted."""
