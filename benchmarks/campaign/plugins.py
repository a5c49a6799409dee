"""Broken plugins during a training: observers and data sets."""

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .training import TRAINING, digest
from .watching import heard

HOOKS = ("segzoo_fit_start", "segzoo_epoch_end", "segzoo_checkpoint_saved", "segzoo_fit_end")
EPOCHS = 2


class MuteError(Exception):
    """Has no text: asking for it raises."""

    def __str__(self) -> str:
        raise ValueError("no text")


class NumbError(Exception):
    """Has a text that is none."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


def endless() -> None:
    """Call itself until Python has enough."""
    endless()


def refuse(error: BaseException) -> Callable[[], None]:
    """Return a function that raises `error`."""

    def call() -> None:
        raise error

    return call


RAISES: dict[str, Callable[[], None]] = {
    "ZeroDivisionError": refuse(ZeroDivisionError("seven")),
    "KeyError": refuse(KeyError(("a", 1))),
    "StopIteration": refuse(StopIteration(3)),
    "MemoryError": refuse(MemoryError()),
    "OSError": refuse(OSError(28, "No space left on device", "/x")),
    "a group": refuse(ExceptionGroup("many", [ValueError("one"), KeyError("two")])),
    "mute": refuse(MuteError()),
    "numb": refuse(NumbError()),
    "huge": refuse(ValueError("x" * 10_000_000)),
    "control characters": refuse(ValueError("\x1b[2J\0\ud800\n\n")),
    "worker": refuse(RuntimeError("DataLoader worker (pid 7) is killed by signal")),
    "recursion": endless,
    "exit": refuse(SystemExit(3)),
}


def meddle() -> dict[str, Callable[[], object]]:
    """Return what an observer may do without harm."""
    import numpy as np
    import torch

    return {
        "prints": lambda: print("\x1b[31m{]\0" * 3, end="", file=Nowhere()),
        "sleeps": lambda: time.sleep(0.2),
        "draws": lambda: (torch.rand(9), np.random.rand(9), random.random()),
        "seeds": lambda: (torch.manual_seed(7), np.random.seed(7), random.seed(7)),
        "gradients": lambda: torch.set_grad_enabled(False),
        "works": lambda: torch.nn.Linear(3, 3)(torch.rand(2, 3)).sum().backward(),
    }


class Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> int:
        """Take a text."""
        return len(text)


class Broken:
    """An observer that does something at a hook, from an epoch on, and says whether it has."""

    def __init__(self, hook: str, epoch: int, call: Callable[[], object]) -> None:
        self.hook, self.epoch, self.call = hook, epoch, call
        self.done = False

    def _told(self, hook: str, epoch: int) -> None:
        if hook == self.hook and epoch >= self.epoch:
            self.done = True
            self.call()

    def segzoo_fit_start(self, run: Any) -> None:
        self._told("segzoo_fit_start", EPOCHS)

    def segzoo_epoch_end(self, run: Any, epoch: int, metrics: Any) -> None:
        metrics["train"]["loss"] = -1.0  # It is given a copy.
        self._told("segzoo_epoch_end", epoch)

    def segzoo_checkpoint_saved(self, run: Any, epoch: int, path: Path) -> None:
        self._told("segzoo_checkpoint_saved", epoch)

    def segzoo_fit_end(self, run: Any, result: Any, error: Any) -> None:
        self._told("segzoo_fit_end", EPOCHS)


def plugins(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Train with broken observers, and with a broken data set, in turn."""
    failures: list[str] = []
    faults = Counter[str]()
    settings = {**TRAINING, "epochs": EPOCHS, "root": str(root), "workers": 0}
    whole = fitted(folder / "whole", **settings)
    data = BrokenData(folder)
    for number in range(count):
        out = folder / f"run-{number}"
        if number % 2:
            how = data.round(out, chance, failures)
            faults[f"data set: {how}"] += 1
            continue
        how, call = chance.choice([*RAISES.items(), *meddle().items()])
        observer = Broken(chance.choice(HOOKS), chance.randint(1, EPOCHS), call)
        way = f"observer: {how} in {observer.hook} from epoch {observer.epoch} on"
        faults[f"observer: {how}"] += 1
        try:
            with heard() as said:
                found = fitted(out, **settings, observers=[observer])
        except BaseException as error:
            failures.append(f"{way}: the training ended by {type(error).__name__}")
            continue
        named = ("Broken (observers[0])",) if observer.done and how in RAISES else ()
        if found["digest"] != whole["digest"]:
            failures.append(f"{way}: other weights")
        if found["disabled"] != named:
            failures.append(f"{way}: disabled are {found['disabled']}")
        if named and not any(named[0] in line for line in said):
            failures.append(f"{way}: not said")
    return {"plugins": count, "faults": dict(faults), "failures": failures[:20]}


