import logging
import logging.config
import os
import sys
import warnings

from segzoo import ModelSpec

warnings.simplefilter("error")
logging.config.dictConfig({"version": 1, "root": {"level": "DEBUG"}})
logging.disable(logging.CRITICAL)
os.chdir("/")
os.environ["LEFT_BY_A_PLUGIN"] = "1"
sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120


def segzoo_models() -> list[ModelSpec]:
    return [
        ModelSpec(
            name="traces", summary="one convolution", build="leaves_traces.network:build", stride=1
        )
    ]
