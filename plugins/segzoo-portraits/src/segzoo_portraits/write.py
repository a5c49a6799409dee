"""Writing generated portraits in the HK layout, in several processes.

``python -m segzoo_portraits.write FOLDER TRAIN TEST SEED PART PARTS`` writes one part of them.
Processes are started this way, not forked, because the caller may run torch's threads; and not by
multiprocessing's spawn, because that would run the caller's own script again.
"""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from segzoo_portraits.generate import portrait

TEST_OFFSET = 1_000_000  # test pictures stay the same whatever the number of training pictures
FEW = 48  # below this, starting processes costs more than it saves


def write_portraits(folder: Path, *, train: int, test: int, seed: int) -> None:
    """Write ``training/NNNNN.png`` with ``NNNNN_matte.png``, and ``testing/``.

    Raises RuntimeError with the output of a process that failed.
    """
    for split in ("training", "testing"):
        (folder / split).mkdir(parents=True, exist_ok=True)
    parts = 1 if train + test < FEW else os.cpu_count() or 1
    if parts == 1:
        write_part(folder, train, test, seed, 0, 1)
        return
    words = [str(folder), str(train), str(test), str(seed)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", __name__, *words, str(part), str(parts)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in range(parts)
    ]
    errors = [process.communicate()[1] for process in processes]
    failed = [e for e, process in zip(errors, processes, strict=True) if process.returncode]
    if failed:
        raise RuntimeError(f"generating portraits in {folder} failed:\n{failed[0]}")


def write_part(folder: Path, train: int, test: int, seed: int, part: int, parts: int) -> None:
    """Write every picture whose turn in the list is `part` modulo `parts`."""
    jobs = [("training", number, number) for number in range(train)]
    jobs += [("testing", number, number + TEST_OFFSET) for number in range(test)]
    for split, number, index in jobs[part::parts]:
        image, matte = portrait(index, seed=seed)
        stem = folder / split / f"{number + 1:05d}"
        # Level 1: half of the time would otherwise go into packing.
        Image.fromarray(image).save(f"{stem}.png", compress_level=1)
        Image.fromarray(matte).save(f"{stem}_matte.png", compress_level=1)


if __name__ == "__main__":
    write_part(Path(sys.argv[1]), *map(int, sys.argv[2:7]))
