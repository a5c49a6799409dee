"""The keywords of `segzoo.fit`, `segzoo.evaluate` and `Segmenter.predict`, as types and as help.

What a setting is, its default and its help stand in `RunConfig` and `Inference`. The typed dicts
here repeat the names for type checkers and editors, with everything that a field may be given as;
a test compares them with the dataclasses. `takes_settings` gives a function the signature and the
help that come of both, for `help(segzoo.fit)` and completion at a prompt.
"""

import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, TypeVar

from segzoo.plugins.options import option_infos
from segzoo.size import Size

Function = TypeVar("Function", bound=Callable[..., Any])

WIDTH = 96
HEADING = "\n\nThe settings, with their defaults:\n\n"


class InferenceSettings(TypedDict, total=False):
    """How pictures go through a network: the fields of `segzoo.inference.settings.Inference`."""

    size: Size | int | str | None
    flip: bool
    scales: float | str | Sequence[float]
    window: Size | int | str | None
    overlap: float
    refine: Literal["auto", "none", "guided", "matting"]
    batch_size: int
    range: str | Sequence[float] | None
    max_pixels: int | None


def takes_settings(settings: type, declared: type) -> Callable[[Function], Function]:
    """Say in a function's signature and docstring what its ``**settings`` are.

    `settings` is the typed dict of its annotation, `declared` the dataclass that has their
    defaults and help. How the function is called does not change.
    """
    hints = typing.get_type_hints(settings)
    infos = [info for info in option_infos(declared) if info.name in hints]
    made = {
        field.name: field.default_factory()
        for field in dataclasses.fields(declared)
        if field.default_factory is not dataclasses.MISSING
    }
    defaults = {info.name: made.get(info.name, info.default) for info in infos}

    def documented(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keywords = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name]
            )
            for name, default in defaults.items()
        ]
        function.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
        lines = [
            textwrap.fill(
                f"{info.name}={defaults[info.name]!r}: {info.help}",
                WIDTH,
                initial_indent="    ",
                subsequent_indent=" " * 8,
                break_on_hyphens=False,
            )
            for info in infos
        ]
        function.__doc__ = inspect.cleandoc(function.__doc__ or "") + HEADING + "\n".join(lines)
        return function

    return documented
