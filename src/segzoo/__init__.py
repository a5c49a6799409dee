"""segzoo: a plugin-based model zoo for semantic segmentation.

What plugins need (`hookimpl`, `option`, the specs) is imported at once and is light; what needs
torch (`fit`, `load`, `create_model`, `Sample`, ...) is imported when it is first asked for.
"""

import sys
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
    from segzoo.evaluating import Evaluation, evaluate
    from segzoo.listing import list_datasets, list_models
    from segzoo.model import create_model
    from segzoo.plugins import get_manager, get_registry
    from segzoo.predict import Segmenter, load
    from segzoo.prediction import Prediction
    from segzoo.train.fit import fit
    from segzoo.train.run import Run, RunResult

_LAZY = {
    "DataInfo": "segzoo.data.sample",
    "DataSource": "segzoo.data.opening",
    "Evaluation": "segzoo.evaluating",
    "Prediction": "segzoo.prediction",
    "Run": "segzoo.train.run",
    "RunConfig": "segzoo.config",
    "RunResult": "segzoo.train.run",
    "Sample": "segzoo.data.sample",
    "Segmenter": "segzoo.predict",
    "create_model": "segzoo.model",
    "evaluate": "segzoo.evaluating",
    "fit": "segzoo.train.fit",
    "get_manager": "segzoo.plugins",
    "get_registry": "segzoo.plugins",
    "list_datasets": "segzoo.listing",
    "list_models": "segzoo.listing",
    "load": "segzoo.predict",
}

__all__ = [
    "CommandSpec",
    "DataInfo",
    "DataSource",
    "DatasetSpec",
    "EncoderWeightsSpec",
    "Evaluation",
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
    "evaluate",
    "fit",
    "get_manager",
    "get_registry",
    "hookimpl",
    "list_datasets",
    "list_models",
    "load",
    "option",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        return importlib.import_module("segzoo.packages").core_version()
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    # With name and object Python itself adds the nearest match to an uncaught error.
    raise AttributeError(
        f"module 'segzoo' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
    )


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
