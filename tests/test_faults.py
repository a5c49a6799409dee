"""The short form of the fault campaign, `make faults`."""

import json
import os
import subprocess
import sys
from pathlib import Path

CAMPAIGN = Path(__file__).parents[1] / "benchmarks" / "faults.py"
COUNTS = {
    "kills": 3, "flips": 100, "torn": 100, "disk": 2, "withdrawals": 5, "plugins": 4, "crashes": 6,
    "headers": 200, "descriptions": 30, "rotten": 60,
    "pictures": 60, "folders": 40, "names": 40, "configs": 300, "simulation": 12, "steps": 300,
}  # fmt: skip


def test_the_campaign_finds_nothing(tmp_path):
    counts = [f"--{name}={count}" for name, count in COUNTS.items()]
    words = [*counts, "--atheris=0", "--hypothesis=200", "--out=faults.json"]
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), *words],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "faults.json").read_text())
    assert not any(part["failures"] for part in found.values())
    assert sum(found["kills"]["kills"].values()) >= COUNTS["kills"]
    assert set(found["flips"]["outcomes"]) >= {"refused and named", "named, and the other taken"}
    assert sum(found["torn"]["outcomes"].values()) == COUNTS["torn"]
    assert found["disk"]["rounds"] == COUNTS["disk"] or "not possible" in found["disk"]["note"]
    assert sum(found["withdrawals"]["outcomes"].values()) == COUNTS["withdrawals"]
    assert sum(found["plugins"]["faults"].values()) == COUNTS["plugins"]
    assert sum(found["crashes"]["places"].values()) == COUNTS["crashes"]
    assert found["headers"]["refused"] > COUNTS["headers"] // 2
    assert found["headers"]["used"] > 0
    assert found["descriptions"]["refused"] > COUNTS["descriptions"] // 2
    assert sum(found["rotten"]["noticed"].values()) == COUNTS["rotten"]
    assert found["pictures"]["refused"] > 0
    assert found["folders"]["read"] + found["folders"]["said"] > 0
    assert sum(found["simulation"]["outcomes"].values()) == COUNTS["simulation"]
    assert found["soak"]["plain"]["steps"] >= COUNTS["steps"]
