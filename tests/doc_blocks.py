"""The code blocks of the documents: taking them out, installing them, running their tests."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest

import segzoo
from segzoo.testing import Conformance

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HOOK_PAGES = {p.stem: p.read_text(encoding="utf-8") for p in (DOCS / "hooks").glob("*.md")}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def files_of(text: str) -> dict[str, str]:
    """Return path -> text of the blocks whose first line is a comment with a path.

    Blocks of one path are put together in their order.
    """
    files: dict[str, str] = {}
    for _, block in FENCE.findall(text):
        first, _, body = block.partition("\n")
        if match := re.fullmatch(r"# (\w[\w./-]*\.(?:py|toml))", first):
            files[match[1]] = files.get(match[1], "") + body
    return files


def blocks_of(text: str, language: str) -> list[str]:
    """Return the blocks of one language, without the fences."""
    return [block for name, block in FENCE.findall(text) if name == language]


def section_of(text: str, heading: str) -> str:
    """Return what stands below a heading of the second level, up to the next one."""
    _, _, after = text.partition(f"\n## {heading}\n")
    assert after, f"no section `{heading}`"
    return after.partition("\n## ")[0]


def install_page(text: str, install: Callable[..., Path]) -> Path:
    """Install the one package whose blocks a page holds; return the folder of its modules."""
    files = files_of(text)
    paths = [Path(path) for path in files if path.startswith("src/")]
    (module,) = {path.parts[1] for path in paths}
    inside = {path.name: files[path.as_posix()] for path in paths}
    name = module.removeprefix("segzoo_")
    return install(f"segzoo-{name}", inside.pop("plugin.py"), name=name, files=inside)


def run_tests(source: str, folder: Path) -> int:
    """Run the conformance classes and plain functions of a test file; return how many tests.

    Functions may take `tmp_path`. A check that is skipped fails here: the documents declare no
    exceptions. `folder` is an empty one for the file and what the tests write.
    """
    file = folder / "test_page.py"
    file.write_text(source, encoding="utf-8")
    module = load(file)
    count = 0
    for name, value in list(vars(module).items()):
        if not name.lower().startswith("test"):
            continue
        if isinstance(value, type) and issubclass(value, Conformance):
            for check in value.checks():
                try:
                    getattr(value(), check)()
                except SkipTest as reason:
                    raise AssertionError(f"{name}.{check} is skipped: {reason}") from reason
                count += 1
        elif inspect.isfunction(value):
            own = folder / name
            own.mkdir()
            value(*([own] if "tmp_path" in inspect.signature(value).parameters else []))
            count += 1
    return count


def generator() -> Any:
    """Return docs/generate.py as a module."""
    return load(DOCS / "generate.py")


def load(file: Path) -> Any:
    """Import a file by its path, under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"doc_blocks_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def reason_of(distribution: str) -> str:
    """Return ``phase: reason`` of a broken plugin, as `segzoo plugins` prints it."""
    (plugin,) = (p for p in segzoo.get_manager().plugins if p.distribution == distribution)
    assert plugin.status == "broken", plugin.status
    return f"{plugin.phase}: {plugin.reason}"
