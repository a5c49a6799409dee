"""Digests of four short trainings, two of them resumed after a kill: to compare two trees.

Run it with each tree's code, on the same machine, and compare what it prints::

    python benchmarks/digests.py > before.json
    python benchmarks/digests.py > after.json && diff before.json after.json
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import safe_open

COMMON = [
    *("--sample", "--size", "64", "--epochs", "3", "--batch-size", "4", "--seed", "7"),
    *("--precision", "fp32", "--device", "cpu", "--workers", "0"),
]
TRAININGS: dict[str, tuple[list[str], bool]] = {
    "linknet on hk": (["--model", "linknet", "--data", "hk"], False),
    "unet on folder": (["--model", "unet", "-o", "width=8", "--data", "folder"], False),
    "unet over an encoder on hk, resumed": (
        ["--model", "unet", "-o", "encoder=tf_efficientnet_lite0", "--data", "hk"], True,
    ),
    "linknet on folder, resumed": (["--model", "linknet", "--data", "folder"], True),
}  # fmt: skip


def train(folder: Path, words: list[str], *, killed: bool) -> None:
    """Train into `folder`; if it is to be `killed`, in the second epoch, and then resumed."""
    command = [sys.executable, "-m", "segzoo", "train", *words]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not killed:
        subprocess.run([*command, "--out", str(folder)], check=True, **quiet)
        return
    process = subprocess.Popen([*command, "--out", str(folder)], **quiet)
    while process.poll() is None:
        metrics = folder / "metrics.jsonl"
        if metrics.is_file() and metrics.read_bytes().count(b"\n"):
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resume = [sys.executable, "-m", "segzoo", "train", "--resume", str(folder)]
    subprocess.run(resume, check=True, **quiet)


def digest(folder: Path) -> dict[str, Any]:
    """Return a digest of the best weights' names and bytes, and all losses."""
    sum_of = hashlib.blake2b(digest_size=16)
    with safe_open(folder / "best.safetensors", "numpy") as file:
        for name in sorted(file.keys()):
            sum_of.update(name.encode())
            sum_of.update(file.get_tensor(name).tobytes())
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    losses = [
        {split: record[split]["loss"] for split in record if isinstance(record[split], dict)}
        for record in records
    ]
    return {"weights": sum_of.hexdigest(), "losses": losses}


def main() -> None:
    """Train, and print the digests as JSON."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ["OMP_NUM_THREADS"] = "2"
    found = {}
    with TemporaryDirectory() as place:
        for number, (name, (words, killed)) in enumerate(TRAININGS.items()):
            folder = Path(place, str(number))
            train(folder, [*words, *COMMON], killed=killed)
            found[name] = digest(folder)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
