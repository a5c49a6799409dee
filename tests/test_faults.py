"""The short form of the fault campaign, `make faults`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faults import PARTS

CAMPAIGN = Path(__file__).parents[1] / "benchmarks" / "faults.py"
COUNTS = {
    "kills": 2, "flips": 100, "torn": 100, "disk": 2, "withdrawals": 3, "plugins": 4, "crashes": 4,
    "headers": 200, "descriptions": 12, "rotten": 60,
    "pictures": 60, "folders": 40, "names": 40, "configs": 200, "simulation": 8, "steps": 300,
}  # fmt: skip
WORDS = ["--atheris=0", "--hypothesis=200", "--out=faults.json"]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all parts of the campaign, in one process that imports torch once; return the counts."""
    folder = tmp_path_factory.mktemp("faults")
    counts = [f"--{name}={count}" for name, count in COUNTS.items()]
    done = subprocess.run(
        [sys.executable, str(CAMPAIGN), *counts, *WORDS],
        capture_output=True, text=True, cwd=folder, env={**os.environ}, timeout=1800,
    )  # fmt: skip
    assert (folder / "faults.json").is_file(), done.stdout[-3000:] + done.stderr[-3000:]
    counted = json.loads((folder / "faults.json").read_text())
    assert set(counted) == set(PARTS), done.stderr[-3000:]
    assert bool(done.returncode) == any(part["failures"] for part in counted.values())
    return counted


@pytest.mark.parametrize("part", PARTS)
def test_the_campaign_finds_nothing(found, part):
    assert found[part]["failures"] == []


def test_states_outlive_kills_damage_and_full_disks(found):
    assert sum(found["kills"]["kills"].values()) >= COUNTS["kills"]
    assert set(found["flips"]["outcomes"]) >= {"refused and named", "named, and the other taken"}
    assert sum(found["torn"]["outcomes"].values()) == COUNTS["torn"]
    assert found["disk"]["rounds"] == COUNTS["disk"] or "not possible" in found["disk"]["note"]


def test_trainings_outlive_plugins_and_what_is_taken_from_them(found):
    assert sum(found["withdrawals"]["outcomes"].values()) == COUNTS["withdrawals"]
    assert sum(found["plugins"]["faults"].values()) == COUNTS["plugins"]
    assert sum(found["crashes"]["places"].values()) == COUNTS["crashes"]


def test_files_are_opened_without_harm(found):
    assert found["headers"]["refused"] > COUNTS["headers"] // 2
    assert found["headers"]["used"] > 0
    assert found["descriptions"]["refused"] > COUNTS["descriptions"] // 2
    assert sum(found["rotten"]["noticed"].values()) == COUNTS["rotten"]
    assert found["pictures"]["refused"] > 0


def test_what_users_give_is_read_right_or_refused(found):
    assert found["folders"]["read"] + found["folders"]["said"] > 0


def test_disks_that_fail_by_chance_and_long_trainings(found):
    assert sum(found["simulation"]["outcomes"].values()) == COUNTS["simulation"]
    assert found["soak"]["plain"]["steps"] >= COUNTS["steps"]
