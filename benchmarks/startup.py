"""How long commands take to start: listing ones against importing what they cannot do without, and
`segzoo train` until its first step against importing what it trains with.

Runs the commands in turn, several rounds, and prints and keeps medians and the ratio round by
round, which holds on a noisy machine too::

    python benchmarks/startup.py --root HK
    python benchmarks/startup.py --table    # only writes docs/performance.md from the file
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from records import generated_portraits, keep, load, machine, write_table

LIGHT = "import typer, pluggy, rich.table"
HEAVY = "import torch, torchvision.io, PIL.Image, safetensors.torch, typer, pluggy, rich.progress"
IMPORTS = {
    LIGHT: LIGHT,
    HEAVY: HEAVY,
    f"{HEAVY}, timm": f"{HEAVY}, timm",
    "import timm": "import timm",
    "import segmentation_models_pytorch": "import segmentation_models_pytorch",
}
COMMANDS = {
    "segzoo list": ["list"],
    "segzoo --help": ["--help"],
    "segzoo show unet": ["show", "unet"],
    "segzoo plugins": ["plugins"],
}
FEW = "segzoo list, without the bridges"
BRIDGES = "segzoo-smp,segzoo-torchvision,segzoo-transformers,segzoo-camvid,segzoo-webdataset"
TRAIN = ["train", "--data", "hk", "--size", "256", "--batch-size", "8", "--model"]
TRAINED = {
    "segzoo train --model linknet, to the first step": [*TRAIN, "linknet"],
    "segzoo train --model unet over an encoder, to the first step": [
        *(*TRAIN, "unet", "-o", "encoder=tf_efficientnet_lite0")
    ],
}
FLOORS = {
    **dict.fromkeys([*COMMANDS, FEW], LIGHT),
    **dict(zip(TRAINED, (HEAVY, f"{HEAVY}, timm"), strict=True)),
}
FIRST_STEP = """
import os, sys, threading, time

def end(module, *_):
    if module.training and type(module).__name__ == "SegmentationModel":
        os._exit(0)

def end_at_the_first_step():
    while not hasattr(sys.modules.get("segzoo.train.loop"), "fit_run"):
        time.sleep(0.002)
    sys.modules["torch"].nn.modules.module.register_module_forward_pre_hook(end)

threading.Thread(target=end_at_the_first_step, daemon=True).start()
from segzoo.cli import main
sys.argv[0] = "segzoo"
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/bench-portraits"))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    results = load()
    if not given.table:
        root = given.root if given.root.is_dir() else generated_portraits(given.root)
        results["startup"] = measured(root, given.rounds)
        keep(results)
    write_table("performance.md", "startup", table(results))


def measured(root: Path, rounds: int) -> dict[str, Any]:
    """Time imports and commands round by round."""
    python = [sys.executable, "-c"]
    commands: dict[str, list[str]] = {name: [*python, code] for name, code in IMPORTS.items()}
    for name, words in COMMANDS.items():
        commands[name] = [sys.executable, "-m", "segzoo", *words]
    commands[FEW] = commands["segzoo list"]
    with TemporaryDirectory() as folder:
        for name, words in TRAINED.items():
            commands[name] = [*python, FIRST_STEP, *words, "--root", str(root)]
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, command in commands.items():
                out = f"{folder}/{turn}-{abs(hash(name))}"
                more = ["--out", out] if name in TRAINED else []
                hidden = {"SEGZOO_DISABLE": BRIDGES} if name == FEW else {}
                took = seconds([*command, *more], **hidden)
                if took is not None and turn:  # The first one fills caches and writes bytecode.
                    times[name].append(took)
    ratios = {
        name: statistics.median(a / b for a, b in zip(times[name], times[floor], strict=True))
        for name, floor in FLOORS.items()
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} times `{FLOORS[name]}`", flush=True)
    return {
        **machine(),
        "command": f"python benchmarks/startup.py --rounds {rounds}",
        "seconds": {name: statistics.median(own) for name, own in times.items() if own},
        "to_imports": ratios,
    }


def seconds(command: list[str], **environment: str) -> float | None:
    """Return how long a command takes; None for an import that is not installed."""
    start = time.perf_counter()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    if done.returncode and "No module named" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def table(results: dict[str, Any]) -> str:
    """Return the table."""
    lines = ["| command or import | seconds | times its imports |", "|---|---:|---:|"]
    record = results.get("startup", {"seconds": {}})
    for name, took in record["seconds"].items():
        ratio = record["to_imports"].get(name)
        lines.append(f"| `{name}` | {took:.2f} | {f'{ratio:.2f}' if ratio else ''} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
