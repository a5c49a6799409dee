"""The CamVid driving scenes for segzoo."""
