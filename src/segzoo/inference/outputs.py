"""Where `segzoo predict` writes, and what it does not replace."""

import itertools
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segzoo.compute.ranks import asked_for, told
from segzoo.compute.rendezvous import joined
from segzoo.errors import SegzooError
from segzoo.inference.record import Command, Record

ENDINGS = {
    "mask": "_mask.png",
    "overlay": "_overlay.jpg",
    "cutout": "_cutout.png",
    "alpha": "_alpha.png",
    "probability": "_probability.npy",
    "background": "_background.jpg",
}
DEFAULT = Path("runs", "predict")
SHOWN = 3

A_FOLDER = "a folder"
AN_INPUT = "a picture that is to be segmented"
BENEATH = "below a file, or behind a link"
FOREIGN = "not written by segzoo predict"
CHANGED = "changed since segzoo predict wrote it"
ANOTHER_PICTURE = "made of another picture"
ANOTHER_COMMAND = "written with other weights or settings"
NEVER = {A_FOLDER, AN_INPUT, BENEATH}
"""What `--overwrite` does not change."""


@dataclass(frozen=True)
class Job:
    """A picture, and the path of its files without their endings."""

    picture: Path
    target: Path

    def file(self, kind: str) -> Path:
        """Return where a kind of output goes."""
        return self.target.with_name(self.target.name + ENDINGS[kind])


def jobs_for(found: Iterable[tuple[Path, Path]], out: Path) -> list[Job]:
    """Return a job for each (picture, its relative path), keeping a.jpg, a.png and A.png apart.

    Names that differ in the case of letters alone are one on many file systems.
    """
    jobs: list[Job] = []
    taken: set[str] = set()
    for path, relative in found:
        target = out / relative.with_suffix("")
        number = 1
        if _folded(target) in taken:
            target = out / relative.with_name(relative.name.replace(".", "_"))
        while _folded(target) in taken:
            number += 1
            target = target.with_name(f"{relative.stem}-{number}")
        taken.add(_folded(target))
        jobs.append(Job(path, target))
    return jobs


def check_targets(
    jobs: Sequence[Job], kinds: Sequence[str], record: Record, command: Command, overwrite: bool
) -> None:
    """Raise SegzooError where a file is in the way that is not known to be this command's own.

    With `overwrite` only folders and the pictures themselves are.
    """
    found = list(_in_the_way(jobs, kinds, record, command))
    if found:
        # Of several processes another one may have begun to write: it has said so before.
        record.read()
        found = list(_in_the_way(jobs, kinds, record, command))
    if overwrite:
        found = [(why, path) for why, path in found if why in NEVER]
    if not found:
        return
    by_reason: dict[str, list[Path]] = {}
    for why, path in found:
        by_reason.setdefault(why, []).append(path)
    reasons = [f"{why}: {shown(paths)}" for why, paths in by_reason.items()]
    files = "1 file" if len(found) == 1 else f"{len(found)} files"
    hint = "choose another --out"
    if not by_reason.keys() & NEVER:
        hint += ", or replace what is there with --overwrite"
    raise SegzooError(
        f"nothing was written: {files} in {record.folder} would be replaced ({'; '.join(reasons)})",
        hint,
    )


def new_folder() -> Path:
    """Make and return a new folder for predictions, the same one for all processes."""
    if asked_for().count == 1:
        return _numbered()
    with joined() as ranks:
        return Path(told(str(_numbered()) if ranks.first else "")[0])


def _numbered() -> Path:
    for number in itertools.count(1):
        folder = DEFAULT if number == 1 else DEFAULT.with_name(f"{DEFAULT.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise SegzooError(
                f"cannot write {folder}: {error.strerror}", "say where to write by --out"
            ) from error
        return folder
    raise AssertionError


def shown(paths: Sequence[Path | str]) -> str:
    """Return a few paths in words, and whether there are more."""
    return ", ".join(map(str, paths[:SHOWN])) + (", ..." if len(paths) > SHOWN else "")


def _in_the_way(
    jobs: Sequence[Job], kinds: Sequence[str], record: Record, command: Command
) -> Iterator[tuple[str, Path]]:
    """Yield why a file cannot be written, and the file, in the jobs' order."""
    inputs = {os.path.realpath(job.picture) for job in jobs}
    open_folders: dict[Path, bool] = {}
    for job in jobs:
        folder = job.target.parent
        if folder not in open_folders:
            open_folders[folder] = _is_open(folder, record.folder)
        for kind in kinds:
            file = job.file(kind)
            if not open_folders[folder]:
                yield BENEATH, file
            elif os.path.lexists(file) and (why := _reason(file, job, record, command, inputs)):
                yield why, file


def _is_open(folder: Path, out: Path) -> bool:
    """Whether a folder at or below `out` is one, or can be made, and no link leads out of it."""
    for part in (folder, *folder.parents):
        if part == out:
            break
        if part.is_symlink() or (part.exists() and not part.is_dir()):
            return False
    return not out.exists() or out.is_dir()


def _reason(file: Path, job: Job, record: Record, command: Command, inputs: set[str]) -> str:
    if os.path.realpath(file) in inputs:
        return AN_INPUT
    if file.is_symlink():
        return FOREIGN
    if file.is_dir():
        return A_FOLDER
    written = record.of(file)
    if not written:
        return FOREIGN
    same = [known for known in written if known.is_now(file)]
    if not same:
        return CHANGED
    same = [known for known in same if known.picture == str(job.picture.absolute())]
    if not same:
        return ANOTHER_PICTURE
    return "" if any(k.command.identity == command.identity for k in same) else ANOTHER_COMMAND


def _folded(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()
