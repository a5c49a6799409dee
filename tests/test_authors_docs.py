"""The pages of the hooks: complete, true to the code, and their examples work."""

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from doc_blocks import (
    DOCS,
    HOOK_PAGES,
    ROOT,
    files_of,
    generator,
    install_page,
    load,
    run_tests,
    section_of,
)

import segzoo
from segzoo.plugins import hookspecs
from segzoo.plugins.signatures import HOOKS
from segzoo.train.run import Run, RunResult

OBSERVERS = [name for name in HOOKS if name not in hookspecs.DISCOVERY_HOOKS]


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of a table's rows by the name in the first one."""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"\| `(\w+)` \| (.*) \|", line):
            found[match[1]] = re.split(r" (?<!\\)\| ", match[2])
    return found


def test_every_hook_has_a_page_and_no_other():
    assert set(HOOK_PAGES) == set(HOOKS)
    for name, text in HOOK_PAGES.items():
        signature = inspect.signature(getattr(hookspecs, name))
        assert text.startswith(f"# `{name}({', '.join(signature.parameters)})`\n")


@pytest.mark.parametrize("hook", hookspecs.DISCOVERY_HOOKS)
def test_a_page_explains_every_field_of_its_spec_and_no_other(hook):
    spec = hookspecs.DISCOVERY_HOOKS[hook]
    written = rows(section_of(HOOK_PAGES[hook], f"Fields of `{spec.__name__}`"))
    assert list(written) == [field.name for field in dataclasses.fields(spec)]
    for field in dataclasses.fields(spec):
        kind, default, meaning = written[field.name]
        assert (kind, default) == generator().type_and_default(field), field.name
        assert len(meaning) > 15


@pytest.mark.parametrize("hook", OBSERVERS)
def test_a_page_explains_every_argument_of_its_hook_and_no_other(hook):
    parameters = inspect.signature(getattr(hookspecs, hook)).parameters
    written = rows(section_of(HOOK_PAGES[hook], "Arguments"))
    assert list(written) == list(parameters)
    assert all(len(meaning) > 15 for _, meaning in written.values())


def test_what_is_told_of_a_run_and_its_result_is_there():
    fields = {field.name for field in dataclasses.fields(Run)}
    attributes = rows(section_of(HOOK_PAGES["segzoo_fit_start"], "What a `Run` tells"))
    assert set(attributes) <= fields | {"deployed", "best_path"}
    told = rows(section_of(HOOK_PAGES["segzoo_fit_end"], "What a `RunResult` tells"))
    assert list(told) == [field.name for field in dataclasses.fields(RunResult)]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_a_page_works(hook, install, tmp_path):
    files = files_of(HOOK_PAGES[hook])
    package = install_page(HOOK_PAGES[hook], install)
    distribution = package.name.replace("_", "-")
    plugin = next(p for p in segzoo.get_manager().plugins if p.distribution == distribution)
    assert (plugin.status, plugin.warnings) == ("ok", []), plugin.traceback
    assert plugin.hooks == [hook]
    if hook == "segzoo_encoder_weights":
        pack_weights(files["tools/pack.py"], tmp_path, package / "resnet10t.safetensors")
    (tests,) = (text for path, text in files.items() if path.startswith("tests/"))
    (tmp_path / "tests").mkdir()
    assert run_tests(tests, tmp_path / "tests") > 0


def pack_weights(source: str, folder: Path, target: Path) -> None:
    """Run the page's script on a checkpoint of the network, with a classifier."""
    import timm

    script = folder / "pack.py"
    script.write_text(source, encoding="utf-8")
    checkpoint = folder / "checkpoint.pth"
    torch.save(timm.create_model("resnet10t", num_classes=5).state_dict(), checkpoint)
    load(script).pack(str(checkpoint), str(target))


def test_the_code_of_the_pages_is_formatted_and_clean(tmp_path):
    pages = {**HOOK_PAGES, "first-plugin": (DOCS / "first-plugin.md").read_text(encoding="utf-8")}
    for page, text in pages.items():
        for path, body in files_of(text).items():
            (tmp_path / page / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / page / path).write_text(body, encoding="utf-8")
    # The repository's rules, but for segzoo itself, which is a third party's there.
    own = ["--config", str(ROOT / "pyproject.toml"), "--config", "lint.isort.known-first-party=[]"]
    docstrings_and_names = ["--ignore", "D1,N802"]
    for words in (["check", *docstrings_and_names], ["format", "--diff"]):
        for page in pages:  # ruff tells a package's own imports by the src/ below its folder
            result = subprocess.run(
                [sys.executable, "-m", "ruff", *words, *own, "--no-cache", "."],
                cwd=tmp_path / page, capture_output=True, text=True,
            )  # fmt: skip
            assert result.returncode == 0, f"{page}\n{result.stdout}{result.stderr}"
