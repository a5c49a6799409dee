"""The distribution `segzoo-core` behind the identities `segzoo/...`, and others called `segzoo`."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import run_here

import segzoo
from segzoo import SegzooError
from segzoo.devtools import doctor
from segzoo.devtools.doctor import OK, TROUBLE, WARNING
from segzoo.plugins import packages
from segzoo.plugins.manager import Manager, get_registry

POINTS = "[segzoo.v1]\ncore = segzoo.builtin\n"
Installed = Callable[..., Path]


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Make distributions known one by one; those of the running environment are not seen."""
    site = tmp_path / "only"
    site.mkdir()
    real = importlib.metadata.distributions

    def distribution(name: str) -> importlib.metadata.Distribution:
        for found in real(path=[str(site)]):
            if found.name == name:
                return found
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distributions", lambda: real(path=[str(site)]))
    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)

    def add(name: str, points: str = POINTS, version: str = "1.0", *lines: str) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        fields = [f"Name: {name}", f"Version: {version}", "Summary: something else", *lines]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *fields, ""]))
        (info / "entry_points.txt").write_text(points)
        return info

    return add


def loaded() -> Manager:
    manager = Manager()
    manager.load_installed()
    return manager


def test_the_core_s_parts_are_segzoo_s_whatever_its_distribution_is_called(only):
    only("segzoo-core", version="7.1")
    manager = loaded()
    (core,) = manager.plugins
    assert (core.identity, core.package, core.status) == ("segzoo/core", "segzoo-core", "ok")
    assert core.warnings == []
    assert manager.registry.get("losses", "ce").identity == "segzoo/ce"
    assert manager.registry.get("datasets", "segzoo/folder").version == "7.1"
    assert segzoo.__version__ == packages.core_version() == "7.1"


def test_what_pip_calls_the_core_is_understood_where_identities_are_asked_for():
    registry = get_registry()
    assert registry.get("losses", "segzoo-core/ce") is registry.get("losses", "segzoo/ce")
    with pytest.raises(SegzooError, match=r"unknown loss `segzoo-core/cee`\nthere is: bce"):
        registry.get("losses", "segzoo-core/cee")
    assert run_here("plugins", "--why", "segzoo-core").stdout.startswith("segzoo/core ")
    shown = run_here("show", "segzoo-core/folder", "--json").stdout
    assert json.loads(shown)["package"] == "segzoo-core"


def test_the_core_under_its_former_name_works_and_is_told(only):
    only("segzoo", version="0.1.0")
    manager = loaded()
    (core,) = manager.plugins
    assert (core.identity, core.status) == ("segzoo/core", "ok")
    assert "former name `segzoo`: `pip uninstall segzoo`" in core.warnings[0]
    assert manager.registry.get("losses", "segzoo/ce")
    assert packages.core_version() == "0.1.0"
    assert not [f for f in doctor.name_findings() if f.state == TROUBLE]


def test_both_names_at_once_are_one_core_and_told(only):
    only("segzoo", version="0.1.0")
    only("segzoo-core", version="0.2.0")
    (core,) = loaded().plugins
    assert (core.package, core.version, core.status) == ("segzoo-core", "0.2.0", "ok")
    (warning,) = core.warnings
    assert "former name `segzoo` beside segzoo-core: `pip uninstall segzoo`, then" in warning
    assert "--force-reinstall --no-deps ." in warning


def test_another_project_called_segzoo_is_named(only):
    only("segzoo-core")
    only("segzoo", "[console_scripts]\nsegzoo = segzoo.segzoo:main\n", "2.5")
    assert [plugin.package for plugin in loaded().plugins] == ["segzoo-core"]
    (trouble,) = [f for f in doctor.name_findings() if f.state == TROUBLE]
    assert "`segzoo` 2.5 (something else) is another project" in trouble.text
    assert trouble.hint.startswith("pip uninstall segzoo, then `pip install --force-reinstall")


