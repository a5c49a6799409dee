"""A sample, and what a built data set says about its samples."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

from torch import Tensor

from segzoo.errors import SegzooError
from segzoo.plugins.registry import Entry
from segzoo.plugins.specs import RGB, target_kinds
from segzoo.words import counted, sized

COLOURS_OF = "a colour of three numbers 0..255 for each class"
TWO_UNNAMED = ("background", "foreground")
FORMERLY_UNNAMED = ("class_0", "class_1")
"""What two classes that nothing names were called where their masks hold 0 and 1, not 0 and 255."""
PALETTE_OF_TWO: tuple[RGB, RGB] = ((0, 0, 0), (255, 0, 160))
_UNCLEAN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Sample(NamedTuple):
    """One picture with its truth.

    image: CHW, uint8 0..255 (or uint16 or float32 with the data set's `value_range` stated);
    target: HW at the image's size, uint8 class ids or alpha 0..255 (int32 for over 255 classes);
    key: a name unique within the split, for messages, file names and seeds.
    """

    image: Tensor
    target: Tensor
    key: str

    def __repr__(self) -> str:
        return (
            f"Sample({self.key!r}, image {_shape_of(self.image)}, target {_shape_of(self.target)})"
        )


def _shape_of(value: Any) -> str:
    """Say of a tensor its type and shape, not its values."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {sized(value.shape)}"


class Batch(NamedTuple):
    """images_BCHW, target_BHW and the keys of some samples of one size."""

    images_BCHW: Tensor
    target_BHW: Tensor
    keys: list[str]


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What a model must know of the data set it is trained on.

    `threshold`, where set, says that samples hold a matte 0..255 which becomes the labels
    ``matte > threshold`` after resizing. `value_range` is the lowest and highest image value.
    `options` are the data set's, with those that it has settled itself by what it found.
    """

    identity: str
    version: str
    classes: tuple[str, ...]
    palette: tuple[RGB, ...]
    target: str
    ignore_index: int | None
    threshold: int | None = None
    value_range: tuple[float, float] = (0.0, 255.0)
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"DataInfo({self.identity}, {self.target}, {counted(self.classes)})"


def describe(dataset: Any, entry: Entry, options: dict[str, Any]) -> DataInfo:
    """Read a built data set's DataInfo: its own attributes first, its spec for the rest.

    Raises SegzooError naming the data set when classes, palette or target make no sense.
    """
    spec = entry.spec
    kinds = target_kinds(spec.target)

    def answer(name: str, default: Any) -> Any:
        value = getattr(dataset, name, None)
        return default if value is None else value

    classes = tuple(str(name) for name in answer("classes", spec.classes))
    target = answer("target", kinds[0])
    if target not in kinds:
        raise SegzooError(f"{entry.owner} gives the target `{target}`; its spec says {kinds}")
    if len(classes) < 2:
        raise SegzooError(
            f"{entry.owner} names {len(classes)} classes: {classes}",
            "a segmentation needs at least two, of which one may be `background`",
        )
    if fault := name_fault(classes):
        raise SegzooError(f"{entry.owner} {fault}", "give each class a name of its own")
    unclean = [name for name in classes if not is_clean_text(name)]
    if unclean:
        raise SegzooError(
            f"{entry.owner} names the class {unclean[0]!r}", "leave control characters out of it"
        )
    palette = tuple(tuple(int(v) for v in colour) for colour in answer("palette", spec.palette))
    if palette and (len(palette) != len(classes) or not all(map(is_colour, palette))):
        raise SegzooError(
            f"{entry.owner}: {len(palette)} colours for {len(classes)} classes",
            f"its palette is to be {COLOURS_OF}",
        )
    value_range = answer("value_range", (0.0, 255.0))
    if not is_range(value_range):
        raise SegzooError(
            f"{entry.owner} states the value_range {value_range!r}",
            "it is the lowest and the highest value of a picture: two numbers, as (0.0, 1.0)",
        )
    return DataInfo(
        identity=entry.identity,
        version=entry.version,
        classes=classes,
        palette=palette or default_palette(len(classes)),  # type: ignore[arg-type]
        target=target,
        ignore_index=getattr(dataset, "ignore_index", spec.ignore_index),
        threshold=getattr(dataset, "threshold", None),
        value_range=(float(value_range[0]), float(value_range[1])),
        # So that evaluating reads other masks as those of the training were read.
        options={**options, **answer("resolved_options", {})},
    )


def unnamed_classes(count: int) -> tuple[str, ...]:
    """Return what classes are called that nothing names; there are at least two."""
    return TWO_UNNAMED if count <= 2 else tuple(f"class_{index}" for index in range(count))


def current_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return class names with those that two unnamed classes had in older files as they are now."""
    return TWO_UNNAMED if tuple(classes) == FORMERLY_UNNAMED else tuple(classes)


def name_fault(names: Sequence[str]) -> str:
    """Say what keeps class names from being told apart, or ""."""
    if not all(name.strip() for name in names):
        return f"has an empty class name: {', '.join(map(repr, names[:8]))}"
    twice = [name for name, count in Counter(names).items() if count > 1]
    return f"names the class `{twice[0]}` twice" if twice else ""


def is_clean_text(text: str) -> bool:
    """Whether a text can be printed: no control characters, which terminals obey, no surrogates."""
    return _UNCLEAN.search(text) is None


def is_range(value: Any) -> bool:
    """Whether a value is two finite numbers, the lower one first."""
    numbers = isinstance(value, (list, tuple)) and all(isinstance(v, Real) for v in value)
    return numbers and len(value) == 2 and -math.inf < value[0] < value[1] < math.inf


def is_colour(value: Any) -> bool:
    """Whether a value is a colour: three whole numbers 0..255."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(type(v) is int and 0 <= v <= 255 for v in value)
    )


def default_palette(count: int) -> tuple[RGB, ...]:
    """Return the colours of classes that no data set gave any.

    They are VOC's, but for two classes: VOC's second colour is a dark red that hardly shows over a
    picture.
    """
    return PALETTE_OF_TWO if count == 2 else voc_palette(count)


def voc_palette(count: int) -> tuple[RGB, ...]:
    """Return the colour map of PASCAL VOC for `count` classes: distinct, class 0 black."""

    def colour(index: int) -> RGB:
        red = green = blue = 0
        for bit in range(7, -1, -1):
            red |= (index & 1) << bit
            green |= (index >> 1 & 1) << bit
            blue |= (index >> 2 & 1) << bit
            index >>= 3
        return red, green, blue

    return tuple(colour(index) for index in range(count))
