"""How cost grows: with pairs in a folder, classes, the size of a picture, workers and processes.

Each point is measured in a process of its own. Prints and keeps the figures, and writes them into
docs/performance.md::

    python benchmarks/growth.py                       # about 15 minutes, 8 GB of disk for a while
    python benchmarks/growth.py --parts pairs,classes --most-pairs 100000
    python benchmarks/growth.py --table               # only writes the page from the file
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prediction import WEIGHTS, trained
from records import generated_portraits, keep, load, machine, write_table

PAIRS = (1_000, 10_000, 100_000, 1_000_000)
CLASSES = (2, 11, 21, 150)
SIDES = (1024, 2048, 4096, 8192)
PARTS = ("pairs", "classes", "sizes", "workers", "ranks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("runs/bench-portraits"))
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--most-pairs", type=int, default=PAIRS[-1])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--point", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        print(json.dumps(POINTS[given.point[0]](*given.point[1:])))
        return
    results = load()
    if not given.table:
        root = given.root if given.root.is_dir() else generated_portraits(given.root)
        for part in given.parts.split(","):
            print(part, flush=True)
            rows = measured(part, root, given.most_pairs)
            results[f"growth, {part}"] = {**machine(), "rows": rows}
            keep(results)
    write_table("performance.md", "growth", table(results))


def measured(part: str, root: Path, most: int) -> list[dict[str, Any]]:
    """Measure the points of one part."""
    rows: list[dict[str, Any]] = []
    if part == "pairs":
        for pairs in (count for count in PAIRS if count <= most):
            with TemporaryDirectory(dir=Path.cwd()) as folder:
                write_pairs(Path(folder, "data"), pairs)
                time.sleep(3)  # A folder that has just changed is not remembered.
                where = (f"{folder}/data", f"{folder}/cache")
                first, again = (point("pairs", *where) for _ in range(2))
            rows.append(
                {
                    "pairs": pairs,
                    "first_seconds": first["seconds"],
                    "again_seconds": again["seconds"],
                    "bytes_per_pair": again["bytes"] / pairs,
                    "epochs_bytes": again["epochs_bytes"],
                }
            )
            print(rows[-1], flush=True)
    elif part == "classes":
        rows = [point("classes", str(count)) for count in CLASSES]
    elif part == "sizes":
        ways = ("whole", "window")
        rows = [point("size", str(side), how, str(root)) for side in SIDES for how in ways]
    elif part == "workers":
        most_workers = os.cpu_count() or 1
        rows = [point("workers", str(n), str(root)) for n in (0, *range(1, most_workers + 1))]
    elif part == "ranks":
        rows = [ranks(count, root) for count in (1, 2)]
    else:
        raise SystemExit(f"no such part: {part}; there are {', '.join(PARTS)}")
    return rows


def point(*words: str) -> dict[str, Any]:
    """Measure a point in a process of its own."""
    command = [sys.executable, __file__, "--point", *words]
    cache = words[2] if words[0] == "pairs" else str(Path("runs/bench-cache").absolute())
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "SEGZOO_CACHE": cache}
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def write_pairs(root: Path, pairs: int) -> None:
    """Write pairs of 8 x 8 pictures, each a file of its own, a tenth of them for `val`."""
    import io

    from PIL import Image

    files: dict[str, bytes] = {}
    for kind, picture in (
        ("images", Image.new("RGB", (8, 8), (90, 120, 60))),
        ("masks", Image.frombytes("L", (8, 8), bytes(32) + b"\x01" * 32)),
    ):
        data = io.BytesIO()
        picture.save(data, "PNG")
        files[kind] = data.getvalue()
    for kind, content in files.items():
        for split in ("train", "val"):
            (root / kind / split).mkdir(parents=True)
        for number in range(pairs):
            split = "val" if number % 10 == 9 else "train"
            (root / kind / split / f"{number:08d}.png").write_bytes(content)


def pairs_point(root: str, _cache: str) -> dict[str, Any]:
    """List a folder and make ready to read it; then go through three epochs' orders."""
    from segzoo.data.loading.batches import Batches
    from segzoo.data.opening import DataSource

    source = DataSource("folder", root=root)  # what is imported is none of the folder's
    before, start = resident(), time.perf_counter()
    train = source.split("train")
    how: dict[str, Any] = {"size": (8, 8), "batch_size": 8, "shuffle": True, "cache": "none"}
    batches = Batches(train, source.info(train), **how, workers=0)
    own = batches.order(0)[:1]
    seconds, taken = time.perf_counter() - start, resident() - before
    after: list[int] = []
    for number in range(1, 25):
        # An epoch's order and batches, without the pictures.
        for first, last, _ in batches._own():
            own = batches.order(number)[first:last] if first == 0 else own
        after.append(resident())
    # Medians, because memory that is freed is not always given back at once.
    more = statistics.median(after[16:]) - statistics.median(after[8:16])
    return {"seconds": seconds, "bytes": taken, "epochs_bytes": more}


