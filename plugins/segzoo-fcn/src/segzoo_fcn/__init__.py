"""Fully convolutional networks for segzoo, and the paper's two results on dense classification."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segzoo_fcn.dense import convolutionalize, convolutionalize_head, shift_and_stitch

__all__ = ["convolutionalize", "convolutionalize_head", "shift_and_stitch"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: the plugin module, which every command loads, needs no torch.
    if name in __all__:
        from segzoo_fcn import dense

        return getattr(dense, name)
    raise AttributeError(f"module 'segzoo_fcn' has no attribute {name!r}")
