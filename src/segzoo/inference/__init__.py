"""A trained network on pictures: its settings, predictions, what is saved of them, and scores."""
