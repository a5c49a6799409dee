"""From files to batches. What plugins may use is in `images`, `roots`, `splits` and `sample`."""
