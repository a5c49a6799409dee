"""Keeping freed memory, so that a step need not ask the system for its activations again."""

import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
LARGEST_INT = 2**31 - 1
TOP_PAD = 256 << 20


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next request; return whether it does.

    By itself it maps each large tensor anew and gives it back when it is freed: the system then
    clears every page of every activation in every step. What a process has taken it keeps until
    it ends, which is the most it needs in a step. Other systems, and a process that was started
    with a MALLOC_ or glibc.malloc setting of its own, or with another allocator, stay as they are.
    """
    own = any(name.startswith("MALLOC_") for name in os.environ)
    if own or "GLIBC_TUNABLES" in os.environ or "LD_PRELOAD" in os.environ:
        return False
    if platform.libc_ver()[0] != "glibc":
        return False
    settings = {
        M_ARENA_MAX: 1,
        M_MMAP_MAX: 0,
        M_TRIM_THRESHOLD: LARGEST_INT,
        M_TOP_PAD: TOP_PAD,
    }
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in settings.items())
