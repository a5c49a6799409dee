"""Training: `loop.py` holds all of it; the other files prepare and observe."""
