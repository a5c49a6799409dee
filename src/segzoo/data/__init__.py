"""Data sets as the trainer sees them: samples, splits, and batches at one size."""
