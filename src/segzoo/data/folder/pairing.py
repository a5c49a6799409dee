"""Which mask belongs to which image, by their names.

Keys are paths without their ending, relative to where images or masks lie. An image and its mask
have one key, up to what says that they are one: ``a_mask``, ``mask_a``, ``a_leftImg8bit`` beside
``a_gtFine_labelIds``. Numbers that happen to agree are no pair: for those there is
`segzoo.data.folder.patterns`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import product

from segzoo.errors import SegzooError

IMAGE_WORDS = (
    *("image", "images", "img", "im", "photo", "picture", "pic", "sat", "satellite", "rgb"),
    *("leftimg8bit", "input", "orig", "original", "raw", "0000"),
)
MASK_WORDS = (
    *("mask", "masks", "matte", "label", "labels", "labelids", "labeltrainids", "trainids"),
    *("gt", "gtfine", "groundtruth", "truth", "target", "alpha", "seg", "segm", "segmentation"),
    *("annotation", "annot", "anno", "ann", "l"),
)
SAMPLED = 64
"""Names that are looked at to find out what begins or ends them."""
MOST_AFFIXES = 6

Affix = tuple[str, str]
"""What stands before and behind the part of a name that an image and its mask share."""


@dataclass(frozen=True)
class Matches:
    """Pairs of an image's and its mask's key, in the images' order.

    `images` and `masks` are what stands around the shared part of the names. `suffix` is set where
    a mask's key is its image's and this. `loosely` pairs agree but for case or for the form in
    which accents are written.
    """

    pairs: list[tuple[str, str]]
    images: Affix = ("", "")
    masks: Affix = ("", "")
    suffix: str | None = None
    loosely: list[tuple[str, str]] = field(default_factory=list)

    @property
    def said(self) -> str:
        """What images and masks are told apart by: ``*_mask``; "" where names are the same."""
        (before, behind), (first, last) = self.images, self.masks
        mask = f"{first}*{last}" if first or last else ""
        return f"{before}*{behind} + {mask or '*'}" if before or behind else mask


def match(
    images: Collection[str], masks: Collection[str], *, beside: bool, suffix: str | None = None
) -> Matches:
    """Pair keys of images with keys of masks, by the rule that pairs most.

    `beside` says that both are the same files, told apart by the rule alone. `suffix` is what a
    mask's name adds, where it is known. Raises SegzooError where two rules give other masks.
    """
    if suffix is not None:
        rules = [(("", ""), ("", suffix))]
    elif not beside:
        exact = _apply(images, masks, (("", ""), ("", "")), beside, _as_it_is)
        if len(exact.pairs) == len(images):
            return exact
        rules = list(_rules(images, masks))
    else:
        rules = [rule for rule in _rules(images, masks) if rule[0] != rule[1]]
    best: Matches | None = None
    for fold in (_as_it_is, _composed, _caseless):
        found = [_apply(images, masks, rule, beside, fold) for rule in rules]
        found = [matches for matches in found if matches.pairs]
        most = max(found, key=lambda matches: len(matches.pairs), default=None)
        if most is not None and (best is None or len(most.pairs) > len(best.pairs)):
            _refuse_a_choice(most, found)
            best = most
        if best is not None and len(best.pairs) >= len(images) - beside * len(best.pairs):
            break
    return best or Matches([])


def _refuse_a_choice(best: Matches, found: list[Matches]) -> None:
    for other in found:
        if len(other.pairs) < len(best.pairs) or ("", "") == best.images == best.masks:
            continue
        one, two = dict(best.pairs), dict(other.pairs)
        twice = next((image for image in one if image in two and one[image] != two[image]), None)
        if twice is not None:
            raise SegzooError(
                f"two masks for each image: of `{twice}` there are `{one[twice]}` and "
                f"`{two[twice]}`",
                f"say which one: -O suffix={_added(twice, two[twice])}, or -O pair=IMAGE:MASK with "
                "patterns such as {name}.*:{name}_mask.png",
            )


def _added(image: str, mask: str) -> str:
    return mask.removeprefix(image) if mask.startswith(image) else "_x"


def _rules(images: Collection[str], masks: Collection[str]) -> Iterator[tuple[Affix, Affix]]:
    """Yield what may stand around the shared part of images' and masks' names, plain ones first."""
    yield from product(_affixes(images, IMAGE_WORDS), _affixes(masks, MASK_WORDS))


def _affixes(keys: Collection[str], words: tuple[str, ...]) -> list[Affix]:
    """Return what stands before and behind the rest of names, made of such words."""
    choice = "|".join(sorted(words, key=len, reverse=True))
    before = re.compile(rf"(?:(?:{choice})[_\-. ]+)+(?=.)", re.IGNORECASE)
    behind = re.compile(rf"(?:[_\-. ]+(?:{choice}))+$", re.IGNORECASE)
    counts: Counter[Affix] = Counter()
    for key in list(keys)[:: max(1, len(keys) // SAMPLED)]:
        name = key.rpartition("/")[2]
        first = found.group() if (found := before.match(name)) else ""
        last = found.group() if (found := behind.search(name, len(first))) else ""
        # All that the words cover, and the last word alone: a_gt_mask may be a_gt's mask.
        lasts = {last, last[max(last.rfind(c) for c in "_-. ") :] if last else ""}
        counts.update({(one, two) for one in {first, ""} for two in lasts} - {("", "")})
    return [("", ""), *(affix for affix, _ in counts.most_common(MOST_AFFIXES))]


def _apply(
    images: Collection[str],
    masks: Collection[str],
    rule: tuple[Affix, Affix],
    beside: bool,
    fold: Callable[[str], str],
) -> Matches:
    of_image, of_mask = rule
    shared: dict[str, str | None] = {}
    for mask in masks:
        core = fold(mask) if of_mask == ("", "") else _core(mask, of_mask, fold)
        if core is not None:
            shared[core] = None if core in shared and fold is not _as_it_is else mask
    pairs = []
    taken = set(shared.values()) if beside else set()
    for image in images:
        core = fold(image) if of_image == ("", "") else _core(image, of_image, fold)
        mask = None if core is None else shared.get(core)
        if mask is not None and image not in taken:
            pairs.append((image, mask))
    twice = {mask for mask, count in Counter(mask for _, mask in pairs).items() if count > 1}
    pairs = [pair for pair in pairs if pair[1] not in twice] if twice else pairs
    plain = fold is _as_it_is
    loosely = (
        []
        if plain
        else [
            pair
            for pair in pairs
            if _core(pair[0], of_image, _as_it_is) != _core(pair[1], of_mask, _as_it_is)
        ]
    )
    suffix = of_mask[1] if plain and of_image == ("", "") and not of_mask[0] else None
    return Matches(pairs, of_image, of_mask, suffix, loosely)


def _core(key: str, affix: Affix, fold: Callable[[str], str]) -> str | None:
    """Return what an affix leaves of a key, its folder kept; None where it is not around it."""
    folder, slash, name = key.rpartition("/")
    (first, last), plain = affix, name
    if fold is _caseless:
        first, last, plain = first.casefold(), last.casefold(), name.casefold()
    if not (plain.startswith(first) and plain.endswith(last)) or len(name) <= len(first + last):
        return None
    return fold(folder + slash + name[len(first) : len(name) - len(last)])


def _as_it_is(text: str) -> str:
    return text


def _composed(text: str) -> str:
    """Return a text with accents as macOS does not write them: one sign for a letter."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _caseless(text: str) -> str:
    return _composed(text).casefold()
