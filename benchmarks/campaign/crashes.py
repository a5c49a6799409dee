"""Code of a plugin that raises something at a random step: what was done is gone on with."""

import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from breaking import PARTS, PLUGIN, SETTINGS

from .plugins import RAISES, refuse
from .training import digest
from .watching import heard

OBSERVER = """

class Observer:
    def segzoo_epoch_end(self):
        reach("observer")
    def segzoo_checkpoint_saved(self):
        reach("observer")
"""
OWNERS = {
    "network": "model `acme/net`", "scored network": "model `acme/net`",
    "backward": "plugin `acme`", "loss": "loss `acme/loss`",
    "metric": "metric `acme/metric`", "computed metric": "metric `acme/metric`",
    "data": "acme/data, sample ",
}  # fmt: skip


class PanicException(BaseException):
    """What code in Rust raises."""


KINDS: dict[str, Callable[[], object]] = {
    **RAISES,
    "panic": refuse(PanicException("index out of bounds")),
    "GeneratorExit": refuse(GeneratorExit()),
    "Ctrl-C": refuse(KeyboardInterrupt()),
}


def crashes(_root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Break trainings, go on with them, and compare their ends with that of an undisturbed one."""
    parts = installed(folder)
    failures: list[str] = []
    faults = Counter[str]()
    undrawn = [patch(f"segzoo.report.runs.draw_{name}") for name in ("curves", "predictions")]
    for one in undrawn:
        one.start()
    before = dict(trained(folder / "whole", parts))
    began: dict[str, int] = before.pop("began")
    for number in range(count):
        place = chance.choice([*OWNERS, "observer"])
        how = chance.choice([*KINDS])
        first = began.get(place, 0)
        parts.calls.clear()
        which = first + chance.randint(1, before[place] - first)
        parts.broken[place] = which, anew(KINDS[how])
        way = f"{place}: {how} in call {which} of {before[place]}"
        faults[f"{place}: {how}"] += 1
        out = folder / f"run-{number}"
        fault = ended(out, parts, place, how)
        if not fault and digest(out) != digest(folder / "whole"):
            fault = "other weights"
        if fault:
            failures.append(f"{way}: {fault}")
    for one in undrawn:
        one.stop()
    by_place = Counter(name.partition(":")[0] for name in faults.elements())
    return {
        "crashes": count, "places": dict(by_place),
        "kinds": len({name.partition(": ")[2] for name in faults}), "failures": failures[:20],
    }  # fmt: skip


def anew(call: Callable[[], object]) -> Callable[[], None]:
    """Return a function that raises what `call` does, without where that was raised before."""

    def raise_anew() -> None:
        try:
            call()
        except BaseException as error:
            raise error.with_traceback(None) from None

    return raise_anew


def ended(out: Path, parts: Any, place: str, how: str) -> str:
    """Train with what is broken, and go on without; return what was wrong with that, or ""."""
    from segzoo.train.fit import fit

    raised: BaseException | None = None
    with heard() as said:
        try:
            fit(**SETTINGS, out=str(out), observers=[parts.Observer()])
        except BaseException as error:
            raised = error
        parts.broken.clear()
        fault = untold(out, raised, place, how, said)
        if raised is not None:
            try:
                fit(resume=out, progress=False)
            except BaseException as error:
                return fault or f"not gone on with: {type(error).__name__}: {error}"[:300]
    return fault


def untold(out: Path, raised: Any, place: str, how: str, said: list[str]) -> str:
    """Return what was not said of an error as it has to be, or ""."""
    from segzoo.errors import PluginCodeError

    if how == "Ctrl-C":
        return "" if isinstance(raised, KeyboardInterrupt) else f"raised {raised!r:.80}"
    if not (out / "traceback.txt").is_file():
        return "no traceback.txt"
    if place == "observer":
        told = any("Observer" in line for line in said)
        return f"raised {raised!r:.80}" if raised else "" if told else "not told"
    if not isinstance(raised, PluginCodeError) or OWNERS[place] not in raised.message:
        return f"not named: {raised!r:.200}"
    nothing = "step 1," in raised.message or "after step 0" in raised.message
    saved = "the state before it is saved" in raised.hint
    return "" if saved or nothing else f"not saved: {raised.hint:.200}"


def trained(out: Path, parts: Any) -> dict[str, Any]:
    """Train undisturbed; return how often each place was reached, and `began`: before training."""
    from segzoo.train.fit import fit

    began: dict[str, int] = {}

    class Start:
        def segzoo_fit_start(self) -> None:
            began.update(parts.calls)

    fit(**SETTINGS, out=str(out), observers=[parts.Observer(), Start()])
    return {**parts.calls, "began": began}


def installed(folder: Path) -> Any:
    """Lay the plugin out as pip does; return its module of parts."""
    import importlib

    from segzoo.plugins.manager import get_manager

    package, info = folder / "site" / "acme", folder / "site" / "acme-1.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").touch()
    (package / "plugin.py").write_text(PLUGIN)
    (package / "parts.py").write_text(PARTS + OBSERVER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[segzoo.v1]\nacme = acme.plugin\n")
    sys.path.insert(0, str(folder / "site"))
    get_manager.cache_clear()
    return importlib.import_module("acme.parts")
