"""Fixtures shared by all tests: tiny data sets, throw-away plugins, a cache of their own."""

import contextlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from segzoo.data.standin import figure, shapes
from segzoo.plugins.manager import get_manager

_render = Figure.savefig


def pytest_configure() -> None:
    """Hear the signals that a shell has its background jobs ignore, as do their children then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            with contextlib.suppress(ValueError):  # in another than the main thread
                signal.signal(number, signal.SIG_DFL)


LONG = ("test_faults.py", "test_resume.py", "test_ranks.py", "test_scaffold.py")
"""Files of tests that take minutes: begun last, they would keep one process busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files begin first; processes of pytest-xdist take files in this order."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is not UTF-8 in a report: pytest-xdist cannot send it, and gives up."""
    report = yield
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    if report.longrepr is not None and _sendable(text := str(report.longrepr)) != text:
        report.longrepr = _sendable(text)
    return report


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.fixture(autouse=True)
def kept_logging() -> Iterator[None]:
    """Put back how segzoo logs, which a command in the tests' own process changes."""
    log = logging.getLogger("segzoo")
    handlers, propagate, level = log.handlers[:], log.propagate, log.level
    yield
    log.handlers[:], log.propagate, log.level = handlers, propagate, level


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep generated data out of the user's cache, and the environment out of the tests."""
    before = dict(os.environ)
    os.environ["SEGZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    for name in ("SEGZOO_DATA", "SEGZOO_DISABLE", "SEGZOO_NO_PLUGINS", "SEGZOO_STRICT"):
        os.environ.pop(name, None)
    get_manager.cache_clear()
    # The networks here are tiny: threads would only wait for each other.
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.clear()
    os.environ.update(before)


def _loaded() -> list[object]:
    """Return what tells a manager of plugins that a test has changed from one as it was loaded."""
    manager = get_manager()
    states = [(p.identity, p.status, p.phase, *p.warnings) for p in manager.plugins]
    return [states, len(manager.get_plugins()), *map(len, manager.registry._entries.values())]


@pytest.fixture(scope="session")
def installed_plugins(own_cache: None) -> list[object]:
    """Load the plugins that are installed; return how their manager looks then."""
    return _loaded()


@pytest.fixture(autouse=True)
def fresh_manager(installed_plugins: list[object]) -> Iterator[None]:
    """Forget plugins that a test loaded; those installed stay, for loading them takes a while."""
    yield
    if get_manager.cache_info().currsize and _loaded() != installed_plugins:
        get_manager.cache_clear()


def _save_unrendered(figure: Figure, path: Path, **how: object) -> None:
    Image.new("RGB", (1, 1)).save(path, "PNG")


@pytest.fixture(scope="session", autouse=True)
def unrendered_figures() -> Iterator[None]:
    """Build the figures of trainings, but save a picture of one pixel in their place.

    Rendering its curves takes half the time of a training as small as these.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _save_unrendered)
        yield


@pytest.fixture
def rendered_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render figures, for tests that look at them."""
    monkeypatch.setattr(Figure, "savefig", _render)


@pytest.fixture(scope="session")
def drawn_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 10 training and 4 testing pairs in the HK layout; not to be changed."""
    root = tmp_path_factory.mktemp("drawn") / "HK"
    for split, indices in (("training", range(10)), ("testing", range(10, 14))):
        (root / split).mkdir(parents=True)
        for index in indices:
            image, matte = figure(index)
            image.save(root / split / f"{index:05d}.png")
            matte.save(root / split / f"{index:05d}_matte.png")
    return root


@pytest.fixture
def hk_root(drawn_pairs: Path, tmp_path: Path) -> Path:
    """Give a test its own copy of 10 training and 4 testing pairs in the HK layout."""
    return shutil.copytree(drawn_pairs, tmp_path / "HK", copy_function=shutil.copyfile)


@pytest.fixture
def folder_root(tmp_path: Path) -> Path:
    """Write 8 pairs of shapes as images/ and masks/."""
    root = tmp_path / "shapes"
    for index in range(8):
        image, labels = shapes(index)
        for kind in ("images", "masks"):
            (root / kind).mkdir(parents=True, exist_ok=True)
        image.save(root / "images" / f"{index}.jpg", quality=95)
        labels.save(root / "masks" / f"{index}.png")
    return root


@pytest.fixture
def split_root(tmp_path: Path) -> Path:
    """Write 4 training and 2 validation pairs of shapes."""
    for split, indices in (("train", range(4)), ("val", range(4, 6))):
        for kind in ("images", "masks"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
        for index in indices:
            image, labels = shapes(index)
            image.save(tmp_path / "data" / "images" / split / f"{index}.png")
            labels.save(tmp_path / "data" / "masks" / split / f"{index}.png")
    return tmp_path / "data"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write a photograph of an odd size."""
    path = tmp_path / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 255, (75, 101, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    return path


InstallPlugin = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallPlugin:
    """Install a throw-away plugin package the way pip lays one out; returns its folder.

    Child processes find it too, by PYTHONPATH.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install_one(
        distribution: str,
        source: str,
        *,
        name: str | None = None,
        group: str = "segzoo.v1",
        version: str = "1.0",
        files: dict[str, str] | None = None,
    ) -> Path:
        module = distribution.replace("-", "_")
        package = site / module
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(source)
        for file, text in (files or {}).items():
            (package / file).write_text(text)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        entry = f"[{group}]\n{name or distribution} = {module}.plugin\n"
        (info / "entry_points.txt").write_text(entry)
        get_manager.cache_clear()
        for loaded in [m for m in sys.modules if m == module or m.startswith(f"{module}.")]:
            del sys.modules[loaded]
        return package

    return install_one
