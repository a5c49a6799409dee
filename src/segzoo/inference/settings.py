"""How pictures go through a trained network, and what is written of them.

The flags that `segzoo predict` and `segzoo evaluate` share are the fields of `Inference`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from segzoo.data.pictures.value_range import parse_range
from segzoo.errors import SegzooError, listed, nearest
from segzoo.plugins.options import option, option_infos
from segzoo.size import MOST_AT_ONCE, MOST_PIXELS, Size, parse_size, scaled

FULL = "full"
AUTO = "auto"
SMALLEST_WINDOW = 16
LARGEST_SCALE = 4.0
MOST_OVERLAP = 0.9

KINDS = ("mask", "overlay", "cutout", "alpha", "probability")
"""What `segzoo predict` can write of a picture."""

REFINEMENTS = ("none", "guided", "matting")
"""How an alpha can be brought to the photograph's edges: see `segzoo.inference.refine`."""

REFINE_SETTINGS = (AUTO, *REFINEMENTS)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How pictures go through a network. Sizes are (height, width) in pixels.

    Fields take what the flags of the same names take, ``"192x256"`` or ``"0.75,1"``, and hold it
    typed, `scales` as a tuple of floats. `size` is what the network sees of a whole picture: None
    as trained, "full" the picture's own size, "auto" that times the scale trained at. With a
    `window`, "auto" being the size trained at, a picture is seen at its own size, or at `size`, in
    windows that overlap by at least the share `overlap`. `refine` brings the foreground's edge to
    that of the photograph.
    `range` and `max_pixels` say how picture files are read, and arrays of more than 8 bits.
    Raises SegzooError naming the flag, what came, and what would work.
    """

    size: Size | int | str | None = option(
        None,
        "size the network sees, 256 or 192x256, or full: each picture's own, or auto: that times "
        "the scale trained at; default: as trained, in windows full",
    )
    flip: bool = option(False, "average with the mirrored picture")
    scales: Any = option((1.0,), "average over these scales of the size, such as 0.75,1,1.25")
    window: Size | int | str | None = option(
        None, "slide a window of this size: 512, 384x512, or auto, the size trained at"
    )
    overlap: float = option(0.5, "share of a window that the next one sees again, 0 to 0.9")
    refine: str = option(
        AUTO,
        "sharpen the edge with the photograph: none, guided or matting; auto: guided, for cut-outs "
        "and new backgrounds alone",
    )
    batch_size: int = option(8, "pictures, or windows, at once", minimum=1)
    range: Any = option(
        None,
        "lowest and highest value of pictures of more than 8 bits, such as 0,4095; default: as "
        "trained, else 0,65535",
    )
    max_pixels: int | None = option(
        None,
        "pixels of the largest picture that is read; default: $SEGZOO_MAX_PIXELS, or 179 million",
        minimum=1,
    )

    def __post_init__(self) -> None:
        typed = {
            "size": self.size if self.size in (None, FULL, AUTO) else _size(self.size),
            "scales": _scales(self.scales),
            "window": self.window if self.window in (None, AUTO) else _window(self.window),
            "range": parse_range(self.range, "--range"),
        }
        for name, value in typed.items():
            object.__setattr__(self, name, value)
        for name, kind, words in (
            ("flip", bool, "True or False"),
            ("overlap", Real, "a number"),
            ("batch_size", Integral, "a whole number"),
            ("max_pixels", Integral | None, "a whole number"),
        ):
            if not isinstance(value := getattr(self, name), kind):
                flag = f"--{name.replace('_', '-')}"
                raise SegzooError(f"{flag} takes {words}, not {value!r:.80}")
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise SegzooError(
                f"--overlap {self.overlap}",
                f"the share of a window that the next one sees again, 0 to {MOST_OVERLAP}",
            )
        check_refinement(self.refine, REFINE_SETTINGS)
        if not 1 <= self.batch_size <= MOST_AT_ONCE:
            raise SegzooError(
                f"--batch-size {self.batch_size}", f"1 to {MOST_AT_ONCE} of them at once"
            )
        if self.max_pixels is not None and self.max_pixels < 1:
            raise SegzooError(f"--max-pixels {self.max_pixels}", "give a number of pixels")

    @property
    def is_plain(self) -> bool:
        """Whether each picture goes through the network once and is left as it comes out."""
        return not self.flip and self.scales == (1.0,) and not self.refines_all

    @property
    def refines_all(self) -> bool:
        """Whether masks and scores are refined, and not only what is cut out."""
        return self.refine not in ("none", AUTO)

    @property
    def at_own_size(self) -> bool:
        """Whether pictures are seen at sizes of their own, or in windows of them."""
        return self.window is not None or self.size in (FULL, AUTO)

    @property
    def pictures_at_once(self) -> int:
        """How many pictures make a batch: one where they differ in size or are cut in windows."""
        return 1 if self.at_own_size else self.batch_size

    def seen(
        self, own: Size, trained: Size, scale: float, stride: int, shown: float | None = None
    ) -> Size:
        """Return the size at which a picture of size `own` is seen at a scale.

        A scale other than 1 gives the nearest multiples of the network's stride. `shown` is the
        part of their own size that training pictures had.
        """
        if self.size == AUTO:
            own = scaled(own, shown or 1.0)
        if self.size in (FULL, AUTO) or (self.window and self.size is None):
            height, width = own  # of any size, a side of one pixel too
            if not self.window and height * width * scale * scale > MOST_PIXELS:
                raise SegzooError(
                    f"--size {self.size}: {width}x{height} pixels through the network at once",
                    f"up to {MOST_PIXELS / 1e6:.0f} million pixels are; --window 512 slides over "
                    "larger ones",
                )
        else:
            height, width = trained if self.size is None else parse_size(self.size)
        if scale == 1:
            return height, width
        return _to_stride(height * scale, stride), _to_stride(width * scale, stride)

    def window_size(self, trained: Size) -> Size | None:
        """Return the window; None where pictures are seen whole."""
        if self.window is None:
            return None
        return trained if self.window == AUTO else parse_size(self.window)


HELP = {info.name: info.help for info in option_infos(Inference)}
"""What each of the settings is, for the flags of the same names."""

_NAMES = ", ".join(HELP)


def with_settings(how: Inference | None, settings: Mapping[str, Any]) -> Inference:
    """Return `how`, by default as trained, with some settings changed.

    Raises SegzooError for an unknown one, with the nearest match, and for what a field refuses.
    """
    if how is not None and not isinstance(how, Inference):
        raise SegzooError(
            f"`how` is {type(how).__name__}, no Inference",
            f"give settings as keywords, size=512; there is: {_NAMES}",
        )
    for name in settings:
        if name not in HELP:
            raise SegzooError(
                f"there is no setting `{name}`", f"{nearest(name, HELP)}there is: {_NAMES}"
            )
    return replace(how or AS_TRAINED, **settings)


def check_refinement(how: str, ways: tuple[str, ...] = REFINEMENTS) -> None:
    """Raise SegzooError where `--refine` got no way of refining."""
    if how not in ways:
        close = nearest(how, ways) if isinstance(how, str) else ""
        raise SegzooError(
            f"--refine takes {listed(ways)}, not `{how!s:.80}`", close or "try guided"
        )


def saved_kinds(
    words: str | Iterable[str] | None, *, alpha: bool = False, background: bool = True
) -> tuple[str, ...]:
    """Return what is to be written of a picture, of `KINDS`.

    `words` are comma separated or a list. By default mask and overlay, the cut-out where there is
    a `background` to cut away, and the alpha of a model of mattes (`alpha`). Raises SegzooError
    for an unknown one.
    """
    if words is None:
        return ("mask", "overlay", *["cutout"] * background, *["alpha"] * alpha)
    parts = words.split(",") if isinstance(words, str) else words
    kinds = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    for kind in kinds or ("",):
        if kind not in KINDS:
            raise SegzooError(
                f"--save {words}" if kind in ("", words) else f"--save {words}: `{kind}`",
                f"{nearest(kind, KINDS)}there is: {listed(KINDS)}",
            )
    return kinds


def _to_stride(side: float, stride: int) -> int:
    return max(1, round(side / stride)) * stride


def _size(value: Size | int | str | None) -> Size:
    try:
        return parse_size(value)
    except SegzooError as error:
        raise SegzooError(
            f"--size {value}", "give one side, 256, height x width, 192x256, full or auto"
        ) from error


def _window(value: Size | int | str | None) -> Size:
    fault = SegzooError(
        f"--window {value}",
        f"give one side, 512, height x width, 384x512, each at least {SMALLEST_WINDOW}, or auto",
    )
    try:
        window = parse_size(value)
    except SegzooError as error:
        raise fault from error
    if min(window) < SMALLEST_WINDOW:
        raise fault
    return window


def _scales(value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        scales = tuple(float(part) for part in (parts if isinstance(parts, Iterable) else [parts]))
    except (TypeError, ValueError, OverflowError):
        scales = ()
    if not scales or not all(0 < scale <= LARGEST_SCALE for scale in scales):
        given = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else value
        raise SegzooError(
            f"--scales {given}",
            f"give numbers above 0 and up to {LARGEST_SCALE:g}, comma separated: 0.75,1,1.25",
        )
    return scales


AS_TRAINED = Inference()
"""Each picture whole, once, at the size trained at."""
