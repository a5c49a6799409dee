"""The core's metrics: overlap of classes, their boundaries, the errors of a matte.

Metrics add up over a whole data set; nothing is averaged over batches. K is the class count.
"""

from segzoo.metrics.confusion import Confusion, confusion_matrix
from segzoo.metrics.matte import MatteErrors
from segzoo.metrics.selection import Metric, MetricSet, chosen_score

__all__ = ["Confusion", "MatteErrors", "Metric", "MetricSet", "chosen_score", "confusion_matrix"]
