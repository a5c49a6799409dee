"""From samples to batches: reading processes, what is kept of resized pictures, crops."""
