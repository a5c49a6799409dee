"""Disks that become full, and folders that become read-only, while a training writes."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any


def disk(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Let on_small_disk.py do so in a namespace of its own, where a small disk may be mounted."""
    place, found = folder / "disk", folder / "found.json"
    place.mkdir()
    mount = ["unshare", "-rm", "sh", "-c", f"mount -t tmpfs tmpfs {place}"]
    able = shutil.which("unshare") and not subprocess.run(mount, capture_output=True).returncode
    if not able:
        return {"rounds": 0, "note": "not possible here: mounting is refused", "failures": []}
    words = [*map(str, (place, root, found, count, chance.getrandbits(32)))]
    command = ["unshare", "-rm", sys.executable, "-m", "campaign.on_small_disk", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        return {"rounds": 0, "failures": [done.stderr[-2000:]]}
    return json.loads(found.read_text())
