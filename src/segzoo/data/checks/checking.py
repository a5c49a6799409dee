"""What is wrong or odd with a data set (`segzoo data check`): what a training would say of it, and
what it could not know.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segzoo.data.checks.alike import Mark, Pairs, alike, alike_pairs, fingerprint, grouped
from segzoo.data.checks.edges import Thumb, misplaced, thumb
from segzoo.data.checks.survey import SPLITS, is_stream, items
from segzoo.data.checks.suspects import SAME_MASK, Masks, inverted
from segzoo.data.loading.preflight import Look
from segzoo.data.opening import DataSource, advice, notices, unlike
from segzoo.data.sample import DataInfo
from segzoo.data.splits import explaining_pattern
from segzoo.errors import MissingSplitError, SegzooError
from segzoo.host.progress import NOTHING_SHOWN, Waiting

log = logging.getLogger("segzoo")

PROBLEM, SUSPICION, NOTICE = "problem", "suspicion", "notice"
GROUPS = "groups"
"""The kind of the notice that offers a pattern; it comes last."""
Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know of a data set.

    A `problem` is what stops a training, or leaks: a refusal, a broken, mislabelled or leaking
    picture. A `suspicion` is what a person should look at. A `notice` is what the data set says of
    itself. `pairs` are those of a group of pictures that look alike, each a finding.
    """

    grade: str
    kind: str
    split: str
    key: str
    text: str
    hint: str = ""
    pairs: tuple["Finding", ...] = field(default=(), repr=False)


