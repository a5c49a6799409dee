"""segzoo: a plugin-based model zoo for semantic segmentation.

What plugins need (`hookimpl`, `option`, the specs) is imported at once and is light; what needs
torch (`fit`, `load`, `create_model`, `Sample`, ...) is imported when it is first asked for.
"""

import sys
from typing import TYPE_CHECKING, Any

from segzoo.errors import MissingSplitError, SegzooError
from segzoo.plugins.hookspecs import hookimpl
from segzoo.plugins.options import option
from segzoo.plugins.specs import (
    CommandSpec,
    DatasetSpec,
    EncoderWeightsSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
)

if TYPE_CHECKING:
    from segzoo.data.opening import DataSource
    from segzoo.data.sample import DataInfo, Sample
    from segzoo.inference.evaluating import Evaluation, evaluate
    from segzoo.inference.prediction import Prediction
    from segzoo.inference.segmenter import Segmenter, load
    from segzoo.model.network import create_model
    from segzoo.plugins.listing import list_datasets, list_models
    from segzoo.plugins.manager import get_manager, get_registry
    from segzoo.train.config import RunConfig
    from segzoo.train.fit import fit
    from segzoo.train.run import Run, RunResult

_LAZY = {
    "DataInfo": "segzoo.data.sample",
    "DataSource": "segzoo.data.opening",
    "Evaluation": "segzoo.inference.evaluating",
    "Prediction": "segzoo.inference.prediction",
    "Run": "segzoo.train.run",
    "RunConfig": "segzoo.train.config",
    "RunResult": "segzoo.train.run",
    "Sample": "segzoo.data.sample",
    "Segmenter": "segzoo.inference.segmenter",
    "create_model": "segzoo.model.network",
    "evaluate": "segzoo.inference.evaluating",
    "fit": "segzoo.train.fit",
    "get_manager": "segzoo.plugins.manager",
    "get_registry": "segzoo.plugins.manager",
    "list_datasets": "segzoo.plugins.listing",
    "list_models": "segzoo.plugins.listing",
    "load": "segzoo.inference.segmenter",
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
        return importlib.import_module("segzoo.plugins.packages").core_version()
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    # With name and object Python itself adds the nearest match to an uncaught error.
    raise AttributeError(
        f"module 'segzoo' has no attribute {name!r}", name=name, obj=sys.modules[__name__]
    )


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
