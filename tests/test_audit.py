"""The locked versions, and what `make audit` says of them."""

import re
import subprocess
import tomllib
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path

import audit
import pytest

ROOT = Path(__file__).parents[1]


def pinned(text):
    return {
        audit.canonical(name): version
        for name, version in re.findall(r"^([\w.\[\]-]+)==([^\s\\]+)", text, re.MULTILINE)
    }


def test_the_lock_has_the_versions_of_the_constraints():
    lock = (ROOT / "requirements.lock").read_text()
    constraints = pinned((ROOT / "constraints.txt").read_text())
    assert len(constraints) > 100
    assert pinned(lock) == constraints


def test_the_lock_has_names_versions_and_hashes_and_nothing_else():
    """No index and no path: it is for any machine."""
    lock = (ROOT / "requirements.lock").read_text()
    line = re.compile(r"[\w.\[\]-]+==[\w.!+-]+ \\|    --hash=sha256:[0-9a-f]{64}(?: \\)?")
    assert [one for one in lock.splitlines() if not line.fullmatch(one)] == []
    for package in re.split(r"^(?=\S)", lock, flags=re.MULTILINE)[1:]:
        assert "--hash=" in package, package


def test_the_audit_is_no_part_of_the_development_tools():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tools = {re.split(r"[>=<]", one)[0] for one in extras["audit"]}
    assert tools == {"cyclonedx-bom", "pip-audit", "uv"}
    assert not tools & {re.split(r"[>=<\[]", one)[0] for one in extras["dev"]}
    assert tools <= pinned((ROOT / "constraints.txt").read_text()).keys()


class Package(Distribution):
    def __init__(self, name, **fields):
        self._metadata = Message()
        self._metadata["Name"], self._metadata["Version"] = name, "1"
        for field, value in fields.items():
            self._metadata[field.replace("_", "-")] = value

    @property
    def metadata(self):
        return self._metadata

    def read_text(self, filename):
        return None

    def locate_file(self, path):
        return Path(path)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a", {"License_Expression": "MIT"}),
        ("a", {"License_Expression": "GPL-3.0-only OR (MIT AND BSD-2-Clause)"}),
        ("a", {"License_Expression": "Apache-2.0 WITH LLVM-exception AND Zlib"}),
        ("a", {"Classifier": "License :: OSI Approved :: BSD License"}),
        ("a", {"License": "Apache License, Version 2.0"}),
        ("nvidia-nvtx", {"License_Expression": "LicenseRef-NVIDIA-Proprietary"}),
        ("cuda-toolkit", {}),
    ],
)
def test_licences_that_are_accepted(name, fields):
    assert audit.licences([Package(name, **fields)]) == []


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("a", {"License_Expression": "GPL-3.0-only"}),
        ("a", {"License_Expression": "MIT AND AGPL-3.0-or-later"}),
        ("a", {"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"}),
        ("a", {"License": "Free for non-commercial use"}),
        ("a", {"License": "UNKNOWN"}),
        ("a", {}),
        ("not-nvidia", {"License_Expression": "LicenseRef-NVIDIA-Proprietary"}),
    ],
)
def test_licences_that_are_not_accepted_are_named(name, fields):
    (fault,) = audit.licences([Package(name, **fields)])
    assert fault.startswith(f"{name} 1: licence ")


def test_what_is_locked_and_installed_here_is_accepted():
    locked = pinned((ROOT / "requirements.lock").read_text())
    named = [(audit.canonical(one.metadata["Name"]), one) for one in audit.distributions()]
    installed = [one for name, one in named if name in locked]
    assert len(installed) > 50
    assert audit.licences(installed) == []


def answering(monkeypatch, code, stdout="", stderr=""):
    done = subprocess.CompletedProcess([], code, stdout, stderr)
    monkeypatch.setattr(audit, "tool", lambda *_: done)


def test_without_a_network_vulnerabilities_are_said_not_to_be_looked_up(monkeypatch, capsys):
    answering(monkeypatch, 1, stderr="Traceback ...\nConnectionError: no route to host\n")
    assert audit.vulnerabilities() == []
    said = capsys.readouterr().out
    assert "NOT looked up" in said
    assert "no route to host" in said


def test_known_vulnerabilities_are_faults(monkeypatch):
    vulns = '[{"id": "PYSEC-1", "fix_versions": ["1.1"]}]'
    answering(
        monkeypatch, 1,
        f'{{"dependencies": [{{"name": "a", "version": "1", "vulns": {vulns}}},'
        '{"name": "b", "version": "2", "vulns": []}]}',
    )  # fmt: skip
    assert audit.vulnerabilities() == ["a 1 has PYSEC-1, mended in 1.1"]


def test_an_sbom_that_is_not_made_is_a_fault(monkeypatch):
    answering(monkeypatch, 2, stderr="invalid requirements\n")
    assert audit.sbom() == ["no SBOM: invalid requirements"]


def test_packages_that_the_registry_says_nothing_about_are_not_counted(monkeypatch, capsys):
    reason = '"skip_reason": "b is not found and could not be audited"'
    known = '{"name": "a", "version": "1", "vulns": []}'
    answering(monkeypatch, 0, f'{{"dependencies": [{known}, {{"name": "b", {reason}}}]}}')
    assert audit.vulnerabilities() == []
    said = capsys.readouterr().out
    assert "0 known, 1 packages looked up" in said
    assert "1 packages NOT looked up: b is not found" in said