@dataclass
class _Seen:
    """What is remembered of the pictures of all splits."""

    places: list[tuple[str, str]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


def check(
    source: DataSource, *, size: Size | None = None, shown: Waiting = NOTHING_SHOWN
) -> Iterator[Finding]:
    """Yield what is wrong or odd, in the order in which it is found.

    What a training would refuse or warn of is said in the same words, and the rest is looked at
    all the same. With the `size` of a training, so are classes that are lost by resizing.
    """
    splits: dict[str, Any] = {}
    yield from _build(source, splits)
    listed = {text for of in splits.values() for text in getattr(of, "unpaired_notices", ())}
    for text in notices(splits.values()):
        if text in listed:
            continue  # They are listed one by one.
        yield Finding(grade=NOTICE, kind="notice", split="", key="", text=text)
    seen = _Seen()
    lone: set[tuple[str, str]] = set()
    trained: DataInfo | None = None
    for split, dataset in splits.items():
        unpaired: set[tuple[str, str]] = set(getattr(dataset, "unpaired", ()))
        for key, text in sorted(unpaired - lone):
            yield Finding(grade=SUSPICION, kind="unpaired", split=split, key=key, text=text)
        lone |= unpaired  # Two splits carved from one have the same.
        try:
            info = source.info(dataset)
            trained = trained or info
            if error := unlike(source.entry, split, info, trained):
                raise error
        except SegzooError as error:
            yield _refusal(error, split)
            continue
        yield from _check_split(split, dataset, info, seen, size, shown)
    shown.says("comparing pictures", None)
    pairs = alike_pairs(seen.marks)
    yield from _alike(seen.places, pairs)
    # Where the data set can do so, and has a `val` that is not the user's own.
    if hasattr(source.options, "group") and getattr(splits.get("val"), "carved", False):
        groups = list(_groups(seen.places, pairs))
        yield from groups
        for text in () if groups else advice(splits.values()):
            log.info("%s", text)


def _build(source: DataSource, splits: dict[str, Any]) -> Iterator[Finding]:
    """Build the splits that there are, and yield what is refused, each refusal once."""
    refused: set[str] = set()
    for split in SPLITS:
        try:
            splits[split] = source.split(split)
        except MissingSplitError:
            continue
        except SegzooError as error:
            if str(error) not in refused:
                yield _refusal(error, split)
            refused.add(str(error))
    if "train" not in splits and not refused:
        text = f"{source.entry.owner} has none of the splits ('train',)"
        yield _refusal(SegzooError(text), "train")


def _refusal(error: SegzooError, split: str, kind: str = "refused", key: str = "") -> Finding:
    text, hint = error.message, error.hint
    return Finding(grade=PROBLEM, kind=kind, split=split, key=key, text=text, hint=hint)


def _check_split(
    split: str, dataset: Any, info: DataInfo, seen: _Seen, size: Size | None, shown: Waiting
) -> Iterator[Finding]:
    looked, masks = Look(info, split), Masks(info)
    thumbs: list[Thumb] = []
    first = len(seen.places)
    faults = 0
    shown.says(f"reading `{split}`", None if is_stream(dataset) else len(dataset))
    for item in shown.through(items(dataset, info, size)):
        if isinstance(item.found, SegzooError):
            faults += 1
            yield _refusal(item.found, split, item.kind, item.key)
            continue
        looked.add(item.found)
        if item.at_size is not None and info.target == "labels":
            looked.compare(item.found.target, item.at_size.target)
        labels_HW = masks.add(item.found.target)
        thumbs.append(thumb(item.found.image, labels_HW))
        seen.places.append((split, item.key))
        seen.marks.append(fingerprint(item.found.image))
    if not thumbs and not faults:
        verb = "yields" if is_stream(dataset) else "has"
        text = f"{info.identity} {verb} no pictures in this split"
        yield _refusal(SegzooError(text), split)
    for verdict in looked.verdicts(whole=True):
        grade = PROBLEM if verdict.stops else SUSPICION
        yield Finding(
            grade=grade, kind=verdict.kind, split=split, key="", text=verdict.text,
            hint=verdict.hint,
        )  # fmt: skip
    keys = [key for _, key in seen.places[first:]]
    yield from _odd_masks(split, keys, masks, thumbs, seen.marks[first:])


def _odd_masks(
    split: str, keys: list[str], masks: Masks, thumbs: list[Thumb], marks: list[Mark]
) -> Iterator[Finding]:
    """Yield what is unusual about the masks of a split."""

    def finding(kind: str, places: Sequence[int], text: str) -> Finding:
        return Finding(
            grade=SUSPICION, kind=kind, split=split, key=_named([keys[p] for p in places]),
            text=text,
        )  # fmt: skip

    info = masks.info
    for kind, places, text in masks.suspicions():
        copies = kind == SAME_MASK and all(alike(marks[places[0]], marks[p]) for p in places)
        if not copies:  # Those are listed as duplicates.
            yield finding(kind, places, text)
    exchanged = inverted([found.labels for found in thumbs]) if len(info.classes) == 2 else []
    for place in exchanged:
        yield finding("inverted mask", [place], "its two classes seem to be exchanged")
    for fault in misplaced(thumbs, info.ignore_index):
        other = "" if fault.other is None else keys[fault.other]
        places = [] if fault.place is None else [fault.place]
        yield finding(fault.kind, places, fault.text.replace("{other}", other))


def _alike(places: Sequence[tuple[str, str]], pairs: Pairs) -> Iterator[Finding]:
    """Yield groups of pictures that look the same, within a split and over two."""
    by_place: dict[int, list[tuple[int, int]]] = {}
    groups = grouped(pairs, len(places))
    group_of = {place: number for number, group in enumerate(groups) for place in group}
    for one, two in pairs.tolist():
        by_place.setdefault(group_of[one], []).append((one, two))
    for number in range(len(groups)):
        together: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for one, two in by_place[number]:
            together.setdefault((places[one][0], places[two][0]), []).append((one, two))
        for (split, other), some in together.items():
            yield _look_alike(split, other, [(places[a][1], places[b][1]) for a, b in some])


def _look_alike(split: str, other: str, pairs: list[tuple[str, str]]) -> Finding:
    """Return the row for pictures of one split, or of two, that a group's pairs connect."""
    inside = split == other
    grade, kind = (SUSPICION, "duplicate") if inside else (PROBLEM, "leak")

    def row(key: str, text: str, pairs: tuple[Finding, ...] = ()) -> Finding:
        return Finding(grade=grade, kind=kind, split=split, key=key, text=text, pairs=pairs)

    rows = tuple(row(one, f"looks the same as `{two}` of `{other}`") for one, two in pairs)
    if len(rows) == 1:
        return rows[0]
    first = list(dict.fromkeys(one for one, _ in pairs))
    second = list(dict.fromkeys(two for _, two in pairs))
    if inside:
        keys = sorted({*first, *second})
        return row(_named(keys), f"{len(keys)} pictures look alike", rows)
    text = f"{_pictures(first)} like {len(second)} of `{other}`, such as `{second[0]}`"
    return row(_named(first), text, rows)


def _pictures(keys: Sequence[str]) -> str:
    return "1 picture looks" if len(keys) == 1 else f"{len(keys)} pictures look"


def _groups(places: Sequence[tuple[str, str]], pairs: Pairs) -> Iterator[Finding]:
    """Offer the pattern of names that keeps on one side of a carved `val` what looks alike."""
    carved = {"train", "val"}
    keys = [key if split in carved else None for split, key in places]
    there = [(keys[a], keys[b]) for a, b in pairs.tolist() if keys[a] and keys[b]]
    leaks = sum(places[a][0] != places[b][0] for a, b in pairs.tolist() if keys[a] and keys[b])
    if not leaks:
        return
    pattern, count = explaining_pattern([key for key in keys if key], there)  # type: ignore[arg-type]
    said = f"`val` is carved out of `train`, and {leaks} pairs that look alike are on both sides: "
    if pattern:
        said += f'keep them together with -O group="{pattern}" ({count} groups)'
    else:
        said += (
            "their names tell no groups, so put whole films, patients or scenes into a val split "
            "of your own, or give -O group=PATTERN"
        )
    yield Finding(grade=NOTICE, kind=GROUPS, split="val", key="", text=said)


def _named(keys: Sequence[str]) -> str:
    if len(keys) <= 2:
        return ", ".join(keys)
    return f"{keys[0]} .. {keys[-1]}"