def classes_point(count: str) -> dict[str, Any]:
    """Take the loss and the scores of batches of 8 logits of 256 x 256."""
    import torch

    from segzoo.losses.weighted import make_loss
    from segzoo.metrics.selection import MetricSet

    classes, sizes = int(count), (8, int(count), 256, 256)
    how: dict[str, Any] = {
        "classes": tuple(f"c{n}" for n in range(classes)),
        "ignore_index": 255,
        "target": "labels",
    }
    logits = torch.randn(sizes, requires_grad=True)
    target = torch.randint(0, classes, (8, 256, 256))
    loss, metrics = make_loss("ce + dice", **how), MetricSet("", **how)
    metrics.start()

    def step_loss() -> None:
        loss(logits, target).backward()

    def step_metrics() -> None:
        with torch.inference_mode():
            metrics.update(logits, target, [str(n) for n in range(8)], 0)

    return {
        "classes": classes,
        "loss_ms": 1000 * median_seconds(step_loss),
        "metrics_ms": 1000 * median_seconds(step_metrics),
        "logits_mb": 4 * logits.numel() / 1e6,
    }


def size_point(side: str, how: str, root: str) -> dict[str, Any]:
    """Segment a square photograph and write its mask."""
    from PIL import Image

    from segzoo.inference.files import predict_files
    from segzoo.inference.settings import Inference

    weights = WEIGHTS if WEIGHTS.is_file() else trained(WEIGHTS.parent, Path(root))
    way = Inference() if how == "whole" else Inference(window="auto", overlap=0.25)
    with TemporaryDirectory() as folder:
        source = next(p for p in sorted(Path(root, "testing").iterdir()) if "_matte" not in p.name)
        photo = Path(folder, "a.jpg")
        Image.open(source).convert("RGB").resize((int(side), int(side))).save(photo, quality=90)
        small = Path(folder, "b.jpg")
        Image.open(source).convert("RGB").resize((300, 300)).save(small)
        predict_files(weights, [small], Path(folder, "out"), how=way, save="mask")
        before, start = peak(), time.perf_counter()
        predict_files(weights, [photo], Path(folder, "out"), how=way, save="mask")
        return {
            "side": int(side),
            "how": how,
            "seconds": time.perf_counter() - start,
            "mb": (peak() - before) / 1e6,
        }


def workers_point(count: str, root: str) -> dict[str, Any]:
    """Read HK-format PNGs from their files."""
    from segzoo.data.loading.batches import Batches
    from segzoo.data.opening import DataSource

    source = DataSource("hk", root=root)
    data = source.split("train")
    how: dict[str, Any] = {"size": (256, 256), "batch_size": 8, "shuffle": True, "cache": "none"}
    batches = Batches(data, source.info(data), **how, workers=int(count))
    start, pictures = time.perf_counter(), 0
    for number in range(2):
        pictures += sum(len(batch.keys) for batch in batches.epoch(number))
    return {
        "workers": int(count),
        "pictures_per_second": pictures / (time.perf_counter() - start),
    }


def ranks(count: int, root: Path) -> dict[str, Any]:
    """Train for three epochs in several processes with a thread each."""
    with TemporaryDirectory() as folder:
        words = [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"),
            *("-m", "segzoo", "train", "--model", "linknet", "--data", "hk", "--root", str(root)),
            *("--recipe", "tutorial", "--epochs", "3", "--size", "256", "--batch-size", "8"),
            *("--out", f"{folder}/run"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["SEGZOO_CACHE"] = str(Path("runs/bench-cache").absolute())
        done = subprocess.run(words, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{count} ranks failed:\n{done.stderr[-3000:]}")
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["images_per_second"] for line in lines[1:]]
    return {"processes": count, "pictures_per_second": statistics.median(rates)}


def median_seconds(call: Callable[[], None], times: int = 7) -> float:
    """Return the median time of a call, after one that warms it up."""
    call()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def resident() -> int:
    """Return the bytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Return the most bytes of memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


POINTS: dict[str, Callable[..., dict[str, Any]]] = {
    "pairs": pairs_point,
    "classes": classes_point,
    "size": size_point,
    "workers": workers_point,
}
COLUMNS = {
    "pairs": "pairs in a folder",
    "first_seconds": "listed for the first time, s",
    "again_seconds": "again, s",
    "bytes_per_pair": "bytes a pair",
    "epochs_bytes": "bytes that eight epochs more take",
    "classes": "classes",
    "loss_ms": "`ce + dice` with gradient, ms",
    "metrics_ms": "scores, ms",
    "logits_mb": "logits, MB",
    "side": "pixels a side",
    "how": "seen",
    "seconds": "s a picture",
    "mb": "memory besides, MB",
    "workers": "workers",
    "processes": "processes of one thread",
    "pictures_per_second": "pictures / s",
}


def table(results: dict[str, Any]) -> str:
    """Return a table for each part."""
    lines: list[str] = []
    for part in PARTS:
        rows = results.get(f"growth, {part}", {}).get("rows", [])
        if not rows:
            continue
        names = list(rows[0])
        lines += ["", f"| {' | '.join(COLUMNS[name] for name in names)} |"]
        lines.append(f"|{'---:|' * len(names)}")
        for row in rows:
            values = [f"{v:.3g}" if isinstance(v, float) else f"{v}" for v in row.values()]
            lines.append(f"| {' | '.join(values)} |")
    return "\n".join(lines[1:])


if __name__ == "__main__":
    main()
