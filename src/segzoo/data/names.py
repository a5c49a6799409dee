"""Very many names in little memory."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt


class Names(Sequence[str]):
    """Texts one after another in an array: 8 bytes and the text itself for each.

    A list of str takes some 80 bytes for each, and worker processes that look at it copy it bit by
    bit, because looking at an object counts a reference in it; this they share.
    """

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [_encode(name) for name in names]
        self.text = np.frombuffer(b"".join(encoded), np.uint8)
        self.ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)

    @classmethod
    def of_arrays(cls, text: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> "Names":
        """Take the two arrays as they are."""
        names = cls(())
        names.text, names.ends = text, ends
        return names

    @classmethod
    def joined(cls, several: Sequence["Names"]) -> "Names":
        """Return several one after the other."""
        starts = np.cumsum([0, *(len(names.text) for names in several)])
        return cls.of_arrays(
            np.concatenate([np.empty(0, np.uint8), *(names.text for names in several)]),
            np.concatenate(
                [
                    np.empty(0, np.int64),
                    *(names.ends + start for names, start in zip(several, starts, strict=False)),
                ]
            ),
        )

    def part(self, start: int, stop: int) -> "Names":
        """Return those from `start` to `stop`, without copying the texts."""
        first = int(self.ends[start - 1]) if start else 0
        last = int(self.ends[stop - 1]) if stop else 0
        return self.of_arrays(self.text[first:last], self.ends[start:stop] - first)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"name {index} of {len(self)}")
        index %= len(self)
        start = self.ends[index - 1] if index else 0
        return _decode(self.text[start : self.ends[index]].tobytes())

    def __iter__(self) -> Iterator[str]:
        text, start = self.text.tobytes(), 0
        for end in self.ends.tolist():
            yield _decode(text[start:end])
            start = end

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __add__(self, other: Sequence[str]) -> list[str]:
        return [*self, *other]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Names({self[:3]}{' ...' if len(self) > 3 else ''}, {len(self)} in all)"


def _encode(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _decode(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
