"""Pictures and masks in tar shards, as WebDataset lays them out, for segzoo."""
