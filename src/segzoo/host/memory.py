"""What a machine's memory does not hold: told from other errors, and what would fit said."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from segzoo.errors import SegzooError

_TEXTS = (
    "DefaultCPUAllocator",
    "out of memory",
    "not enough memory",
    "Storage size calculation overflowed",
    "integer multiplication overflow",
    "could not create a memory object",
)
"""What torch says, besides what is a MemoryError: on a CPU it has no class of its own for it."""
_ASKED = re.compile(r"tried to allocate (\d+) bytes")
MULTIPLE = 32  # of which most networks take sides without padding


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not as much memory as was asked for."""
    if isinstance(error, MemoryError):
        return True
    text = str(error) if isinstance(error, RuntimeError) else ""
    return any(part in text for part in _TEXTS)


@contextlib.contextmanager
def memory_told(what: str, hint: str) -> Iterator[None]:
    """Turn what an allocator raises in the block into a SegzooError that says what took it."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise SegzooError(f"{what} takes more memory than there is{asked(error)}", hint) from error


def asked(error: BaseException) -> str:
    """Return how much was asked for at once, and how much there is, as the end of a sentence."""
    found = _ASKED.search(str(error))
    free = free_memory()
    parts = [f"{_text(int(found[1]))} asked for at once"] if found else []
    parts += [f"{_text(free)} are free"] if free is not None else []
    return f": {', '.join(parts)}" if parts else ""


def smaller_size(size: tuple[int, int], error: BaseException) -> str:
    """Return a size, as 256x256, that may fit where `size` did not: what one picture takes grows
    with its pixels.
    """
    found, free, held = _ASKED.search(str(error)), free_memory(), _held()
    share = 0.5
    if found and free is not None and held is not None:
        share = min(share, 0.5 * (free + held) / (int(found[1]) + held))
    sides = [max(MULTIPLE, int(side * share**0.5) // MULTIPLE * MULTIPLE) for side in size]
    return "x".join(str(min(pair)) for pair in zip(sides, size, strict=True))


def check_memory(size: tuple[int, int], channels: int, classes: int) -> None:
    """Raise SegzooError where the pixels and their logits alone take more than what is free.

    Linux does not refuse memory that there is not, but ends the process that uses it.
    """
    least, free = least_memory(size, channels, classes), free_memory()
    if free is not None and least > free:
        raise SegzooError(
            f"a picture of {size[0]}x{size[1]} through the network at once takes {least / 1e9:.1f} "
            f"GB of memory at least, {free / 1e9:.1f} GB are free",
            "give a smaller --size, or --window 512",
        )


def least_memory(size: tuple[int, int], channels: int, classes: int) -> int:
    """Return the bytes of a picture's pixels, logits and probabilities, all of 32 bits."""
    return 4 * size[0] * size[1] * (channels + 2 * classes)


def _text(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"


def free_memory() -> int | None:
    """Return the bytes of memory that are free, where the system says so."""
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(line.split()[1]) * 1024
    return None


def _held() -> int | None:
    """Return the bytes that this process has."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return None
