import re
from pathlib import Path

import pytest
from doc_blocks import DOCS, blocks_of, generator

from segzoo import get_registry
from segzoo.cli.plugin import COMMANDS
from segzoo.plugins import hookspecs
from segzoo.plugins.options import option_infos
from segzoo.train.config import RunConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted(DOCS.rglob("*.md"))
LIGHT = (
    *("segzoo-unet/unet", "segzoo-linknet/linknet", "segzoo-smp/smp-unet"),
    "segzoo-transformers/hf-segformer",
)


@pytest.mark.parametrize("file", ["cli.md", "hooks.md"])
def test_generated_pages_are_up_to_date(file):
    assert (DOCS / file).read_text(encoding="utf-8") == generator().PAGES[file](), "run `make docs`"


def test_the_gallery_is_up_to_date_but_for_its_figures():
    page, made = (DOCS / "gallery.md").read_text(encoding="utf-8"), generator()
    known = made.read_measured(page)
    first_party = set(made.FIRST_PARTY.values())
    models = [e.identity for e in get_registry().all("models") if e.distribution in first_party]
    assert set(known) == set(models), "run `make docs`"
    assert made.gallery_page(known) == page, "run `make docs`"


def test_figures_of_the_gallery_are_right():
    made = generator()
    known = made.read_measured((DOCS / "gallery.md").read_text(encoding="utf-8"))
    measured = made.measure(get_registry().get("models", identity) for identity in LIGHT)
    assert measured == {identity: known[identity] for identity in LIGHT}, "run `make docs`"


def test_every_hook_and_every_setting_is_documented():
    hooks = (DOCS / "hooks.md").read_text(encoding="utf-8")
    for name in vars(hookspecs):
        if name.startswith("segzoo_"):
            assert f"`{name}(" in hooks
    cli = (DOCS / "cli.md").read_text(encoding="utf-8")
    for info in option_infos(RunConfig):
        if not info.name.endswith("_options"):
            assert f"--{info.name.replace('_', '-')}" in cli


def test_the_architecture_page_has_a_row_for_every_room_and_names_what_there_is():
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src"
    rooms = {path.parent.relative_to(source).as_posix() for path in source.rglob("__init__.py")}
    listed = set(re.findall(r"^\| `(segzoo/[\w/]+)/` \|", page, re.MULTILINE))
    assert listed == {room for room in rooms if "/" in room and "templates" not in room}
    named = re.findall(r"`(segzoo/[\w/.]+)`", page)
    assert named
    assert [name for name in named if not (source / name).exists()] == []


def test_every_promise_of_the_reliability_page_names_tests_that_there_are():
    page = (DOCS / "reliability.md").read_text(encoding="utf-8")
    promised = page.split("## What was counted")[0]
    promises = re.findall(r"^(?:- |\| (?!what happens|-)).*(?:\n  .*)*", promised, re.MULTILINE)
    assert len(promises) > 60
    for promise in promises:
        tests = re.findall(r"`(test_\w+)`", promise)
        assert tests, promise
        for test in tests:
            assert (ROOT / "tests" / f"{test}.py").is_file(), test


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_the_readmes_name_every_part_of_the_zoo(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    for name in ("unet", "linknet", "fcn32s", "fcn16s", "fcn8s", "hk", "portraits", "folder"):
        assert f"`{name}`" in text
    assert "@@" not in text
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / link).exists(), link


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_between_pages_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), f"{link}#{anchor}"


@pytest.mark.parametrize("page", ["tutorial.md", "first-plugin.md", "plugins.md"])
def test_commands_in_the_pages_exist(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    shell = "".join(blocks_of(text, "sh")).replace("\\\n", "")
    lines = re.findall(r"^segzoo (\w+)(.*)$", shell, re.MULTILINE)
    assert lines
    cli = (DOCS / "cli.md").read_text(encoding="utf-8")
    for command, rest in lines:
        assert command in COMMANDS
        known = cli.partition(f"## segzoo {command}\n")[2].partition("\n## ")[0]
        for flag in re.findall(r" (-\w|--[\w-]+)\b", rest):
            assert re.search(rf" {flag}[ ,]", known), f"segzoo {command} {flag}"
