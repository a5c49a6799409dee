"""LinkNet for segzoo."""
