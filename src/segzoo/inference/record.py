"""What `segzoo predict` has written, so that it replaces nothing else and segments none of it.

Each output folder has a small hidden one, ``.segzoo-predict``, in which every process has a file of
JSON lines, only ever added to: a line for a command, and a line for each file that it wrote, with
the picture it was made of, its size, its time and a digest. A line is written before its file takes
its name, so that what a killed run wrote is known too. Files that a user changed since are known by
size and digest, and so are not the command's any more.
"""

import dataclasses
import errno
import hashlib
import json
import os
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segzoo.host import system
from segzoo.host.regular import irregular, refuse_irregular
from segzoo.inference.settings import Inference
from segzoo.store import make_folder, writing

FOLDER = ".segzoo-predict"
BLOCK = 1 << 20
CHANGES_NO_PIXEL = {"batch_size"}
"""Fields of `Inference` that change no file, but for rounding."""


@dataclass(frozen=True)
class Command:
    """What a file was written by: the weights, and the settings that decide what is in it."""

    weights: str
    identity: str

    @staticmethod
    def of(weights: Path, how: Inference, background: str | None) -> "Command":
        """Return the command of a weights file, known by its content, and its settings."""
        settings = dataclasses.asdict(how)
        told = {name: settings[name] for name in sorted(settings.keys() - CHANGES_NO_PIXEL)}
        text = json.dumps([digest_of(weights), told, background])
        identity = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return Command(str(weights.absolute()), identity)


@dataclass(frozen=True)
class Written:
    """A file as it was written."""

    picture: str
    command: Command
    size: int
    time: int
    digest: str

    def is_now(self, path: Path) -> bool:
        """Whether a file is as it was written; it is read only where its time differs."""
        stat = path.stat()
        if stat.st_size != self.size:
            return False
        return stat.st_mtime_ns == self.time or digest_of(path) == self.digest


class Record:
    """What was written below a folder: by a file's relative name, the newest last."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder, self.rank = folder, rank
        self._lock = threading.Lock()
        self._noted: set[str] = set()
        self._begun = False
        self.read()

    def read(self) -> None:
        """Read the lines of all processes; what is no whole line says nothing."""
        self.files: dict[str, list[Written]] = {}
        for path in sorted(self.folder.glob(f"{FOLDER}/*.jsonl")):
            commands: dict[str, Command] = {}
            for line in _lines(path):
                _take(line, commands, self.files)

    def of(self, path: Path) -> list[Written]:
        """Return what was written by the name of a file below the folder."""
        return self.files.get(_key(path.relative_to(self.folder)), [])

    def note(self, target: Path, temporary: Path, picture: Path, command: Command) -> None:
        """Say that a file is about to take the name `target`."""
        stat = temporary.stat()
        known = Written(
            str(picture.absolute()),
            command,
            stat.st_size,
            stat.st_mtime_ns,
            digest_of(temporary),
        )
        line = {
            "file": _key(target.relative_to(self.folder)),
            "picture": known.picture,
            "command": command.identity,
            "size": known.size,
            "time": known.time,
            "digest": known.digest,
        }
        with self._lock:
            if command.identity not in self._noted:
                self._append({"command": command.identity, "weights": command.weights})
                self._noted.add(command.identity)
            self._append(line)

    def _append(self, value: dict[str, Any]) -> None:
        path = self.folder / FOLDER / f"{self.rank}.jsonl"
        refuse_irregular(path, "a record of what was written")
        with writing(path):
            make_folder(path.parent)
            # What a killed process, or a full disk, left of a line ends here.
            start = b"" if self._begun or not path.exists() else b"\n"
            line = start + json.dumps(value).encode() + b"\n"
            self._begun = False
            if system.append(path, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._begun = True


class Records:
    """The records of all folders on the way to some files."""

    def __init__(self) -> None:
        self._by_folder: dict[Path, list[Record]] = {}

    def know(self, path: Path) -> bool:
        """Whether `segzoo predict` has written a file by this name."""
        folder = path.parent.resolve()
        file = folder / path.name
        return any(record.of(file) for record in self._above(folder))

    def _above(self, folder: Path) -> list[Record]:
        if folder not in self._by_folder:
            above = [] if folder.parent == folder else self._above(folder.parent)
            own = [Record(folder)] if (folder / FOLDER).is_dir() else []
            self._by_folder[folder] = above + own
        return self._by_folder[folder]


def digest_of(path: Path) -> str:
    """Return a digest of a file's content."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _key(relative: Path) -> str:
    """Return the name that a file has in a record: file systems may compose letters otherwise."""
    return unicodedata.normalize("NFC", relative.as_posix())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if irregular(path):
        return
    try:
        text = system.read(path, Path.read_bytes)
    except OSError:
        return
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def _take(
    line: dict[str, Any], commands: dict[str, Command], files: dict[str, list[Written]]
) -> None:
    identity = str(line.get("command"))
    if "file" not in line:
        commands[identity] = Command(str(line.get("weights")), identity)
        return
    command = commands.get(identity, Command("weights that are not known", identity))
    try:
        size, time = int(line["size"]), int(line["time"])
        written = Written(str(line["picture"]), command, size, time, str(line["digest"]))
    except (KeyError, TypeError, ValueError):
        return
    files.setdefault(str(line["file"]), []).append(written)
