"""Headers made by programs that look for faults: atheris and hypothesis."""

import importlib
import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOUND = {"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}


def by_atheris(path: Path, runs: int, failures: list[str]) -> int:
    """Let atheris look for headers that are let through wrongly or crash; return how many it tried.

    0 where it is not installed.
    """
    if not runs or importlib.util.find_spec("atheris") is None:
        return 0
    command = [sys.executable, "-m", "campaign.fuzzing", str(runs), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    if done.returncode:
        failures.append(f"atheris: {done.stderr[-1000:]}")
    return runs


def fuzz(runs: int, path: Path) -> None:
    """Run atheris in this process, which it ends."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports():
        import segzoo.model.tensors  # noqa: F401
    from .headers import opened

    def one(data: bytes) -> None:
        path.write_bytes(len(data).to_bytes(8, "little") + data)
        opened(path, models=False)

    corpus = path.parent / "corpus"
    corpus.mkdir(exist_ok=True)
    (corpus / "sound").write_text(json.dumps(SOUND))
    words = [f"-runs={runs}", "-max_len=400", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={path.parent}/", str(corpus)], one)
    atheris.Fuzz()


def by_hypothesis(
    path: Path, runs: int, seed: int, opened: Callable[..., str], failures: list[str]
) -> int:
    """Open files with headers that hypothesis makes; return how many it tried.

    0 where it is not installed. It makes what is wrong smaller, as long as it stays wrong.
    """
    if not runs or importlib.util.find_spec("hypothesis") is None:
        return 0
    import hypothesis

    checks: Any = hypothesis.HealthCheck

    tried = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=runs, database=None, deadline=None, report_multiple_bugs=False,
        suppress_health_check=list(checks),
    )  # fmt: skip
    @hypothesis.given(_files())
    def one(file: tuple[Any, int]) -> None:
        nonlocal tried
        tried += 1
        header, size = file
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
        opened(path, models=False)

    try:
        one()
    except Exception as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        failures.append(f"hypothesis: {type(error).__name__}: {error} {notes}"[:1000])
    return tried


def _files() -> Any:
    """Return the strategy of (header, bytes of tensors): arbitrary, and nearly sound ones."""
    from hypothesis import strategies as st

    from segzoo.model.tensors import SIZES

    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=20,
    )
    names = st.text(max_size=8) | st.just("__metadata__")
    shapes = st.lists(st.integers(0, 4), max_size=4)
    kinds = st.sampled_from(sorted(SIZES))
    tensor = st.fixed_dictionaries(
        {
            "dtype": kinds | anything,
            "shape": shapes | anything,
            "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2) | anything,
        },
        optional={"more": anything},
    )
    arbitrary = st.tuples(
        st.dictionaries(names, tensor | anything, max_size=4) | anything, st.integers(0, 64)
    )
    tensors = st.dictionaries(names, st.tuples(kinds, shapes), max_size=4)
    texts = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3)
    holes, more = st.sampled_from((0, 0, 0, 1, 4, -4)), st.sampled_from((0, 0, 0, 1))
    return arbitrary | st.builds(_sound, tensors, texts | anything, holes, more)


def _sound(
    tensors: dict[str, tuple[str, list[int]]], metadata: Any, hole: int, more: int
) -> tuple[Any, int]:
    """Lay tensors out one after the other, with a hole (or less than none) before each but the
    first, and `more` bytes after them.
    """
    from segzoo.model.tensors import SIZES

    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, (kind, shape) in tensors.items():
        at = max(0, at + hole) if at else at
        end = at + SIZES[kind] * math.prod(shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, end]}
        at = end
    return header, at + more


if __name__ == "__main__":
    fuzz(int(sys.argv[1]), Path(sys.argv[2]))
