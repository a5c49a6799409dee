"""The short form of the fault campaign, `make faults`."""

import json
import os
import subprocess
import sys
from pathlib import Path

CAMPAIGN = Path(__file__).parents[1] / "benchmarks" / "faults.py"
COUNTS = {"kills": 10, "flips": 100, "headers": 300, "pictures": 60, "names": 40, "configs": 300}


def test_the_campaign_finds_nothing(tmp_path):
    counts = [f"--{name}={count}" for name, count in COUNTS.items()]
    words = [
        *counts,
        "--parts",
        "kills,flips,headers,pictures,names,configs",
        "--out",
        "faults.json",
    ]
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), *words, "--atheris=0"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "faults.json").read_text())
    assert sum(found["kills"]["kills"].values()) >= COUNTS["kills"]
    assert found["flips"]["noticed_and_named"] == COUNTS["flips"]
    assert found["headers"]["refused"] > COUNTS["headers"] // 2
    assert found["pictures"]["refused"] > 0
    assert not any(part["failures"] for part in found.values())
