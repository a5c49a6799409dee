"""Carving a validation split out of the training pictures, the same way every time."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from segzoo.data.pairs import Pairs
from segzoo.errors import SegzooError

GROUP = "{group}"
EXAMPLES = (
    "`{group}_*` is what comes before the first `_`, `{group}/*` the first folder, "
    "`(patient[0-9]+)` what a regular expression's brackets hold"
)
_FOLD = re.compile(r"(?:k?fold|cv|split|run)[ _.-]?\d+|\d+[ _.-]?fold", re.IGNORECASE)


def carve(
    keys: Sequence[str],
    fraction: float,
    *,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> tuple[list[str], list[str]]:
    """Split keys into (train, val), val being `fraction` of them, at least one if there are two.

    With `groups`, the name of each key's group, all keys of a group are on one side, and val is as
    near to `fraction` as whole groups come. The choice depends on the sorted keys (and groups) and
    the seed alone; both lists come back sorted. Raises SegzooError where there is but one group.
    """
    if groups is not None and fraction > 0:
        return _carve_groups(dict(zip(keys, groups, strict=True)), fraction, seed)
    ordered = sorted(keys)
    count = round(len(ordered) * fraction)
    if fraction > 0 and len(ordered) > 1:
        count = min(max(count, 1), len(ordered) - 1)
    held_out = set(random.Random(seed).sample(ordered, count if len(ordered) > 1 else 0))
    return [key for key in ordered if key not in held_out], sorted(held_out)


def _carve_groups(
    group_of: dict[str, str], fraction: float, seed: int
) -> tuple[list[str], list[str]]:
    sizes = Counter(group_of.values())
    if len(sizes) < 2:
        raise SegzooError(
            f"all {len(group_of)} training pictures are of one group, "
            f"`{next(iter(sizes), '')}`: no `val` can be carved out of it",
            "give a finer pattern (-O group=...), a val split of its own, or -O val=0",
        )
    wanted = len(group_of) * fraction
    chosen: set[str] = set()
    count = 0
    order = random.Random(seed).sample(sorted(sizes), len(sizes))
    for name in order:
        nearer = abs(count + sizes[name] - wanted) < abs(count - wanted)
        if nearer and len(chosen) < len(sizes) - 1:
            chosen.add(name)
            count += sizes[name]
    if not chosen:  # Every group is more than twice what is wanted.
        chosen = {min(order, key=lambda name: sizes[name])}
    held_out = sorted(key for key, name in group_of.items() if name in chosen)
    return sorted(key for key, name in group_of.items() if name not in chosen), held_out


def find_groups(keys: Iterable[str], pattern: str) -> list[str]:
    """Return the group of each key by a pattern: `{group}_*`, or a regular expression.

    In the first form `{group}` is the shortest text that fits, `*` any text, and the whole key is
    to fit. In the second, which has brackets, the group is what the first pair of them holds,
    anywhere in the key. Raises SegzooError for a pattern that is neither, and for keys that it
    does not fit.
    """
    expression = compiled(pattern)
    groups: list[str] = []
    misfits: list[str] = []
    for key in keys:
        found = expression.search(key)
        if found is None or not found[1]:
            misfits.append(key)
        else:
            groups.append(found[1])
    if misfits:
        some = ", ".join(f"`{key}`" for key in misfits[:3])
        count, total = len(misfits), len(groups) + len(misfits)
        raise SegzooError(
            f"-O group={pattern}: {count} of {total} pictures do not fit it, such as {some}",
            f"a picture's name without its ending is to fit; {EXAMPLES}",
        )
    return groups


CANDIDATES = (
    *("{group}/*", "{group}_*", "{group}-*", "{group}.*", "(.+)/", "(.+)_", "(.+)-"),
    *("^(.*?[^0-9])[0-9]+$", "^(.*?[0-9]+)[^0-9]"),
)
"""Patterns tried on names, those that are easily read first."""
MOSTLY = 0.95


def explaining_pattern(keys: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tuple[str, int]:
    """Return the pattern that puts the keys of nearly all pairs into one group each, and how many
    groups it makes: the one of most groups, or ("", 0) where there is none of several.
    """
    best, most = "", 1
    for pattern in CANDIDATES:
        try:
            groups = dict(zip(keys, find_groups(keys, pattern), strict=True))
        except SegzooError:
            continue
        together = sum(groups[one] == groups[two] for one, two in pairs)
        count = len(set(groups.values()))
        if together >= MOSTLY * len(pairs) and count > most:
            best, most = pattern, count
    return (best, most) if best else ("", 0)


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of groups as a regular expression with one pair of brackets."""
    text = pattern
    if GROUP in pattern:
        before, _, after = (re.escape(part).replace(r"\*", ".*") for part in
                            pattern.partition(GROUP))  # fmt: skip
        text = f"^{before}(.+?){after}$"
    try:
        expression = re.compile(text, re.DOTALL)
    except re.error as error:
        raise SegzooError(f"-O group={pattern}: {error}", EXAMPLES) from error
    if pattern.count(GROUP) > 1 or expression.groups < 1:
        raise SegzooError(f"-O group={pattern} does not say what is the group", EXAMPLES)
    return expression


TOGETHER = (
    "`val` is carved out of `train` at random: where the pictures are frames of films, or several "
    "of a patient, keep those together with -O group=PATTERN"
)


class Carving(NamedTuple):
    """Training keys, those carved out as val, and what is to be said of it."""

    train: list[str]
    val: list[str]
    said: str


def carve_by_pattern(keys: Sequence[str], fraction: float, pattern: str | None) -> Carving:
    """Carve `val` out of training keys, by the groups that a pattern finds where there is one."""
    groups = find_groups(keys, pattern) if pattern else None
    train, val = carve(keys, fraction, groups=groups)
    said = f"val: {len(val)} of {len(keys)} pictures carved out of train (seed 0)"
    if groups is not None:
        held = set(val)
        chosen = {name for key, name in zip(keys, groups, strict=True) if key in held}
        said += f", groups by `{pattern}`: {len(chosen)} of {len(set(groups))}"
    return Carving(train, val, said)


def refuse_folds(root: Path, pairs: dict[str, Pairs]) -> None:
    """Raise SegzooError for folds of a cross-validation together: one's val is another's train."""
    folds = [
        {first for key in of.keys if _FOLD.fullmatch(first := key.partition("/")[0])}
        for split, of in pairs.items()
        if split in ("train", "val")
    ]
    if len(folds) == 2 and len(folds[0] & folds[1]) > 1:
        shown = sorted(folds[0] & folds[1])
        raise SegzooError(
            f"{root} has train and val in each of {', '.join(shown[:4])}: folds, of which one's "
            "val may be another's train",
            f"train on one of them: --root {root / shown[0]}",
        )
