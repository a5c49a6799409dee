"""Running the conformance checks of an installed package without pytest: `segzoo check`."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

from segzoo.errors import SegzooError
from segzoo.plugins.registry import Entry
from segzoo.testing.base import Conformance, ConformanceError
from segzoo.testing.datasets import DatasetConformance
from segzoo.testing.losses import LossConformance
from segzoo.testing.metrics import MetricConformance
from segzoo.testing.models import ModelConformance
from segzoo.testing.others import CommandConformance, EncoderWeightsConformance

BASES: dict[str, type[Conformance]] = {
    base.kind: base
    for base in (
        ModelConformance,
        DatasetConformance,
        LossConformance,
        MetricConformance,
        EncoderWeightsConformance,
        CommandConformance,
    )
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one check of one part went: passed, failed, exception (a declared one) or skipped."""

    kind: str
    part: str
    check: str
    outcome: str
    text: str = ""
    seconds: float = 0.0


def check_part(entry: Entry, options: Mapping[str, Any]) -> Iterator[Outcome]:
    """Run every check of one part, yielding each outcome."""
    base = BASES[entry.spec.kind]
    values = {base.attribute: entry.identity, "options": dict(options)}
    part = type(f"Test_{entry.spec.name}", (base,), values)()
    for method in base.checks():
        start = time.perf_counter()
        outcome, text = "passed", ""
        try:
            getattr(part, method)()
        except SkipTest as reason:
            text = str(reason)
            outcome = "exception" if text.startswith("declared exception") else "skipped"
        except (ConformanceError, SegzooError) as error:
            outcome, text = "failed", str(error)
        except Exception as error:
            # A check that stumbles over the part's own error is that part's fault too.
            outcome, text = "failed", f"{type(error).__name__}: {error}"
        yield Outcome(
            kind=entry.spec.kind,
            part=entry.identity,
            check=method.removeprefix("test_"),
            outcome=outcome,
            text=text,
            seconds=round(time.perf_counter() - start, 3),
        )
