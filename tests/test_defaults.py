"""What a run takes unless it is told otherwise."""

import pytest

from segzoo.config import make_config, recipe_names, with_typed_options
from segzoo.errors import SegzooError
from segzoo.losses import make_loss


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
