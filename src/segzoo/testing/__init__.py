"""The conformance kit: a plugin's whole test file is a class with the name of its part.

    from segzoo.testing import ModelConformance

    class TestFoo(ModelConformance):
        model = "segzoo-foo/foo"

pytest runs the inherited checks; `segzoo check segzoo-foo` runs them for an installed package.
"""

from segzoo.testing.base import Conformance, ConformanceError, check
from segzoo.testing.datasets import DatasetConformance
from segzoo.testing.losses import LossConformance
from segzoo.testing.metrics import MetricConformance
from segzoo.testing.models import ModelConformance
from segzoo.testing.others import CommandConformance, EncoderWeightsConformance

__all__ = [
    "CommandConformance",
    "Conformance",
    "ConformanceError",
    "DatasetConformance",
    "EncoderWeightsConformance",
    "LossConformance",
    "MetricConformance",
    "ModelConformance",
    "check",
]