def test_any_package_that_brings_the_import_package_is_named(only, monkeypatch):
    only("segzoo-core")
    only("zoo-nightly", "", "3")
    owners = {"segzoo": ["segzoo-core", "zoo-nightly"]}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: owners)
    (trouble,) = [f for f in doctor.name_findings() if f.state == TROUBLE]
    assert "`zoo-nightly` 3" in trouble.text


def test_another_project_s_plugins_cannot_pass_for_the_core_s(only):
    only("segzoo", "[segzoo.v1]\nfolder = thief.plugin\n")
    only("segzoo-core")
    core, thief = loaded().plugins
    assert core.identity == "segzoo/core"
    assert (thief.status, thief.phase) == ("broken", "metadata")
    assert "the package `segzoo` is another project" in thief.reason


def test_another_project_alone_is_not_taken_for_the_core(only):
    only("segzoo", "[console_scripts]\nsegzoo = segzoo.segzoo:main\n", "2.5")
    assert packages.core_version() == packages.UNKNOWN_VERSION
    texts = [f.text for f in doctor.name_findings()]
    assert any("another project" in text for text in texts)
    assert any(text.startswith("segzoo-core is not installed") for text in texts)


def test_code_that_is_not_the_installed_one_is_named(only, tmp_path):
    info = only("segzoo-core")
    (finding,) = doctor.name_findings()
    assert finding.state == WARNING
    assert str(Path(segzoo.__file__).parent) in finding.text
    assert str(info.parent / "segzoo") in finding.text
    origin = {"dir_info": {"editable": True}, "url": Path(__file__).parents[1].as_uri()}
    (info / "direct_url.json").write_text(json.dumps(origin))
    assert list(doctor.name_findings()) == []


def test_a_plugin_that_requires_the_former_name_is_not_sent_to_the_index(only):
    only("acme", "", "1", "Requires-Dist: segzoo>=0.1,<1", "Requires-Dist: segzoo-nowhere>=2")
    former, missing = doctor.requirement_faults("acme")
    assert former.state == WARNING
    assert "has to name segzoo-core" in former.hint
    assert missing.hint == 'pip install "segzoo-nowhere>=2"'


def test_requirements_of_this_repository_s_packages_come_from_a_checkout(only):
    only("acme", "", "1", "Requires-Dist: segzoo-core>=99", "Requires-Dist: segzoo-portraits")
    core, portraits = doctor.requirement_faults("acme")
    assert core.hint == "`pip install .` in a checkout of segzoo"
    assert portraits.hint == (
        "`pip install ./plugins/segzoo-hk ./plugins/segzoo-portraits` in a checkout of segzoo"
    )


def test_no_message_advises_to_install_the_other_project():
    root = Path(__file__).parents[1]
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("plugins/*/README.md")]
    advice = [
        f"{path.relative_to(root)}: {line}"
        for path in [*pages, *root.glob("src/**/*.py"), *root.glob("src/**/*.tmpl")]
        if path.name != "CHANGELOG.md"
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pip install segzoo" in line
    ]
    # Said of the other project, or of a package that an author publishes.
    assert {line.partition(":")[0] for line in advice} <= {
        *("README.md", "README.zh.md", "docs/first-plugin.md"),
        "src/segzoo/templates/package/.github/workflows/ci.yml.tmpl",
    }
    assert len(advice) <= 4, advice


def test_every_package_requires_the_core_by_its_name():
    root = Path(__file__).parents[1]
    projects = [*root.glob("*/*/pyproject.toml"), *root.glob("tests/plugins/*/pyproject.toml")]
    assert len(projects) > 25
    for project in projects:
        assert '"segzoo-core>=' in project.read_text(encoding="utf-8"), project


def test_the_running_installation_has_no_trouble_with_its_name():
    assert {finding.state for finding in doctor.name_findings()} <= {OK, WARNING}
