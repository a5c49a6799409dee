import json
import subprocess
import sys

import pytest
from helpers import run_here, run_segzoo
from PIL import Image
from typer.testing import CliRunner

import segzoo
from segzoo.cli import make_app

HEAVY = (
    *("torch", "torchvision", "timm", "numpy", "matplotlib", "PIL", "scipy", "transformers"),
    "segmentation_models_pytorch",
)


@pytest.mark.parametrize(
    "words",
    [["list"], ["--help"], ["show", "unet"], ["plugins"], ["train", "--help"], ["list", "--json"]],
)
def test_listings_import_nothing_heavy(words):
    code = (
        "import sys, contextlib\n"
        f"sys.argv = ['segzoo', *{words!r}]\n"
        "from segzoo.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main()\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("words", [["list"], ["show", "unet"], ["plugins", "--json"]])
def test_listings_are_spared_what_typer_coerces_with(words):
    code = (
        "import sys, contextlib\n"
        f"sys.argv = ['segzoo', *{words!r}]\n"
        "from segzoo.cli import main\n"
        "with contextlib.suppress(SystemExit):\n    main()\n"
        "print('PYDANTIC', 'pydantic' in sys.modules, 'segzoo.train.config' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "PYDANTIC False False" in result.stdout, result.stdout + result.stderr


def test_list_names_everything():
    text = run_here("list").stdout
    for name in (
        "unet",
        "linknet",
        "fcn8s",
        "hk",
        "portraits",
        "folder",
        "ce",
        "dice",
        "confusion",
    ):
        assert f" {name} " in text
    listed = json.loads(run_here("list", "models", "--json").stdout)
    names = {model["name"] for model in listed["models"]}
    assert {"unet", "linknet", "fcn32s", "fcn16s", "fcn8s"} <= names
    everything = json.loads(run_here("list", "--json").stdout)
    parts = [part for kind in everything.values() for part in kind]
    assert len(everything["models"]) >= 30
    assert len(everything["datasets"]) >= 8
    assert len({part["identity"].partition("/")[0] for part in parts}) >= 10
    assert "did you mean `models`" in run_here("list", "model").stderr


def test_show_prints_the_options():
    text = run_here("show", "unet").stdout
    for word in ("width", "max|avg|conv", "1505.04597", "segzoo-unet/unet", "-o NAME=VALUE"):
        assert word in text
    shown = json.loads(run_here("show", "hk", "--json").stdout)
    assert shown["target"] == ["labels", "alpha"]
    assert {o["name"] for o in shown["options"]} == {"matte", "threshold", "val"}
    assert "exceptions   missing: an empty root is filled" in run_here("show", "portraits").stdout
    wrong = run_here("show", "unett")
    assert wrong.returncode == 2
    assert "did you mean `unet`" in wrong.stderr


def test_plugins_says_who_provides_what():
    records = json.loads(run_here("plugins", "--json").stdout)
    by_name = {record["identity"]: record for record in records}
    assert by_name["segzoo-hk/hk"]["provides"] == {"datasets": ["hk"]}
    assert all(record["status"] == "ok" for record in records)


def test_train_evaluate_predict_inspect_compare(tmp_path, hk_root, photo):
    run = tmp_path / "run"
    train = run_segzoo(
        "train", "--model", "linknet", "--data", "hk", "--root", str(hk_root), "-o", "width=4",
        "-O", "threshold=99", "--size", "64", "--epochs", "1", "--out", str(run), "--workers", "0",
    )  # fmt: skip
    assert train.returncode == 0, train.stderr
    assert "epoch   1/1" in train.stdout
    assert f"weights: {run / 'best.safetensors'}" in train.stdout
    weights = str(run / "best.safetensors")
    scored = run_here("evaluate", weights, "--root", str(hk_root), "--json")
    assert json.loads(scored.stdout)["pictures"] == 4
    assert "mean_iou" in run_here("evaluate", weights, "--root", str(hk_root)).stdout
    predicted = run_here("predict", weights, str(photo), "-o", str(tmp_path / "out"), "--json")
    files = json.loads(predicted.stdout)[0]
    with Image.open(files["mask"]) as mask:
        assert mask.size == (101, 75)
    assert json.loads(run_here("inspect", weights, "--json").stdout)["threshold"] == 99
    assert "segzoo-linknet/linknet" in run_here("inspect", weights).stdout
    more = run_here("train", "--resume", str(run), "--epochs", "2", "--json")
    assert json.loads(more.stdout)["epochs"] == 2
    assert "epoch   2/2" in more.stderr
    compared = run_here("compare", str(run), str(run), "--json")
    assert [record["epochs"] for record in json.loads(compared.stdout)] == [2, 2]
    assert "images/s" in run_here("compare", str(run)).stdout


def test_python_m_segzoo_and_the_script_agree():
    script = subprocess.run(
        [f"{sys.prefix}/bin/segzoo", "list", "--json"], capture_output=True, text=True
    )
    assert script.stdout == run_segzoo("list", "--json").stdout


ERRORS = {
    "no root": (
        ["train", "--model", "unet", "--data", "hk"],
        ["--root (not given)", "SEGZOO_DATA/hk", "data/hk", "http", "--sample"],
    ),
    "empty root": (
        ["train", "--model", "unet", "--data", "hk", "--root", "{tmp}"],
        ["no `hk` data set in", "is empty"],
    ),
    "wrong root": (
        ["train", "--model", "unet", "--data", "hk", "--root", "{tmp}/gone"],
        ["no such folder"],
    ),
    "no data": (
        ["train", "--model", "unet"],
        ["--data is missing", "--data folder --root DIR", "--data portraits", "needs no download"],
    ),
    "no model": (["train", "--data", "folder"], ["--model is missing", "linknet", "unet"]),
    "no model and no data": (["train", "--sample"], ["--model and --data are missing", "camvid"]),
    "folder for a data set": (
        ["data", "check", "{tmp}"],
        ["unknown data set", "is a folder", "`folder` with --root"],
    ),
    "unknown model": (
        ["train", "--model", "unett"],
        ["unknown model `unett`", "did you mean `unet`"],
    ),
    "unknown option": (["train", "--model", "unet", "-o", "wdth=3"], ["no option `wdth`", "width"]),
    "malformed option": (["train", "-o", "width"], ["-o width", "NAME=VALUE"]),
    "bad number": (
        ["train", "--epochs", "many"],
        ["--epochs takes a whole number from 1 to", "'many'"],
    ),
    "weights": (["inspect", "{tmp}/none.safetensors"], ["none.safetensors: no such file"]),
    "no run": (["compare", "{tmp}"], ["is not a finished run", "--resume"]),
    "resume": (["train", "--resume", "{tmp}"], ["is not a run folder"]),
    "resume other": (["train", "--resume", "{tmp}", "--recipe", "tutorial"], ["own settings"]),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_short_named_and_without_a_traceback(case, tmp_path, monkeypatch):
    words, expected = ERRORS[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))
    result = run_here(*(word.replace("{tmp}", str(tmp_path / "empty")) for word in words))
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    for text in expected:
        assert text in result.stderr


def test_the_error_without_a_root_names_all_four_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGZOO_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    told = run_here("train", "--model", "unet", "--data", "hk").stderr
    for place in ("--root", str(tmp_path / "sets" / "hk"), "data/hk", str(tmp_path / "home")):
        assert place in told


def test_the_root_is_found_in_each_place_and_inside_a_folder(tmp_path, hk_root, monkeypatch):
    from segzoo_hk.dataset import build_hk
    from segzoo_hk.plugin import HKOptions

    def found(root=None):
        return len(build_hk(root=root, split="test", options=HKOptions()))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert found(hk_root) == found(hk_root.parent) == 4
    nested = tmp_path / "data" / "hk" / "HKdataset" / "HKdataset"
    nested.parent.mkdir(parents=True)
    hk_root.rename(nested)
    assert found() == 4
    (tmp_path / "data").rename(tmp_path / "sets")
    monkeypatch.setenv("SEGZOO_DATA", str(tmp_path / "sets"))
    assert found() == 4
    monkeypatch.delenv("SEGZOO_DATA")
    (tmp_path / "home" / "segzoo").mkdir(parents=True)
    (tmp_path / "sets" / "hk").rename(tmp_path / "home" / "segzoo" / "hk")
    assert found() == 4


def test_the_version_is_told_whatever_state_plugins_are_in(install):
    install("acme", "import nothing_of_this_name\n")
    expected = f"segzoo {segzoo.__version__}\n"
    assert run_here("--version").stdout == expected
    assert CliRunner().invoke(make_app(), ["--version"]).output == expected


def test_arguments_are_called_in_capitals_in_usage_and_errors():
    told = run_here("predict").stderr
    assert "predict [OPTIONS] WEIGHTS PICTURES...\n" in told
    assert "Missing argument 'WEIGHTS'" in told
    assert "check [OPTIONS] NAME\n" in run_here("data", "check", "--size", "x").stderr
