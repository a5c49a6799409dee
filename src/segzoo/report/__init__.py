"""What people look at: progress, curves, pictures, comparisons."""
