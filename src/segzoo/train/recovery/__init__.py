"""What keeps a training from being lost: its state, undone steps, signals, errors of plugins."""
