"""Segmenting and scoring folders: segzoo against the loops that people write otherwise.

Runs the contestants of benchmarks/predictions.py one after the other, each in a process of its own,
for several rounds, on photographs of 12 million pixels; prints and keeps medians, and round by
round how many times as fast segzoo is, which holds on a noisy machine too::

    python benchmarks/prediction.py --root HK --weights runs/hk/best.safetensors --rounds 3
    python benchmarks/prediction.py --table    # only writes docs/performance.md from the file

HK is a folder in the layout of `hk`; without it portraits are generated, and without weights a
small U-Net is trained on them for an epoch. Contestants whose packages are not installed are left
out.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from records import generated_portraits, keep, load, machine, write_table

WEIGHTS = Path("runs/bench-weights/best.safetensors")
SCRIPT = Path(__file__).with_name("predictions.py")
GROUPS = {
    "masks of 12 million pixels": ("segzoo", "loop", "onnx"),
    "cut-outs of 12 million pixels": ("cutout", "rembg"),
    "scores at 256 x 256": ("score", "score-loop"),
}
TITLES = {
    "segzoo": "`segzoo predict --save mask`",
    "loop": "a loop over the pictures",
    "onnx": "the same with onnxruntime",
    "cutout": "`segzoo predict --save cutout`",
    "rembg": "as rembg does it, without the foreground's colours",
    "score": "`segzoo evaluate`, with intervals",
    "score-loop": "a loop with numpy",
}
LARGE = (3000, 4000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/bench-portraits"))
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    results = load()
    if not given.table:
        root = given.root if given.root.is_dir() else generated_portraits(given.root)
        weights = given.weights if given.weights.is_file() else trained(given.weights.parent, root)
        with TemporaryDirectory() as folder:
            photos = enlarged(root, Path(folder), given.pictures)
            for group, contestants in GROUPS.items():
                where = root if "score" in contestants else photos
                results[f"prediction, {group}"] = measured(
                    contestants, weights, where, given.rounds
                )
                keep(results)
    write_table("performance.md", "prediction", table(results))


def measured(
    contestants: tuple[str, ...], weights: Path, photos: Path, rounds: int
) -> dict[str, Any]:
    """Run contestants round by round; the first is segzoo, which the others are compared with."""
    rates: dict[str, list[float]] = {}
    scores: dict[str, float] = {}
    for _ in range(rounds):
        for name in contestants:
            told = run(name, weights, photos)
            if told is None:
                continue
            rates.setdefault(name, []).append(told["pictures_per_second"])
            if told["score"] is not None:
                scores[name] = told["score"]
            print(f"{name}: {told['pictures_per_second']:.2f} pictures a second", flush=True)
    own = rates[contestants[0]]
    return {
        **machine(),
        "command": f"python benchmarks/prediction.py --rounds {rounds}",
        "pictures_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "segzoo_to": {
            name: statistics.median(a / b for a, b in zip(own, values, strict=True))
            for name, values in rates.items()
        },
        "scores": scores,
    }


def run(name: str, weights: Path, photos: Path) -> dict[str, Any] | None:
    """Run one contestant; return what it says, or None where a package of it is missing."""
    with TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, SCRIPT, name, weights, photos, out], capture_output=True, text=True
        )
    if done.returncode and "No module named" in done.stderr:
        print(f"{name}: {done.stderr.splitlines()[-1]}", flush=True)
        return None
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def enlarged(root: Path, folder: Path, count: int) -> Path:
    """Write the first testing photographs as JPEG of 12 million pixels."""
    paths = [path for path in sorted((root / "testing").iterdir()) if "_matte" not in path.name]
    for number in range(count):
        image = Image.open(paths[number % len(paths)]).convert("RGB")
        image.resize(LARGE, Image.Resampling.BICUBIC).save(folder / f"{number:03d}.jpg", quality=90)
    return folder


def trained(folder: Path, root: Path) -> Path:
    """Train a U-Net over the packaged encoder for an epoch; return its weights."""
    import segzoo

    result = segzoo.fit(
        model="unet",
        model_options={"encoder": "tf_efficientnet_lite0"},
        data="hk",
        root=str(root),
        epochs=1,
        out=str(folder),
    )
    return result.weights


def table(results: dict[str, Any]) -> str:
    """Return the table of all groups."""
    lines = ["| what | by what | pictures / s | segzoo is |", "|---|---|---:|---:|"]
    for group in GROUPS:
        record = results.get(f"prediction, {group}", {})
        for name, rate in record.get("pictures_per_second", {}).items():
            ratio = record["segzoo_to"][name]
            lines.append(f"| {group} | {TITLES[name]} | {rate:.2f} | {ratio:.2f} x |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
