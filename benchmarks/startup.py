"""How long listing commands take: against importing what they cannot do without, and against a
`segzoo list` of the hand-written packages alone.

Runs the commands in turn, several rounds, and prints medians and the ratio round by round, which
holds on a noisy machine too::

    python benchmarks/startup.py
"""

import os
import statistics
import subprocess
import sys
import time

FLOOR = [sys.executable, "-c", "import typer, pluggy, rich.table"]
COMMANDS = {
    "segzoo list": [sys.executable, "-m", "segzoo", "list"],
    "segzoo --help": [sys.executable, "-m", "segzoo", "--help"],
    "segzoo show unet": [sys.executable, "-m", "segzoo", "show", "unet"],
    "segzoo plugins": [sys.executable, "-m", "segzoo", "plugins"],
}
BRIDGES = "segzoo-smp,segzoo-torchvision,segzoo-transformers,segzoo-camvid"
ROUNDS = 15


def seconds(command: list[str], **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    return time.perf_counter() - start


def main() -> None:
    for command in (FLOOR, *COMMANDS.values()):
        seconds(command)  # fills the file cache and writes bytecode
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    floor: list[float] = []
    few: list[float] = []
    for _ in range(ROUNDS):
        floor.append(seconds(FLOOR))
        few.append(seconds(COMMANDS["segzoo list"], SEGZOO_DISABLE=BRIDGES))
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    print(f"import typer, pluggy, rich.table: {statistics.median(floor):.3f} s")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, floor, strict=True))
        print(f"{name}: {statistics.median(values):.3f} s, {ratio:.2f} times that")
    ratio = statistics.median(a / b for a, b in zip(times["segzoo list"], few, strict=True))
    print(f"segzoo list, all plugins to those without {BRIDGES}: {ratio:.2f}")


if __name__ == "__main__":
    main()
