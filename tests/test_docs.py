import importlib.util
import re
from pathlib import Path

import pytest
from helpers import run_segzoo

from segzoo import hookspecs
from segzoo.config import RunConfig
from segzoo.options import option_infos

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", ["cli.md", "hooks.md"])
def test_generated_pages_are_up_to_date(file):
    assert (DOCS / file).read_text(encoding="utf-8") == generator().PAGES[file](), "run `make docs`"


def test_every_hook_and_every_setting_is_documented():
    hooks = (DOCS / "hooks.md").read_text(encoding="utf-8")
    for name in vars(hookspecs):
        if name.startswith("segzoo_"):
            assert f"`{name}(" in hooks
    cli = (DOCS / "cli.md").read_text(encoding="utf-8")
    for info in option_infos(RunConfig):
        if not info.name.endswith("_options"):
            assert f"--{info.name.replace('_', '-')}" in cli


def test_the_architecture_page_lists_every_module_and_no_other():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(segzoo/[\w/]+\.py)`", page))
    there = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert listed == there


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_the_readmes_name_every_part_of_the_zoo(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    for name in ("unet", "linknet", "fcn32s", "fcn16s", "fcn8s", "hk", "portraits", "folder"):
        assert f"`{name}`" in text
    assert "@@" not in text
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link


def test_links_between_pages_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_commands_in_the_tutorial_exist():
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    known = run_segzoo("--help").stdout
    for command in set(re.findall(r"^segzoo (\w+)", text, re.MULTILINE)):
        assert command in known
