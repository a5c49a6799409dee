"""Where and how tensors are computed: device, precision, random states, several processes."""
