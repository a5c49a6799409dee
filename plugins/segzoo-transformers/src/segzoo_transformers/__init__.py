"""Hugging Face transformers' networks for semantic segmentation, as models of segzoo."""
