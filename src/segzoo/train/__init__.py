"""Training: from settings to the best weights of a run folder."""
