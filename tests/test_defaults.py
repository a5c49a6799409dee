"""What a run takes unless it is told otherwise."""

import tomllib
from typing import Any

import pytest

from segzoo import get_registry
from segzoo.errors import SegzooError
from segzoo.losses.weighted import make_loss
from segzoo.train.config import RunConfig, make_config, recipe_names, with_typed_options
from segzoo.train.fit import fit


def test_the_defaults_are_not_made_ambiguous_by_another_package(install):
    source = (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='linknet', summary='s', build='acme.net:build')]\n"
        "from segzoo import LossSpec\n"
        "def segzoo_losses():\n"
        "    return [LossSpec(name=name, summary='s', build='acme.net:build')\n"
        "            for name in ('ce', 'dice')]\n"
    )
    install("acme", source)
    for recipe in recipe_names():
        flags = {"model": "segzoo-unet/unet", "data": "folder"}
        config = with_typed_options(make_config(flags, recipe=recipe))
        make_loss(config.loss, classes=("a", "b"), ignore_index=None, target="labels")
    with pytest.raises(SegzooError, match="2 plugins: `acme/dice` and `segzoo/dice`"):
        make_loss("dice", classes=("a", "b"), ignore_index=None, target="labels")


def test_a_recipe_gives_options_to_the_data_sets_it_names(hk_root, folder_root, tmp_path):
    def threshold(**flags):
        config = with_typed_options(make_config({"model": "unet", **flags}, recipe="tutorial"))
        return config.data_options

    assert threshold(data="hk") == {"threshold": 0}
    assert threshold(data="segzoo-portraits/portraits") == {"threshold": 0}
    assert threshold(data="hk", data_options={"threshold": "9"}) == {"threshold": 9}
    assert threshold(data="folder") == {}
    assert with_typed_options(make_config({"model": "unet", "data": "hk"})).data_options == {}
    fit(
        model="linknet", model_options={"width": 4}, data="hk", root=hk_root, recipe="tutorial",
        size=32, epochs=1, out=tmp_path / "run", progress=False, workers=0,
    )  # fmt: skip
    saved = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert saved["data_options"] == {"threshold": 0}
    assert make_config(saved).data_options == {"threshold": 0}


def test_every_setting_of_a_recipe_is_in_the_config():
    for recipe in recipe_names():
        config = make_config({}, recipe=recipe)
        assert config.recipe == recipe
        assert config.tolerance == (0 if recipe == "tutorial" else 2)


def test_what_is_trained_on_what_is_asked_for_on_every_route(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "half.toml"
    file.write_text('data = "folder"\nsample = true\n')
    routes: list[tuple[dict[str, Any], str]] = [
        ({"model": "unet", "epochs": 1}, "--data is missing"),
        ({"config": RunConfig(model="unet", sample=True)}, "--data is missing"),
        ({"file": file, "epochs": 1}, "--model is missing"),
        ({"model": "unet", "recipe": "fast"}, "--data is missing"),
        ({}, "--model and --data are missing"),
    ]
    for given, missing in routes:
        with pytest.raises(SegzooError, match=missing):
            fit(**given)
    assert [path.name for path in tmp_path.iterdir()] == ["half.toml"]
    config = with_typed_options(make_config({"model": "unet"}, file=file))
    assert (config.model, config.data) == ("unet", "folder")


def test_the_data_sets_that_anybody_has_come_first_each_with_its_summary():
    with pytest.raises(SegzooError) as caught:
        fit(model="unet")
    lines = caught.value.hint.splitlines()
    assert lines[0].startswith("--data folder --root DIR  your own images and masks")
    assert lines[1].startswith("--data portraits          generated portraits")
    assert {line.split()[1] for line in lines} == {
        entry.spec.name for entry in get_registry().all("datasets")
    }
