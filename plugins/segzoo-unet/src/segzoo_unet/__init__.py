"""U-Net for segzoo."""
