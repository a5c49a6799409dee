"""Generated portraits with soft mattes for segzoo."""
