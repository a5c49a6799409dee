"""A training whose disk becomes full, and one whose folder becomes read-only.

test_mishaps.py runs it in a namespace of its own. Prints what each training says when it ends, then
goes on with it and compares.
"""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

import segzoo

DISK, ROOT, OUT = (Path(word) for word in sys.argv[1:4])
BALLAST = DISK / "ballast"


class At:
    """Does something at the end of the second epoch."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call

    def segzoo_epoch_end(self, epoch: int) -> None:
        if epoch == 2:
            self.call()


def fill() -> None:
    with BALLAST.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return


def become_ordinary() -> None:
    """Give up root's right to write where permissions say no: all capabilities (Linux)."""
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None).capset(header, sets):
        raise OSError("capset failed")


def train(out: Path, *observers: object) -> None:
    segzoo.fit(
        model="linknet", data="hk", root=str(ROOT), out=str(out), size=32, epochs=4, batch_size=2,
        model_options={"width": 4}, workers=0, progress=False, observers=observers, device="cpu",
    )  # fmt: skip


def compare(way: str, spoil: Callable[[], None], mend: Callable[[], None]) -> None:
    run = DISK / way
    try:
        train(run, At(spoil))
        print(f"{way}: ended as if nothing had been")
    except segzoo.SegzooError as error:
        print(f"{way}: {error.message}")
    mend()
    segzoo.fit(resume=run, progress=False)
    one, two = (load_file(folder / "best.safetensors") for folder in (OUT / "whole", run))
    same = one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)
    print(f"{way}: {'the same weights' if same else 'other weights'}")
    print(f"{way}: {len((run / 'metrics.jsonl').read_text().splitlines())} epochs told of")


subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(DISK)], check=True)
train(OUT / "whole")
compare("full", fill, BALLAST.unlink)
become_ordinary()
LAST = DISK / "read-only" / "last"
compare("read-only", lambda: LAST.chmod(0o555), lambda: LAST.chmod(0o755))
