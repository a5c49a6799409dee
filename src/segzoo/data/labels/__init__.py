"""From the values and colours of a mask file to classes, and the files that name the classes."""
