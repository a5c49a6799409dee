"""The core's metrics: overlap of classes, their boundaries, the errors of a matte.

Metrics add up over a whole data set; nothing is averaged over batches. K is the class count.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo.metrics.confusion import confusion_matrix

__all__ = ["confusion_matrix"]


def __getattr__(name: str) -> Any:
    # `plugin.py` of this room is light, and importing it imports this.
    if name in __all__:
        from segzoo.metrics import confusion

        return getattr(confusion, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
