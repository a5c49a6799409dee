"""What the operating system gives: files, memory, terminals, threads, other processes.

Light: loads no torch and no numpy.
"""
