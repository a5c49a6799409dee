"""The table of docs/results.md and the READMEs: models on two data sets, for the same time.

Trains every row by `segzoo train --minutes` with the default recipe, and scores it by `segzoo
evaluate`; writes the scores into benchmarks/results.json after each row, and the table into
these pages. Rows that the file has already are left out, so that a stopped run goes on::

    python benchmarks/results.py --hk DIR --camvid DIR
    python benchmarks/results.py --table       # writes the tables from the file, trains nothing
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
FILE = REPOSITORY / "benchmarks" / "results.json"
ENGLISH = (
    "| model | parameters | `hk` IoU | boundary IoU | epochs "
    "| `camvid` mean IoU | boundary IoU | epochs |"
)
CHINESE = "| 模型 | 参数量 | `hk` IoU | 边界 IoU | 轮数 | `camvid` mIoU | 边界 IoU | 轮数 |"
PAGES = {"docs/results.md": ENGLISH, "README.md": ENGLISH, "README.zh.md": CHINESE}
BEGIN, END = "<!-- table: made by benchmarks/results.py -->", "<!-- end of table -->"

LITE0 = "-o encoder=tf_efficientnet_lite0"
SMP_LITE0 = "-o encoder=timm-tf_efficientnet_lite0 -o encoder_weights=imagenet"
ROWS = {
    "unet, lite0": f"--model unet {LITE0}",
    "linknet, lite0": f"--model linknet {LITE0}",
    "fcn8s, lite0": f"--model fcn8s {LITE0}",
    "smp-unet, lite0": f"--model smp-unet {SMP_LITE0}",
    "smp-fpn, lite0": f"--model smp-fpn {SMP_LITE0}",
    "smp-deeplabv3plus, lite0": f"--model smp-deeplabv3plus {SMP_LITE0}",
}
OUTSIDE = "smp's own example, Unet, lite0"
SIZES = {"hk": "256x256", "camvid": "180x240"}
SPLITS = {"hk": "test", "camvid": "val"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hk", help="folder of hk")
    parser.add_argument("--camvid", help="folder of camvid")
    parser.add_argument("--hk-minutes", type=float, default=3)
    parser.add_argument("--camvid-minutes", type=float, default=5)
    parser.add_argument("--runs", type=Path, default=REPOSITORY / "runs" / "results")
    parser.add_argument("--table", action="store_true", help="only write the table")
    given = parser.parse_args()
    results = json.loads(FILE.read_text()) if FILE.is_file() else {}
    if not given.table:
        for data in ("hk", "camvid"):
            if root := getattr(given, data):
                minutes = getattr(given, f"{data}_minutes")
                fill(results, data, root, minutes, given.runs)
    for name, header in PAGES.items():
        page = REPOSITORY / name
        text = page.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        rows = table(results, header)
        page.write_text(f"{before}{BEGIN}\n{rows}\n{END}{after}", encoding="utf-8")


def fill(results: dict[str, Any], data: str, root: str, minutes: float, runs: Path) -> None:
    """Train and score the rows of a data set that the results lack."""
    for name in (*ROWS, OUTSIDE):
        key = f"{name} on {data}, {minutes:g} min"
        if key in results:
            continue
        print(key, flush=True)
        if name == OUTSIDE:
            record = outside(data, root, minutes)
        else:
            record = inside(name, data, root, minutes, runs)
        results[key] = {"row": name, "data": data, "minutes": minutes, **machine(), **record}
        FILE.write_text(json.dumps(results, indent=2) + "\n")


def inside(name: str, data: str, root: str, minutes: float, runs: Path) -> dict[str, Any]:
    """Train a row by the command line, and score it."""
    folder = runs / f"{data}-{name.replace(', ', '-')}-{minutes:g}"
    words = f"{ROWS[name]} --data {data} --size {SIZES[data]} --minutes {minutes:g}"
    run(["-m", "segzoo", "train", *shlex.split(words), "--root", root, "--out", str(folder)])
    summary = json.loads((folder / "summary.json").read_text())
    scored = run(
        ["-m", "segzoo", "evaluate", str(folder / "best.safetensors"), "--split", SPLITS[data],
         "--metrics", "boundary", "--json"]
    )  # fmt: skip
    return {
        "command": f"segzoo train {words}",
        "epochs": summary["epochs"],
        "seconds": summary["seconds"],
        "images_per_second": summary["images_per_second"],
        "parameters": summary["parameters"],
        "precision": summary["precision"],
        "scores": json.loads(scored)["scores"],
    }


def outside(data: str, root: str, minutes: float) -> dict[str, Any]:
    """Train smp's example, and score it."""
    script = str(REPOSITORY / "benchmarks" / "smp_example.py")
    how = ["--size", SIZES[data], "--minutes", f"{minutes:g}"]
    record = json.loads(run([script, data, root, *how]))
    return {
        "command": f"python benchmarks/smp_example.py {data} DIR {shlex.join(how)}",
        "precision": "fp32",
        **{key: value for key, value in record.items() if key not in ("data", "model")},
    }


def run(words: list[str]) -> str:
    """Run Python with these arguments; return its output, or stop with what it said."""
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{shlex.join(words)} ended with {done.returncode}")
    return done.stdout


def machine() -> dict[str, Any]:
    """Return what of the machine decides the speed, without its name."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    return {"cores": os.cpu_count(), "bf16": "avx512_bf16" in flags or "amx_bf16" in flags}


def table(results: dict[str, Any], header: str) -> str:
    """Return the rows as Markdown, best of `hk` first."""
    by_row: dict[str, dict[str, Any]] = {}
    for record in (one for one in results.values() if "row" in one):
        by_row.setdefault(record["row"], {})[record["data"]] = record

    def rank(name: str) -> float:
        return -by_row[name].get("hk", {"scores": {}})["scores"].get("iou/person", 0)

    lines = [
        header,
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in sorted(by_row, key=rank):
        cells = [name]
        some = next(iter(by_row[name].values()))
        cells.append(f"{some['parameters'] / 1e6:.1f} M" if "parameters" in some else "")
        for data, score, boundary in (
            ("hk", "iou/person", "boundary_iou/person"),
            ("camvid", "mean_iou", "mean_boundary_iou"),
        ):
            record = by_row[name].get(data)
            scores = record["scores"] if record else {}
            cells += [f"{scores[key]:.3f}" if record else "" for key in (score, boundary)]
            cells.append(str(record["epochs"]) if record else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
