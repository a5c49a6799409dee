"""Trainings, predictions and caches on a simulated disk: each call fails, or is the last one.

A seed says what goes wrong in which call (`plan_of`): seeds in a row go through all calls with
every fault. `faults.py --parts simulation --simulation 1 --first SEED` repeats one.
"""

import functools
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from .crashes import SETTINGS, installed
from .simulated import ERRORS, FAULTS, Disk, Killed, Plan
from .training import digest
from .watching import heard

TINY = {**SETTINGS, "size": 8, "metrics": "", "augment": "none", "save_minutes": 1e-5}
AGAIN = 0.3
"""How often something goes wrong in the second life, too."""
STRIDE = 7919  # a prime, so that none is left out
WORKLOADS = ("training", "predict", "cache")


def simulation(
    _root: Path, folder: Path, count: int, chance: random.Random, first: int = 0
) -> dict[str, Any]:
    """Go through `count` seeds from `first` on; each must lose nothing and change nothing."""
    installed(folder)
    outcomes, failures = Counter[str](), []
    fast = Path("/dev/shm")
    place = tempfile.mkdtemp(dir=fast if fast.is_dir() else folder)
    try:
        with _undrawn():
            worlds = {name: World(Path(place, name), WORLDS[name]) for name in WORKLOADS}
            for seed in range(first, first + count):
                name = _workload(seed)
                outcome, fault = worlds[name].lives(seed)
                outcomes[f"{name}: {outcome}"] += 1
                if fault:
                    failures.append(f"seed {seed}, {name}: {fault}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    calls = {name: worlds[name].calls for name in WORKLOADS}
    return {"seeds": count, "first": first, "calls": calls, "outcomes": dict(outcomes),
            "failures": failures[:20]}  # fmt: skip


def _workload(seed: int) -> str:
    return WORKLOADS[seed % len(WORKLOADS)]


def _undrawn() -> Any:
    return patch.multiple(
        "segzoo.report", draw_curves=lambda *_, **__: None, draw_predictions=lambda *_, **__: None
    )


class World:
    """A workload with what it needs, and what comes of it undisturbed."""

    def __init__(self, place: Path, workload: Callable[[Path], Any]) -> None:
        self.place, self.workload = place, workload(place)
        self.root = place / "disk"
        self.root.mkdir(parents=True)
        self.versions: dict[str, set[bytes]] = {}
        disk = Disk(self.root, random.Random(0), renamed=self._remember)
        with disk.standing_in(), heard():
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
        disk = Disk(self.root, chance, plan_of(seed // len(WORKLOADS), self.calls, chance))
        outcomes = []
        with disk.standing_in(), heard():
            for life in range(3):
                called = disk.plan.call
                outcomes.append(_lived(functools.partial(self.workload.live, self.root)))
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

    def _fault(self, disk: Disk, outcome: str, *, disturbed: bool) -> str:
        if outcome.startswith("raised"):
            return outcome
        if outcome.startswith("refused") and not disturbed and not self.workload.may_refuse:
            return f"not gone on with: {outcome}"
        return "; ".join(disk.past_the_seam())

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


def _lived(live: Callable[[], object]) -> str:
    from segzoo.errors import SegzooError

    try:
        live()
    except Killed:
        return "killed"
    except SegzooError as error:
        return f"refused: {error.message}"
    except BaseException as error:
        return f"raised {type(error).__name__}: {error}"
    return "finished"


class Training:
    """A training of four steps, saved after each, gone on with or begun as a user does."""

    whole = ("best.safetensors",)
    others: set[bytes] = set()
    may_refuse = False

    def __init__(self, place: Path) -> None: ...

    def begin(self, root: Path, chance: random.Random) -> None: ...

    def live(self, root: Path) -> None:
        from segzoo.train.fit import fit

        run = root / "runs" / "run"
        if (run / "summary.json").is_file():
            json.loads((run / "summary.json").read_text())
            return
        if (run / "config.toml").is_file():
            fit(resume=run, progress=False)
        else:
            fit(**TINY, out=str(run))

    def content(self, path: Path) -> bytes:
        """Return what weights say and hold; in the file texts are in any order."""
        from segzoo.checksum import check_sum
        from segzoo.tensors import load_tensors, read_header

        header, tensors = read_header(path), load_tensors(path)
        check_sum(path, header, tensors)
        values = {name: value.numpy().tobytes() for name, value in tensors.items()}
        return repr((sorted(header.metadata.items()), sorted(values.items()))).encode()

    def end(self, root: Path) -> Any:
        return digest(root / "runs" / "run")


class Predict:
    """Pictures segmented, beside a file of the user's that may have the name of an output."""

    whole = ("p0_mask.png", "p1_mask.png", "p1_overlay.jpg")
    others = {b"the user's own"}
    may_refuse = True  # What is not known to be its own, the record having been lost.

    def __init__(self, place: Path) -> None:
        from PIL import Image

        self.pictures, self.run = place / "pictures", place / "run"
        self.pictures.mkdir(parents=True)
        for number in range(2):
            Image.effect_noise((8, 8), 60 + number).save(self.pictures / f"p{number}.png")
        Training(place).live(place)
        self.run = place / "runs" / "run"
        self.foreign = False

    def begin(self, root: Path, chance: random.Random) -> None:
        self.foreign = chance.random() < 0.2
        (root / "out").mkdir()
        name = "p1_mask.png" if self.foreign else "own.txt"
        (root / "out" / name).write_bytes(b"the user's own")

    def live(self, root: Path) -> None:
        from segzoo.predict_files import predict_files

        try:
            predict_files(self.run, [self.pictures], root / "out", device="cpu", precision="fp32")
        finally:
            if self.foreign:
                assert (root / "out" / "p1_mask.png").read_bytes() == b"the user's own"

    def content(self, path: Path) -> bytes:
        return path.read_bytes()

    def end(self, root: Path) -> Any:
        out = root / "out"
        return {path.name: path.read_bytes() for path in out.glob("p*_*")}


class Cache:
    """Samples kept and read again: each comes out as it was made, or not at all."""

    whole: tuple[str, ...] = ()
    others: set[bytes] = set()
    may_refuse = False

    def __init__(self, place: Path) -> None:
        import torch

        from segzoo.data.sample import Sample

        self.files = [place / f"{number}" for number in range(3)]
        place.mkdir(parents=True)
        for file in self.files:
            file.write_text(file.name)
            os.utime(file, (1, 1))
        self.samples = [
            Sample(torch.full((3, 8, 8), n + 1, dtype=torch.uint8),
                   torch.full((8, 8), n + 1, dtype=torch.uint8), str(n))
            for n in range(3)
        ]  # fmt: skip

    def begin(self, root: Path, chance: random.Random) -> None:
        (root / "caches").mkdir()

    def live(self, root: Path) -> None:
        import torch

        from segzoo.data import cache

        keys = [sample.key for sample in self.samples]
        with patch.object(cache, "SETTLED_NS", 0):
            try:
                kept = cache.SampleCache(
                    root / "caches" / "one", keys, self.samples[0], lambda n: [self.files[n]]
                )
            except OSError:
                return  # As open_cache takes it: there is none.
            for number, sample in enumerate(self.samples):
                mark = kept.signature(number)
                found = kept.read(number, mark, sample.key)
                assert found is None or torch.equal(found.image, sample.image)
                kept.write(number, mark, sample)
                found = kept.read(number, mark, sample.key)
                assert found is None or torch.equal(found.image, sample.image)

    def content(self, path: Path) -> bytes:
        return path.read_bytes()

    def end(self, root: Path) -> Any:
        return None


WORLDS: dict[str, Callable[[Path], Any]] = {
    "training": Training, "predict": Predict, "cache": Cache
}  # fmt: skip
