"""Training end to end from PNG pairs: segzoo against the loops that people write otherwise.

Runs the contestants of benchmarks/trainings.py one after the other, each in a process of its own,
for several rounds; takes the second epoch on, and prints and keeps the medians and, round by round,
how many times as fast segzoo is, which holds on a noisy machine too::

    python benchmarks/training.py --root HK --models linknet,unet-lite0 --rounds 3
    python benchmarks/training.py --root HK --models unet --pictures 16 --rounds 2
    python benchmarks/training.py --table      # only writes docs/performance.md from the file

HK is a folder in the layout of `hk`; without it portraits of 600 x 800 are generated. The
contestants that need packages which are not installed are left out and named.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from records import generated_portraits, keep, load, machine, write_table

SCRIPT = Path(__file__).with_name("trainings.py")
CONTESTANTS = ("tutorial", "reference", "lightning", "lightning-tuned", "step", "segzoo")
TITLES = {
    "tutorial": "the tutorial's loop",
    "reference": "a loop as torchvision's references",
    "lightning": "Lightning, as it comes",
    "lightning-tuned": "Lightning, 2 workers, bf16 where there is some",
    "step": "the same step on a batch in memory",
    "segzoo": "segzoo",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/bench-portraits"))
    parser.add_argument("--models", default="linknet,unet,unet-lite0,smp-unet-lite0")
    parser.add_argument("--pictures", type=int, default=48, help="of those in HK")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    results = load()
    if not given.table:
        root = given.root if given.root.is_dir() else generated_portraits(given.root)
        with TemporaryDirectory() as folder:
            some = some_of(root, given.pictures, Path(folder, "portraits"))
            for model in given.models.split(","):
                results[f"training, {model}"] = measured(model, some, given)
                keep(results)
    write_table("performance.md", "training", table(results))


def some_of(root: Path, count: int, folder: Path) -> Path:
    """Return a folder with the first pairs of another one."""
    for split, pairs in (("training", count), ("testing", 4)):
        (folder / split).mkdir(parents=True)
        for matte in sorted((root / split).glob("*_matte.png"))[:pairs]:
            for name in (matte.name, matte.name.replace("_matte", "")):
                (folder / split / name).symlink_to(matte.with_name(name).absolute())
    return folder


def measured(model: str, root: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run all contestants, round by round; return the medians and segzoo's ratios to them."""
    rates: dict[str, list[float]] = {}
    about: dict[str, Any] = {}
    for _ in range(given.rounds):
        for name in given.contestants.split(","):
            told = run(name, model, root, given.epochs)
            if told is None:
                continue
            own = statistics.median(told["rates"][1:])
            rates.setdefault(name, []).append(own)
            about |= {key: told[key] for key in ("bf16", "threads")}
            print(f"{model}, {name}: {own:.2f} pictures a second", flush=True)
    peak = run("peak", model, root, 1)
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates["segzoo"], own, strict=True))
        for name, own in rates.items()
    }
    return {
        **machine(),
        **about,
        "command": f"python benchmarks/training.py --models {model} --rounds {given.rounds} "
        f"--pictures {given.pictures}",
        "pictures_per_second": {name: statistics.median(own) for name, own in rates.items()},
        "segzoo_to": ratios,
        "step_gflop_per_picture": peak["gflop_per_picture"] if peak else None,
        "matmul_gflops_per_second": peak["gflops_per_second"] if peak else None,
    }


def run(name: str, model: str, root: Path, epochs: int) -> dict[str, Any] | None:
    """Run one contestant; return what it says, or None where a package of it is missing."""
    done = subprocess.run(
        [sys.executable, SCRIPT, name, model, root, "--epochs", str(epochs)],
        capture_output=True,
        text=True,
        env={**os.environ, "SEGZOO_CACHE": str(root.absolute().parent / "bench-cache")},
    )
    if done.returncode and "No module named" in done.stderr:
        print(f"{name}: {done.stderr.splitlines()[-1]}", flush=True)
        return None
    if done.returncode:
        raise SystemExit(f"{name} on {model} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results: dict[str, Any]) -> str:
    """Return the table of all models."""
    lines = [
        "| network | training loop | pictures / s | segzoo is |",
        "|---|---|---:|---:|",
    ]
    for key, record in results.items():
        if not key.startswith("training, "):
            continue
        for name, rate in record["pictures_per_second"].items():
            ratio = record["segzoo_to"][name]
            title = TITLES[name]
            lines.append(f"| {key[10:]} | {title} | {rate:.2f} | {ratio:.2f} x |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
