"""Trainings, predictions and caches on a simulated disk: each call fails, is the last one, or is
met by a signal.

A seed says what goes wrong in which call (`plan_of`): seeds in a row go through all calls with
every fault. `faults.py --parts simulation --simulation 1 --first SEED` repeats one.
"""

import functools
import itertools
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .crashes import installed
from .simulated import ERRORS, FAULTS, Disk, Plan
from .simulated_lives import WORLDS
from .training import in_a_child
from .watching import heard

AGAIN = 0.3
"""How often something goes wrong in the second life, too."""
STRIDE = 7919  # a prime, so that none is left out
LEAST = 100
"""Seeds for which a process of its own is worth its beginning."""
WORKLOADS = ("training", "predict", "training", "cache", "training", "folder")


def simulation(
    _root: Path, folder: Path, count: int, chance: random.Random, first: int = 0
) -> dict[str, Any]:
    """Go through `count` seeds from `first` on; each must lose nothing and change nothing.

    One process more than there are cores share them.
    """
    installed(folder)
    fast = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(dir=fast if fast.is_dir() else folder))
    processes = min((os.cpu_count() or 1) + 1, -(-count // LEAST))
    seeds = range(first, first + count)
    try:
        work = [
            in_a_child(functools.partial(_go_through, seeds[n::processes], place / str(n)))
            for n in range(processes)
        ]
        for pid in work:
            os.waitpid(pid, 0)
        found = [json.loads(path.read_text()) for path in sorted(place.glob("*/found.json"))]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    outcomes = sum((Counter(one["outcomes"]) for one in found), Counter[str]())
    failures = [*itertools.chain.from_iterable(one["failures"] for one in found)]
    if len(found) < processes:
        failures.append(f"{processes - len(found)} processes did not come to their end")
    return {"seeds": count, "first": first, "calls": found[0]["calls"] if found else {},
            "outcomes": dict(sorted(outcomes.items())), "failures": failures[:20],
            "failures_in_all": len(failures)}  # fmt: skip


def _go_through(seeds: Sequence[int], place: Path) -> None:
    place.mkdir()
    outcomes, failures = Counter[str](), []
    with _undrawn():
        worlds = {name: World(place / name, WORLDS[name]) for name in WORLDS}
        for seed in seeds:
            name = _workload(seed)
            outcome, fault = worlds[name].lives(seed)
            outcomes[f"{name}: {outcome}"] += 1
            if fault:
                failures.append(f"seed {seed}, {name}: {fault}")
                print(failures[-1], flush=True)
    calls = {name: world.calls for name, world in worlds.items()}
    found = {"outcomes": outcomes, "failures": failures, "calls": calls}
    (place / "found.json").write_text(json.dumps(found))


def _workload(seed: int) -> str:
    return WORKLOADS[seed % len(WORKLOADS)]


def _undrawn() -> Any:
    return patch.multiple(
        "segzoo.report.runs",
        draw_curves=lambda *_, **__: None,
        draw_predictions=lambda *_, **__: None,
    )


class World:
    """A workload with what it needs, and what comes of it undisturbed."""

    def __init__(self, place: Path, workload: Callable[[Path], Any]) -> None:
        self.place, self.workload = place, workload(place)
        self.root = place / "disk"
        self.root.mkdir(parents=True)
        self.versions: dict[str, set[bytes]] = {}
        disk = Disk(self.root, random.Random(0), renamed=self._remember)
        with disk.standing_in(), self.workload.watched(disk), heard():
            self.workload.begin(self.root, random.Random(0))
            disk.settle()
            self.workload.live(self.root)
        self.calls = disk.calls
        self.end = self.workload.end(self.root)

    def _remember(self, path: Path) -> None:
        if path.name in self.workload.whole:
            self.versions.setdefault(path.name, set()).add(self.workload.content(path))

    def lives(self, seed: int) -> tuple[str, str]:
        """Let a process live, and others after it until one is undisturbed; say what was wrong."""
        shutil.rmtree(self.root)
        self.root.mkdir()
        chance = random.Random(seed)
        self.workload.begin(self.root, chance)
        disk = Disk(self.root, chance, plan_of(self.number_of(seed), self.calls, chance))
        outcomes = []
        with disk.standing_in(), self.workload.watched(disk), heard():
            for life in range(3):
                called = disk.plan.call
                outcomes.append(_lived(functools.partial(self.workload.live, self.root), disk))
                where = f"{disk.plan.fault} in {disk.seen[called : called + 1]}, life {life + 1}"
                fault = self._fault(disk, outcomes[-1], disturbed=bool(disk.plan.fault))
                if fault:
                    return outcomes[0], f"{where}: {fault}"
                if not disk.plan.fault:
                    break
                disk.start_again()
                if fault := self._halves():
                    return outcomes[0], f"{where}: {fault}"
                if life == 0 and chance.random() < AGAIN:
                    disk.plan = plan_of(chance.randrange(10_000), self.calls, chance)
        disk.start_again()
        end = self.workload.end(self.root)
        same = end == self.end or (outcomes[-1].startswith("refused") and self.workload.may_refuse)
        return outcomes[0].partition(":")[0], "" if same else f"{outcomes}: another end"

    def number_of(self, seed: int) -> int:
        """Return which one it is of the seeds of this workload."""
        name = _workload(seed)
        rounds, at = divmod(seed, len(WORKLOADS))
        return rounds * WORKLOADS.count(name) + WORKLOADS[:at].count(name)

    def _fault(self, disk: Disk, outcome: str, *, disturbed: bool) -> str:
        if outcome.startswith("raised") or (outcome == "interrupted" and not disk.signalled):
            return outcome
        if outcome.startswith("refused") and not disturbed and not self.workload.may_refuse:
            return f"not gone on with: {outcome}"
        saved = "the state is saved" in outcome
        if saved and not (disk.root / "runs" / "run" / "last" / "state-b.json").is_file():
            return f"not true: {outcome}"
        left = "" if disk.dead else disk.signals.left()
        return left or "; ".join(disk.past_the_seam())

    def _halves(self) -> str:
        """Name a file that has its name, and is none that an undisturbed process ever wrote."""
        for path in self.root.rglob("*"):
            if path.name in self.workload.whole:
                content = self.workload.content(path)
                if content not in self.versions[path.name] | self.workload.others:
                    return f"{path.name} is none that was written"
        return ""


def plan_of(number: int, calls: int, chance: random.Random) -> Plan:
    """Return a plan: numbers in a row go through all calls with every fault, far and wide."""
    fault, call = divmod(number * STRIDE % (calls * len(FAULTS)), calls)
    errors = FAULTS[fault] in ERRORS
    return Plan(call, FAULTS[fault], stays=errors and chance.random() < 0.5)


def _lived(live: Callable[[], object], disk: Disk) -> str:
    outcome = _ended(live)
    return "killed" if disk.dead else outcome


def _ended(live: Callable[[], object]) -> str:
    from segzoo.errors import SegzooError, StoppedError

    try:
        live()
    except StoppedError as error:
        return f"stopped: {error.message}"
    except SegzooError as error:
        return f"refused: {error.message}; {error.hint}"
    except KeyboardInterrupt:
        return "interrupted"
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"
    return "finished"