def fitted(out: Path, **settings: Any) -> dict[str, Any]:
    """Train, and return a digest of what came of it and which observers were disabled."""
    from segzoo.train.fit import fit

    result = fit(out=str(out), **settings)
    json.loads((out / "summary.json").read_text())
    return {"digest": digest(out), "disabled": result.disabled_observers}


PLUGIN = """
from segzoo import DatasetSpec
def segzoo_datasets():
    return [DatasetSpec(name="faulty", summary="breaks", build="faultydata.data:build")]
"""
CODE = '''
import json
from pathlib import Path
import torch
from campaign.plugins import RAISES

class Faulty:
    classes = ("a", "b")
    def __init__(self, root, split):
        self.fault, self.split = Path(root) / "fault.json", split
        self.keys = [f"picture-{i}" for i in range(10 if split == "train" else 4)]
    def __len__(self):
        return len(self.keys)
    def __getitem__(self, index):
        image = torch.arange(3 * 32 * 32, dtype=torch.uint8).reshape(3, 32, 32) + index
        sample = image, (image[0] > 100).to(torch.uint8), self.keys[index]
        if self.fault.is_file():
            fault = json.loads(self.fault.read_text())
            if [self.split, index] == fault["where"]:
                return broken(fault["how"], *sample)
        return sample

def broken(how, image, labels, key):
    if how in RAISES:
        RAISES[how]()
    return {
        "nothing": None, "too few": (image, labels), "too many": (image, labels, key, 1),
        "other shapes": (image[:, :5], labels, key), "no channels": (image[0], labels, key),
        "labels": (image, labels + 7, key), "texts": ("image", "labels", key),
        "channels": (image[:2], labels, key),
    }[how]

def build(*, root, split, options):
    from segzoo import MissingSplitError
    if split == "val":
        raise MissingSplitError("none")
    return Faulty(root, split)
'''  # fmt: skip
RETURNS = ("nothing", "too few", "too many", "other shapes", "no channels", "labels", "texts",
           "channels")  # fmt: skip


class BrokenData:
    """A data set in a package of its own, which breaks as a file tells it."""

    def __init__(self, folder: Path) -> None:
        from segzoo.plugins.manager import get_manager

        self.root = folder / "root"
        self.root.mkdir()
        package, info = folder / "site" / "faultydata", folder / "site" / "faultydata-1.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").touch()
        (package / "plugin.py").write_text(PLUGIN)
        (package / "data.py").write_text(CODE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faultydata\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[segzoo.v1]\nfaulty = faultydata.plugin\n")
        sys.path.insert(0, str(folder / "site"))
        get_manager.cache_clear()
        self.wholes: dict[int, str] = {}
        self.folder = folder

    def settings(self, workers: int) -> dict[str, Any]:
        """Return those of a training on it, which reads every picture in every epoch."""
        return {**TRAINING, "data": "faultydata/faulty", "root": str(self.root), "epochs": EPOCHS,
                "workers": workers, "cache": "none"}  # fmt: skip

    def whole(self, workers: int) -> str:
        """Return the digest of the undisturbed training."""
        if workers not in self.wholes:
            out = self.folder / f"whole-data-{workers}"
            self.wholes[workers] = fitted(out, **self.settings(workers))["digest"]
        return self.wholes[workers]

    def round(self, out: Path, chance: random.Random, failures: list[str]) -> str:
        """Break a training, mend it and go on; return how it was broken."""
        from segzoo.errors import SegzooError
        from segzoo.train.fit import fit

        workers = chance.choice((0, 0, 2))
        how = chance.choice([*RAISES, *RETURNS])
        split, size = chance.choice((("train", 10), ("test", 4)))
        epoch, index = chance.randint(1, EPOCHS), chance.randrange(size)
        way = f"data set: {how} in sample {index} of {split}, epoch {epoch}, {workers} workers"
        whole, fault = self.whole(workers), self.root / "fault.json"
        text = json.dumps({"how": how, "where": [split, index]})
        hook, since = ("segzoo_fit_start", 0) if epoch == 1 else ("segzoo_epoch_end", epoch - 1)
        breaks = Broken(hook, since, lambda: fault.write_text(text))
        try:
            with heard():
                fit(out=str(out), **self.settings(workers), observers=[breaks])
            failures.append(f"{way}: not noticed")
        except SegzooError as error:
            named = f"sample {index}" in str(error) or f"`picture-{index}`" in str(error)
            if "faultydata/faulty" not in str(error) or not named:
                failures.append(f"{way}: not named: {error.message[:300]}")
        except BaseException as error:
            failures.append(f"{way}: the training ended by {type(error).__name__}")
        fault.unlink(missing_ok=True)
        try:
            with heard():
                if not (out / "summary.json").is_file():
                    fit(resume=out, progress=False)
            if digest(out) != whole:
                failures.append(f"{way}: mended, other weights")
        except BaseException as error:
            failures.append(f"{way}: not gone on with: {type(error).__name__}: {error}"[:300])
        return how
