"""What a run takes unless it is told otherwise."""

import tomllib

import pytest

from segzoo.config import make_config, recipe_names, with_typed_options
from segzoo.errors import SegzooError
from segzoo.losses import make_loss
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
        config = with_typed_options(make_config({}, recipe=recipe))
        make_loss(config.loss, classes=("a", "b"), ignore_index=None, target="labels")
    with pytest.raises(SegzooError, match="2 plugins: `acme/dice` and `segzoo/dice`"):
        make_loss("dice", classes=("a", "b"), ignore_index=None, target="labels")


def test_a_recipe_gives_options_to_the_data_sets_it_names(hk_root, folder_root, tmp_path):
    def threshold(**flags):
        config = with_typed_options(make_config(flags, recipe="tutorial"))
        return config.data_options

    assert threshold(data="hk") == {"threshold": 0}
    assert threshold(data="segzoo-portraits/portraits") == {"threshold": 0}
    assert threshold(data="hk", data_options={"threshold": "9"}) == {"threshold": 9}
    assert threshold(data="folder") == {}
    assert with_typed_options(make_config({"data": "hk"})).data_options == {}
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
