"""`segzoo check`, `doctor` and `matrix`."""

import json

import pytest
from helpers import run_here

from segzoo.cli.checking import chosen, find_parts
from segzoo.devtools import doctor
from segzoo.devtools.doctor import OK, TROUBLE, WARNING
from segzoo.devtools.matrix import matrix
from segzoo.errors import SegzooError
from segzoo.testing.run import check_part

BAD_LOSS = """
from segzoo import LossSpec
def segzoo_losses():
    return [
        LossSpec(name="ones", summary="s", build="acme.loss:build"),
        LossSpec(name="known", summary="s", build="acme.loss:build", exceptions={
            name: "it is constant" for name in
            ("scalar", "extremes", "minimal", "improves", "gradient", "ignored", "unlabelled")
        }),
    ]
"""
ONES = """
import torch
def build(*, classes, ignore_index, options):
    return lambda logits, target: torch.ones(())
"""


def test_check_prints_a_row_a_part_and_what_failed(install):
    install("acme", BAD_LOSS, files={"loss.py": ONES})
    result = run_here("check", "acme/ones")
    assert result.returncode == 1
    assert "failed: scalar: loss `acme/ones` has no gradient for labels." in result.stdout
    assert "To mend it: keep to differentiable operations." in result.stdout
    records = json.loads(run_here("check", "acme", "--json").stdout)
    failed = {record["check"] for record in records if record["outcome"] == "failed"}
    assert {"scalar", "improves", "unlabelled"} <= failed
    assert {record["part"] for record in records} == {"acme/ones", "acme/known"}


def test_check_prints_declared_exceptions_and_succeeds_with_them():
    result = run_here("check", "segzoo/ce", "--json")
    assert result.returncode == 0
    assert {record["outcome"] for record in json.loads(result.stdout)} == {"passed"}


def test_exceptions_are_told_apart_from_passes(install):
    install("acme", BAD_LOSS, files={"loss.py": ONES})
    (entry,) = find_parts("acme/known")
    outcomes = {outcome.check: outcome for outcome in check_part(entry, {})}
    assert outcomes["gradient"].outcome in ("exception", "failed")
    assert outcomes["scalar"].outcome == "exception"
    assert outcomes["scalar"].text == "declared exception `scalar`: it is constant"
    assert outcomes["light"].outcome == "passed"


def test_check_takes_options_for_the_parts():
    (entry,) = find_parts("segzoo/ce")
    wrong = list(check_part(entry, {"label_smoothing": "2"}))
    assert any("takes a number from 0 to 1" in outcome.text for outcome in wrong)


def test_what_cannot_be_checked_is_said(install):
    with pytest.raises(SegzooError, match=r"is not installed\ndid you mean `segzoo-unet`"):
        find_parts("segzoo-unett")
    install("acme", "import nothing_of_this_name\n")
    with pytest.raises(SegzooError, match=r"acme/acme is broken \(import\)"):
        find_parts("acme")


def test_doctor_finds_no_trouble_here_and_exits_0():
    result = run_here("doctor", "--json")
    findings = json.loads(result.stdout)
    troubles = [f for f in findings if f["state"] == TROUBLE]
    assert (result.returncode, troubles) == (0, [])
    assert {"python", "versions", "plugins", "folders", "imports", "device"} == {
        finding["area"] for finding in findings
    }
    assert any("torch" in f["text"] and "imports in" in f["text"] for f in findings)


def test_doctor_exits_1_on_a_broken_plugin_and_says_what_to_do(install, monkeypatch):
    monkeypatch.setattr(doctor, "_imports_and_device", lambda: iter(()))  # which takes seconds
    install("acme", "import nothing_of_this_name\n")
    result = run_here("doctor")
    assert result.returncode == 1
    assert "acme/acme is broken (import)" in result.stdout
    assert "SEGZOO_DISABLE=acme/acme" in result.stdout
    assert "1 troubles" in result.stdout


def test_doctor_compares_requirements_with_what_is_installed(install):
    package = install("acme", "")
    metadata = package.parent / "acme-1.0.dist-info" / "METADATA"
    wants = "Requires-Dist: torch>=99\nRequires-Dist: no-such-thing\nRequires-Dist: pluggy>=1\n"
    wants += 'Requires-Dist: other; extra == "more"\n'
    metadata.write_text(metadata.read_text() + wants)
    faults = list(doctor.requirement_faults("acme"))
    assert [fault.hint for fault in faults] == [
        'pip install "torch>=99"',
        'pip install "no-such-thing"',
    ]
    assert "nothing is installed" in faults[1].text


def test_doctor_sees_folders_that_cannot_be_written(tmp_path, monkeypatch):
    assert doctor.folder_finding("cache", tmp_path / "a" / "b", needed=True).state == OK
    file = tmp_path / "file"
    file.write_text("")
    bad = doctor.folder_finding("cache", file / "below", needed=True)
    assert (bad.state, bad.hint) == (TROUBLE, "set SEGZOO_CACHE to another folder")
    assert doctor.folder_finding("hub", file, needed=False).state == WARNING
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 1 << 60)
    assert "make room" in doctor.folder_finding("cache", tmp_path, needed=True).hint


def test_doctor_reads_the_imports_and_the_device():
    found = list(
        doctor.import_findings(
            {
                "torch": ("2.6", 1.5, ""),
                "timm": ("", 0.1, "absent"),
                "transformers": ("", 0.0, "absent"),
                "torchvision": ("", 0.2, "RuntimeError: operator torchvision::nms does not exist"),
            }
        )
    )
    assert [(f.state, f.text) for f in found] == [
        (OK, "torch 2.6 imports in 1.5 s"),
        (TROUBLE, "timm cannot be imported: absent"),
        (
            TROUBLE,
            "torchvision cannot be imported: RuntimeError: operator torchvision::nms does not "
            "exist",
        ),
    ]
    assert doctor.device_finding({"error": "boom"}).state == TROUBLE


def test_matrix_says_who_works_with_whom(install):
    install(
        "acme",
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='cold', summary='s', build='acme.net:build', stride=1),\n"
        "            ModelSpec(name='warm', summary='s', build='acme.net:warm', stride=1)]\n",
        files={
            "net.py": "from torch import nn\n"
            "def build(*, in_channels, num_classes, options):\n"
            "    raise ValueError('too cold')\n"
            "def warm(*, in_channels, num_classes, options):\n"
            "    return nn.Conv2d(in_channels, num_classes, 1)\n"
        },
    )
    result = run_here(
        *("matrix", "--model", "warm", "--model", "cold", "--data", "folder", "--data", "hk")
    )
    assert result.returncode == 1
    assert "(1) model `acme/cold` cannot be built: too cold" in result.stdout
    assert "2 of 4 pairs work" in result.stdout
    assert result.stdout.count("fails (1)") == 2


def test_matrix_trains_epochs_when_asked():
    pairings = list(
        matrix(
            chosen("models", ["linknet"]), chosen("datasets", ["folder"]), size=(32, 32), epochs=1
        )
    )
    assert [pairing.works for pairing in pairings] == [True]
    assert pairings[0].loss and 0 < pairings[0].loss < 10


def test_matrix_refuses_unknown_names():
    assert "did you mean `unet`" in run_here("matrix", "--model", "unett").stderr
