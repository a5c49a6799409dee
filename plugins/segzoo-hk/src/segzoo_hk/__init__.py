"""The CUHK portrait matting set for segzoo."""
