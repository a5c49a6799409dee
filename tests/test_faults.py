"""The short form of the fault campaign, `make faults`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CAMPAIGN = Path(__file__).parents[1] / "benchmarks" / "faults.py"
COUNTS = {
    "kills": 2, "flips": 100, "torn": 100, "disk": 2, "withdrawals": 3, "plugins": 4, "crashes": 4,
    "headers": 200, "descriptions": 12, "rotten": 60,
    "pictures": 60, "folders": 40, "names": 40, "configs": 200, "simulation": 8, "steps": 300,
}  # fmt: skip


def campaign(folder: Path, *parts: str) -> dict[str, Any]:
    """Run some parts of the campaign, none of which may find anything; return their counts."""
    counts = [f"--{name}={count}" for name, count in COUNTS.items()]
    words = [*counts, "--atheris=0", "--hypothesis=200", "--out=faults.json"]
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), "--parts", ",".join(parts), *words],
        capture_output=True, text=True, cwd=folder, env={**os.environ}, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((folder / "faults.json").read_text())
    assert set(found) >= set(parts)
    assert not any(found[part]["failures"] for part in parts)
    return found


def test_states_outlive_kills_damage_and_full_disks(tmp_path):
    found = campaign(tmp_path, "kills", "flips", "torn", "disk")
    assert sum(found["kills"]["kills"].values()) >= COUNTS["kills"]
    assert set(found["flips"]["outcomes"]) >= {"refused and named", "named, and the other taken"}
    assert sum(found["torn"]["outcomes"].values()) == COUNTS["torn"]
    assert found["disk"]["rounds"] == COUNTS["disk"] or "not possible" in found["disk"]["note"]


def test_trainings_outlive_plugins_and_what_is_taken_from_them(tmp_path):
    found = campaign(tmp_path, "withdrawals", "plugins", "crashes")
    assert sum(found["withdrawals"]["outcomes"].values()) == COUNTS["withdrawals"]
    assert sum(found["plugins"]["faults"].values()) == COUNTS["plugins"]
    assert sum(found["crashes"]["places"].values()) == COUNTS["crashes"]


def test_files_are_opened_without_harm(tmp_path):
    found = campaign(tmp_path, "headers", "descriptions", "rotten", "pictures")
    assert found["headers"]["refused"] > COUNTS["headers"] // 2
    assert found["headers"]["used"] > 0
    assert found["descriptions"]["refused"] > COUNTS["descriptions"] // 2
    assert sum(found["rotten"]["noticed"].values()) == COUNTS["rotten"]
    assert found["pictures"]["refused"] > 0


def test_what_users_give_is_read_right_or_refused(tmp_path):
    found = campaign(tmp_path, "folders", "names", "configs")
    assert found["folders"]["read"] + found["folders"]["said"] > 0


def test_disks_that_fail_by_chance_and_long_trainings(tmp_path):
    found = campaign(tmp_path, "simulation", "soak")
    assert sum(found["simulation"]["outcomes"].values()) == COUNTS["simulation"]
    assert found["soak"]["plain"]["steps"] >= COUNTS["steps"]
