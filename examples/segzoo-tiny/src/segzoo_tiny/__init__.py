"""A complete plugin of segzoo to copy from."""
