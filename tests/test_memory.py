"""Keeping freed memory: where it may be done, and that it is."""

import os
import platform
import subprocess
import sys

import pytest

PR_SET_THP_DISABLE = 41
"""Of prctl: how many huge pages there are to be had depends on what else the machine does."""
FAULTS = """
import ctypes, resource, torch
ctypes.CDLL(None).prctl({thp}, 1, 0, 0, 0)
from segzoo.compute.freed_memory import keep_freed_memory

kept = keep_freed_memory() if {asked} else False
for step in range(16):
    if step == 6:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(10 << 20) for _ in range(2)]  # of 40 MB: glibc never keeps such by itself
    del tensors
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def measured(asked=True, environment=None):
    """Return whether freed memory is kept, and the page faults of ten steps of 80 MB."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "LD_PRELOAD"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(asked=asked, thp=PR_SET_THP_DISABLE)],
        env={**keep, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_steps_take_their_memory_from_the_process_and_not_from_the_system():
    _, before = measured(asked=False)
    kept, after = measured()
    assert kept
    assert before > 100_000
    assert after < before / 5, (before, after)


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_settings_of_ones_own_stay(name):
    value = "glibc.malloc.arena_max=2" if name == "GLIBC_TUNABLES" else "2"
    kept, _ = measured(environment={name: value})
    assert not kept
