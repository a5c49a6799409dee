"""The fault campaign: kills, damaged files, broken plugins and a long soak, counted.

Prints its counts and writes them into benchmarks/faults.json::

    python benchmarks/faults.py                          # the long form, about half an hour
    python benchmarks/faults.py --parts kills --kills 20

- kills: a small training is ended at a random moment by SIGKILL or SIGTERM, again and again until
  it finishes, and must have written, to the bit, what the same training writes undisturbed.
- flips: a bit is turned over somewhere in a state file, which must be noticed and named; where
  there is another generation, that is taken.
- torn: so with files that are cut, emptied, lost, another generation's, or have blocks that are
  zero, repeated, swapped or too many.
- disk: the disk becomes full, or a folder read-only, at a random moment. The training must end with
  an error that names the file and the reason, and go on to the same bits when that is mended.
- withdrawals: what a training needs is taken away at a random step: its cache, shared memory, file
  descriptors, reading processes, folders, pictures. It must go on, or end in time saying why, leave
  no process, and come to the same bits.
- plugins: observers that raise, exit, print or draw random numbers, which must be named and change
  nothing; and data sets that break at a sample, which must be named, and gone on with when mended.
- crashes: a network, loss, metric, data set or observer raises something at a random step. It must
  be named, and the training gone on with to the same bits.
- headers: weights files whose header is hostile or damaged, made by chance, and by atheris and
  hypothesis (where they are installed), which look for inputs that break the code. Each must be
  refused by name, or mean what the format's own reader finds in it and predict a picture.
- descriptions: weights files of every bridge and model whose options and configurations name files,
  downloads, code and absurd sizes. Nothing may be opened, connected to, imported or run, and none
  may take 10 s of the processor or 1 GB.
- rotten: a bit is turned over anywhere in a weights file, which must be noticed.
- pictures: damaged ones of every format. Each must be refused by name, or be the whole picture;
  what a format has no checksum for may come out changed, at the size that it had.
- folders: data folders of random names, splits, formats, depths, bands, orientations, palettes and
  lists of classes, whose truth is known. Each must be read as it is, or what is not must be refused
  or said.
- names: pictures whose names try to leave the folder, or to be one another's. Each must be written
  once, below the output folder.
- configs: settings files of which something is changed. Each must be refused, or be read.
- simulation: trainings, predictions, the cache and generated folders on a simulated disk, where
  every call of `system` fails in turn, is the last one before a kill or a power cut, or is met
  by signals. What is gone on with must end with the same bits, no file be half there, none of the
  user's be replaced.
- soak: very many steps of a tiny network; memory, open files, threads and processes must not grow.

Each part runs in a process of its own.
"""

import argparse
import functools
import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from campaign.configs import configs
from campaign.crashes import crashes
from campaign.descriptions import descriptions, rotten
from campaign.disk import disk
from campaign.folders import folders
from campaign.headers import headers
from campaign.kills import kills
from campaign.names import names
from campaign.pictures import pictures
from campaign.plugins import plugins
from campaign.simulation import simulation
from campaign.soak import soak
from campaign.states import flips, torn
from campaign.training import import_all, in_a_child, write_pictures
from campaign.withdrawals import withdrawals
from records import machine

FILE = Path(__file__).with_name("faults.json")
Part = Callable[[Path, Path, int, random.Random], dict[str, Any]]
PARTS: dict[str, tuple[Callable[..., dict[str, Any]], int]] = {
    "kills": (kills, 200),
    "flips": (flips, 1000),
    "torn": (torn, 500),
    "disk": (disk, 20),
    "withdrawals": (withdrawals, 100),
    "plugins": (plugins, 40),
    "crashes": (crashes, 200),
    "headers": (headers, 10_000),
    "descriptions": (descriptions, 2000),
    "rotten": (rotten, 1000),
    "pictures": (pictures, 1000),
    "folders": (folders, 10_000),
    "names": (names, 200),
    "configs": (configs, 5000),
    "simulation": (simulation, 3000),
    "soak": (soak, 20_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    for name, (_, count) in PARTS.items():
        parser.add_argument(f"--{name if name != 'soak' else 'steps'}", type=int, default=count)
    parser.add_argument("--atheris", type=int, default=20_000, help="headers that it makes")
    parser.add_argument("--hypothesis", type=int, default=5000, help="headers that it makes")
    parser.add_argument("--first", type=int, default=0, help="the simulation's first seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FILE, help="where the counts are written")
    given = parser.parse_args()
    chosen = given.parts.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    os.environ["OMP_NUM_THREADS"] = "1"
    results = json.loads(given.out.read_text()) if given.out.is_file() else {}
    failed = False
    with TemporaryDirectory() as folder:
        os.environ["SEGZOO_CACHE"] = f"{folder}/cache"
        import_all()
        root = Path(folder, "HK")
        write_pictures(root)
        for part in chosen:
            call, count = PARTS[part][0], getattr(given, part if part != "soak" else "steps")
            if part == "headers":
                call = functools.partial(call, atheris=given.atheris, hypothesis=given.hypothesis)
            if part == "simulation":
                call = functools.partial(call, first=given.first)
            Path(folder, part).mkdir()
            # Of its own for each, so that a part alone does what it does among the others.
            chance = random.Random(f"{given.seed} {part}")
            start = time.monotonic()
            found = by_itself(call, root, Path(folder, part), count, chance)
            print(part, json.dumps(found), f"({time.monotonic() - start:.0f} s)", flush=True)
            failed |= bool(found["failures"])
            results[part] = {**machine(), **found}
            given.out.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(int(failed))


def by_itself(call: Part, root: Path, folder: Path, count: int, chance: random.Random) -> Any:
    """Call a part in a fork of this process, and return what it found."""
    found = folder / "result.json"

    def write() -> None:
        found.write_text(json.dumps(call(root, folder, count, chance)))

    sys.stdout.flush()
    _, status = os.waitpid(in_a_child(write), 0)
    if found.is_file():
        return json.loads(found.read_text())
    return {"failures": [f"it ended with {os.waitstatus_to_exitcode(status)}"]}


if __name__ == "__main__":
    main()
