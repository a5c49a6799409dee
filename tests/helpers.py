"""What several test files call."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from segzoo.plugins import Manager

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def load_only(site: Path) -> Manager:
    """Return a manager of the plugins in one folder alone."""
    manager = Manager()
    points = [
        point
        for distribution in importlib.metadata.distributions(path=[str(site)])
        for point in distribution.entry_points
    ]
    manager.load(points)
    return manager


def run_segzoo(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a new process."""
    return subprocess.run(
        [sys.executable, "-m", "segzoo", *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
    )
