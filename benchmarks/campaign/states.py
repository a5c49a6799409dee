"""Damaged resume states: single bits, and what disks and people do to files."""

import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .training import trained_once
from .watching import heard

EXPECTED = (
    *("refused and named", "named, and the other taken", "undamaged"),
    "as if not yet written",  # A generation's JSON is written last.
)


class State(NamedTuple):
    """A state of two generations: its folder's files by name, and what is saved by generation."""

    run: Path
    files: dict[str, bytes]
    saved: dict[int, str]
    newest: str  # "state-a" or "state-b"
    older: str


def flips(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Turn bits over in the files of a state, one at a time."""
    state = two_generations(root, folder)
    outcomes, failures = Counter[str](), []
    for number in range(count):
        name = chance.choice(sorted(state.files))
        data, place = bytearray(state.files[name]), chance.randrange(len(state.files[name]))
        data[place] ^= 1 << chance.randrange(8)
        outcome = judged(state, name, bytes(data), alone=number % 2 == 0)
        note(outcome, f"{name}, byte {place}", outcomes, failures)
    return {"flips": count, "outcomes": dict(outcomes), "failures": failures[:20]}


def torn(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Damage the files of a state otherwise; now and then with a temporary file beside them."""
    state = two_generations(root, folder)
    outcomes, failures = Counter[str](), []
    damage = Counter[str]()
    for number in range(count):
        name = chance.choice(sorted(state.files))
        how, data = damaged(state.files, name, chance)
        damage[how if data != state.files[name] else "none"] += 1
        extra = {}
        if chance.random() < 0.1:
            extra = {f".tmp{Path(name).suffix}": state.files[name][: chance.randrange(5000)]}
        alone = number % 2 == 1
        outcome = judged(state, name, data, alone=alone, extra=extra)
        way = f"{name}, {how}, {'alone' if alone else 'beside another'}"
        note(outcome, way, outcomes, failures)
    return {"torn": count, "outcomes": dict(outcomes), "damage": dict(damage),
            "failures": failures[:20]}  # fmt: skip


def note(outcome: str, way: str, outcomes: Counter[str], failures: list[str]) -> None:
    """Count an outcome, and keep one that is a fault."""
    is_fault = outcome not in EXPECTED
    outcomes["fault" if is_fault else outcome] += 1
    if is_fault:
        failures.append(f"{way}: {outcome}")


def two_generations(root: Path, folder: Path) -> State:
    """Return a state of two generations, its run copied into `folder`."""
    from segzoo.train.recovery import state

    run = folder / "run"
    shutil.copytree(trained_once(root), run)
    newest, older = state.read_generations(run)
    return State(
        run=run,
        files={path.name: path.read_bytes() for path in sorted(newest.path.parent.glob("state-*"))},
        saved={s.generation: summary(s, state._read_tensors(s)) for s in (newest, older)},
        newest=newest.path.stem,
        older=older.path.stem,
    )


def summary(saved: Any, tensors: Mapping[str, Any]) -> str:
    """Return a digest of a generation's values and tensors."""
    found = hashlib.blake2b(repr(saved.values).encode())
    for name, value in sorted(tensors.items()):
        found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def damaged(files: dict[str, bytes], name: str, chance: random.Random) -> tuple[str, bytes | None]:
    """Return how a file was damaged, and what came of it: None, if it is not there any more."""
    data, size = bytearray(files[name]), len(files[name])
    first, second = sorted(chance.randrange(size) for _ in range(2))
    block = min(chance.choice((1, 16, 512, 4096)), size - second)
    how = chance.choice(("cut", "zeros", "repeated", "swapped", "appended", "emptied", "missing",
                         "the other generation's"))  # fmt: skip
    match how:
        case "cut":
            del data[second:]
        case "zeros":
            data[first : first + block] = bytes(len(data[first : first + block]))
        case "repeated":
            data[second : second + block] = data[first : first + block]
        case "swapped":
            block = min(block, second - first)
            one, two = data[first : first + block], data[second : second + block]
            data[first : first + block], data[second : second + block] = two, one
        case "appended":
            data += chance.choice((b"\0", b"\n", bytes(4096), bytes(data[:block]), bytes(data)))
        case "emptied":
            data.clear()
        case "missing":
            return how, None
        case _:
            data[:] = files[other_of(name)]
    return how, bytes(data)


def other_of(name: str) -> str:
    """Return the name of the other generation's file."""
    return name.replace("-a.", "-b.") if "-a." in name else name.replace("-b.", "-a.")


def judged(
    state: State,
    name: str,
    data: bytes | None,
    *,
    alone: bool,
    extra: Mapping[str, bytes] | None = None,
) -> str:
    """Read a state in which the file `name` holds `data`, beside the other generation or without
    it; return which of EXPECTED comes of it, or what is wrong with that. `extra` files are there
    as well.
    """
    from segzoo.errors import SegzooError
    from segzoo.train.recovery import state as reading

    slot, place = Path(name).stem, state.run / "last"
    put(place, {**state.files, **(extra or {}), name: data}, only=slot if alone else "")
    changed = data != state.files[name]
    unwritten = data is None and name.endswith("json")
    with heard() as said:
        try:
            found, tensors = reading._newest(state.run)
        except SegzooError as error:
            if not alone or not changed:
                return f"refused: {error.message}"
            named = str(state.run if unwritten else place / name) in error.message
            return "refused and named" if named else f"not named: {error.message}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    if alone and changed:
        return "not noticed"
    other = slot == state.newest and changed  # Which is the older one's turn.
    own = slot == state.older and alone
    wanted = min(state.saved) if other or own else max(state.saved)
    if found.generation != wanted:
        return f"generation {found.generation} is read, not {wanted}"
    if summary(found, tensors) != state.saved[wanted]:
        return f"generation {wanted} comes out otherwise than it was written"
    if not changed:
        return f"said of an undamaged state: {said[0]}" if said else "undamaged"
    if any(str(place / name) in line for line in said):
        return "named, and the other taken"
    return "as if not yet written" if unwritten else "not named"


def put(place: Path, files: Mapping[str, bytes | None], only: str) -> None:
    """Let a state's folder hold these files, or those of one generation and temporary ones."""
    shutil.rmtree(place)
    place.mkdir()
    for name, content in files.items():
        if content is not None and (not only or Path(name).stem in (only, ".tmp")):
            (place / name).write_bytes(content)
