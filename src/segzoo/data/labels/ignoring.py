"""The option `ignore`: which values of masks stand for pixels that are not labelled."""

from dataclasses import dataclass

from segzoo.errors import SegzooError

IGNORE = 255
NOTHING = "nothing"
"""As option `ignore`: no value is ignored, not even 255, and no class for its name."""

OLDER = {-1: NOTHING}
"""What numbers meant as option `ignore` before it had words, in files of that time."""

IGNORED_NAMES = {
    *("ignore", "ignored", "__ignore__", "_ignore_", "void", "_void_", "unlabelled", "unlabeled"),
    *("_unlabelled_", "_unlabeled_", "dontcare", "don't care"),
}


@dataclass(frozen=True)
class Ignored:
    """The values that are given; `nothing` where the option says so. 255 is ignored besides."""

    given: frozenset[int] = frozenset()
    nothing: bool = False

    @property
    def void(self) -> frozenset[int]:
        """All values that are ignored where nothing else makes them a class."""
        return frozenset() if self.nothing else self.given | {IGNORE}

    @property
    def said(self) -> bool:
        """Whether the option is given."""
        return self.nothing or bool(self.given)

    def with_value(self, *values: int) -> str:
        """Return the option that ignores other values as well: ``-O ignore=255,-1``."""
        every = [*sorted(self.given), *(value for value in values if value not in self.given)]
        return f"-O ignore={','.join(map(str, every))}"


def parse_ignore(option: str | int | None) -> Ignored:
    """Return what an option `ignore` says: ``0,255``, ``-1``, ``nothing``; a number as older files
    have it. Raises SegzooError where it is none.
    """
    if isinstance(option, int):
        option = OLDER.get(option, str(option))
    if option is None:
        return Ignored()
    if option.strip().lower() == NOTHING:
        return Ignored(nothing=True)
    try:
        return Ignored(frozenset(int(part) for part in option.split(",")))
    except ValueError:
        raise SegzooError(
            f"-O ignore={option}: not values of masks",
            f"as 255, -1 or 0,255; `{NOTHING}`: every value is a class",
        ) from None
