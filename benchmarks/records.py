"""Where the benchmarks keep what they measure: benchmarks/results.json and tables in the docs."""

import json
import os
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
FILE = REPOSITORY / "benchmarks" / "results.json"


def load() -> dict[str, Any]:
    """Return the records by name."""
    return json.loads(FILE.read_text()) if FILE.is_file() else {}


def keep(records: dict[str, Any]) -> None:
    """Write all records."""
    FILE.write_text(json.dumps(records, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Return what of the machine decides the speed, without its name."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    return {"cores": os.cpu_count(), "bf16": "avx512_bf16" in flags or "amx_bf16" in flags}


def write_table(page: str, name: str, text: str) -> None:
    """Put a table between its two marks on a page of the docs, or at the page's end."""
    path = REPOSITORY / "docs" / page
    begin, end = f"<!-- table: {name} -->", f"<!-- end of {name} -->"
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    if begin not in old:
        old += f"\n{begin}\n{end}\n"
    before, after = old.split(begin)[0], old.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def generated_portraits(root: Path) -> Path:
    """Write 130 portraits of 600 x 800 in the layout of `hk`."""
    from PIL import Image

    from segzoo_portraits.generate import portrait

    folder = root / "training"
    folder.mkdir(parents=True)
    (root / "testing").mkdir()
    for number in range(134):
        image, matte = portrait(number, width=600, height=800)
        where = folder if number < 130 else root / "testing"
        Image.fromarray(image).save(where / f"{number:05d}.png")
        Image.fromarray(matte).save(where / f"{number:05d}_matte.png")
    return root
