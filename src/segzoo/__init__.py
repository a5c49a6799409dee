"""segzoo: a plugin-based model zoo for semantic segmentation.

What plugins need (`hookimpl`, `option`, the specs) is imported at once and is light; what needs
torch (`fit`, `load`, `create_model`, `Sample`, ...) is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from segzoo.errors import MissingSplitError, SegzooError
from segzoo.hookspecs import hookimpl
from segzoo.options import option
from segzoo.specs import (
    CommandSpec,
    DatasetSpec,
    EncoderWeightsSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
)

if TYPE_CHECKING:
    from segzoo.config import RunConfig
    from segzoo.data.opening import DataSource
    from segzoo.data.sample import DataInfo, Sample
    from segzoo.model import create_model
    from segzoo.plugins import get_manager, get_registry
    from segzoo.predict import Prediction, Segmenter, load
    from segzoo.train.fit import fit
    from segzoo.train.run import Run, RunResult

_LAZY = {
    "DataInfo": "segzoo.data.sample",
    "DataSource": "segzoo.data.opening",
    "Prediction": "segzoo.predict",
    "Run": "segzoo.train.run",
    "RunConfig": "segzoo.config",
    "RunResult": "segzoo.train.run",
    "Sample": "segzoo.data.sample",
    "Segmenter": "segzoo.predict",
    "create_model": "segzoo.model",
    "fit": "segzoo.train.fit",
    "get_manager": "segzoo.plugins",
    "get_registry": "segzoo.plugins",
    "load": "segzoo.predict",
}

__all__ = [
    "CommandSpec",
    "DataInfo",
    "DataSource",
    "DatasetSpec",
    "EncoderWeightsSpec",
    "LossSpec",
    "MetricSpec",
    "MissingSplitError",
    "ModelSpec",
    "Prediction",
    "Run",
    "RunConfig",
    "RunResult",
    "Sample",
    "SegzooError",
    "Segmenter",
    "create_model",
    "fit",
    "get_manager",
    "get_registry",
    "hookimpl",
    "load",
    "option",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        return importlib.import_module("segzoo.packages").core_version()
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'segzoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
