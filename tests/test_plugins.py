import functools
import logging
import os
import sys
import warnings
from pathlib import Path

import pytest
from helpers import load_only, run_here

from segzoo.errors import SegzooError
from segzoo.plugins.manager import get_manager, get_registry, signature_fault

GOOD = """
from segzoo import ModelSpec
def segzoo_models():
    return [ModelSpec(name="{name}", summary="a model", build="{module}.net:build", stride=1)]
"""
NET = """
from torch import nn
def build(*, in_channels, num_classes, options):
    return nn.Conv2d(in_channels, num_classes, 1)
"""


def good(name: str, distribution: str) -> str:
    return GOOD.format(name=name, module=distribution.replace("-", "_"))


def plugin_named(identity):
    return next(p for p in get_manager().plugins if p.identity == identity)


def test_a_package_with_an_entry_point_is_found(install):
    install("acme", good("shiny", "acme"), files={"net.py": NET})
    entry = get_registry().get("models", "shiny")
    assert entry.identity == "acme/shiny"
    assert get_registry().get("models", "acme/shiny") is entry
    assert plugin_named("acme/acme").provides == {"models": ["shiny"]}
    assert "acme.net" not in sys.modules


def test_the_core_registers_its_own_parts_through_the_same_hooks():
    core = plugin_named("segzoo/core")
    assert core.provides["datasets"] == ["folder"]
    assert {"segzoo_fit_start", "segzoo_epoch_end", "segzoo_fit_end"} <= set(core.hooks)


BROKEN = {
    "import": ("import nothing_of_this_name\n", "ModuleNotFoundError"),
    "exit": ("import sys; sys.exit(3)\n", "SystemExit"),
    "register": (
        "def segzoo_epoch_end(run, epoch, metrics, colour): pass\n",
        "colour",
    ),
    "register-default": (
        "def segzoo_epoch_end(run, epoch=0): pass\n",
        "segzoo_epoch_end gives `epoch` a default, and would never get another value: write "
        "`segzoo_epoch_end(run, epoch, metrics)`, or fewer of these",
    ),
    "register-keyword": ("def segzoo_fit_start(*, run): pass\n", "takes `run` by keyword only"),
    "register-args": ("def segzoo_fit_start(*given): pass\n", "takes `*given`"),
    "register-kwargs": ("def segzoo_fit_start(**given): pass\n", "takes `**given`"),
    "register-cache": (
        "def segzoo_models(cache={}): return []\n",
        "takes `cache`, which this hook does not have: write `segzoo_models()`",
    ),
    "register-marked": (
        "from segzoo import hookimpl\n"
        "@hookimpl(specname='segzoo_fit_start')\ndef started(run, colour): pass\n",
        "started takes `colour`",
    ),
    "register-async": ("async def segzoo_fit_start(run): pass\n", "`async def`"),
    "register-yield": ("def segzoo_fit_start(run): yield\n", "has a `yield`"),
    "register-value": ("segzoo_models = []\n", "segzoo_models is a list, not a function"),
    "check_pending": ("def segzoo_modles(): return []\n", "segzoo_modles"),
    "collect": ("def segzoo_models(): raise RuntimeError('no luck')\n", "no luck"),
    "collect-exit": ("import sys\ndef segzoo_models(): sys.exit(3)\n", "SystemExit: 3"),
    "collect-mute": (
        "class Mute(Exception):\n    def __str__(self): raise ValueError\n"
        "def segzoo_models(): raise Mute\n",
        "Mute",
    ),
    "collect-type": ("def segzoo_models(): return [3]\n", "not a ModelSpec"),
    "collect-list": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models(): return ModelSpec(name='a', summary='b', build='c:d')\n",
        "must return a list",
    ),
    "validate": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models(): return [ModelSpec(name='Big Name', summary='b', build='c:d')]\n",
        "lower-case",
    ),
    "validate-aliases": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='a', summary='b', build='segzoo.model:x', aliases=None)]\n",
        "aliases must be a tuple of names",
    ),
    "validate-exceptions": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='a', summary='b', build='c:d', exceptions={'export': ''})]\n",
        "exceptions must map checks to reasons",
    ),
    "validate-reference": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models(): return [ModelSpec(name='a', summary='b', build='here.there')]\n",
        "module:attr",
    ),
    "validate-package": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models(): return [ModelSpec(name='a', summary='b', build='no_such_pkg:x')]\n",
        "no_such_pkg",
    ),
    "validate-twice": (
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='a', summary='b', build='segzoo.model.network:x')] * 2\n",
        "declared twice",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_kept_apart_with_its_phase_and_reason(install, case):
    source, reason = BROKEN[case]
    install("segzoo-bad", source)
    install("acme", good("shiny", "acme"), files={"net.py": NET})
    bad = plugin_named("segzoo-bad/segzoo-bad")
    assert bad.status == "broken"
    assert bad.phase == ("import" if case == "exit" else case.split("-")[0])
    assert reason in bad.reason
    assert "\n" not in bad.reason
    assert "Traceback" in bad.traceback
    assert bad.provides == {}
    assert get_registry().get("models", "shiny")
    with pytest.raises(SegzooError, match="segzoo-bad/segzoo-bad is broken"):
        get_registry().get("models", "something")


def test_the_command_line_survives_a_broken_plugin_and_explains_it(install):
    install("segzoo-bad", BROKEN["import"][0])
    listing = run_here("list")
    assert listing.returncode == 0
    assert "linknet" in listing.stdout
    assert "segzoo-bad/segzoo-bad is broken (import)" in listing.stdout
    table = run_here("plugins")
    assert "broken" in table.stdout
    why = run_here("plugins", "--why", "segzoo-bad")
    assert "Traceback" in why.stdout
    assert "nothing_of_this_name" in why.stdout
    asked = run_here("show", "bad-model")
    assert asked.returncode == 2
    assert "segzoo-bad/segzoo-bad is broken" in asked.stderr


def test_strict_makes_a_broken_plugin_an_error(install, monkeypatch):
    install("segzoo-bad", BROKEN["import"][0])
    monkeypatch.setenv("SEGZOO_STRICT", "1")
    result = run_here("list")
    assert result.returncode == 2
    assert "segzoo-bad/segzoo-bad is broken (import)" in result.stderr


def test_another_api_major_is_listed_and_not_imported(install):
    install("segzoo-later", "raise SystemError('imported')\n", group="segzoo.v2")
    later = plugin_named("segzoo-later/segzoo-later")
    assert later.status == "incompatible"
    assert "API 2" in later.reason
    assert "segzoo_later.plugin" not in sys.modules


@pytest.mark.parametrize("name", ["acme", "acme/first", "first"])
def test_disable_leaves_a_plugin_out_without_importing_it(install, monkeypatch, name):
    install("acme", "raise SystemError('imported')\n", name="first")
    monkeypatch.setenv("SEGZOO_DISABLE", f"other, {name}")
    assert plugin_named("acme/first").status == "disabled"
    with pytest.raises(SegzooError, match="acme/first is disabled"):
        get_registry().get("models", "nowhere")


def test_no_plugins_leaves_only_the_core(monkeypatch):
    monkeypatch.setenv("SEGZOO_NO_PLUGINS", "1")
    get_manager.cache_clear()
    assert {p.distribution for p in get_manager().plugins if p.status == "ok"} == {"segzoo"}
    with pytest.raises(SegzooError, match="unknown model `linknet`"):
        get_registry().get("models", "linknet")


def test_two_plugins_with_one_name_are_an_error_that_names_both(install):
    install("acme", good("twin", "acme"), files={"net.py": NET})
    install("bolt", good("twin", "bolt"), files={"net.py": NET})
    with pytest.raises(SegzooError, match=r"2 plugins: `acme/twin` and `bolt/twin`"):
        get_registry().get("models", "twin")
    assert get_registry().get("models", "bolt/twin").distribution == "bolt"
    for identity in ("acme/acme", "bolt/bolt"):
        assert plugin_named(identity).warnings == [
            "model `twin` is another plugin's too: say `acme/twin` or `bolt/twin`"
        ]


def test_two_distributions_may_use_one_entry_point_name(install, tmp_path):
    install("acme", good("first", "acme"), name="same", files={"net.py": NET})
    install("bolt", good("second", "bolt"), name="same", files={"net.py": NET})
    manager = load_only(tmp_path / "site")
    assert [p.identity for p in manager.plugins] == ["acme/same", "bolt/same"]
    assert all(p.status == "ok" for p in manager.plugins)


def test_a_distributions_name_is_normalised(install):
    install("Acme_Nets", good("shiny", "Acme_Nets"), files={"net.py": NET})
    assert get_registry().get("models", "acme-nets/shiny")


def test_hooks_need_no_marker_but_may_have_one(install):
    marked = "from segzoo import hookimpl\n" + good("shiny", "acme").replace(
        "def segzoo_models", "@hookimpl\ndef segzoo_models"
    )
    install("acme", marked, files={"net.py": NET})
    assert get_registry().get("models", "shiny")


def test_an_unknown_name_gets_the_nearest_match_and_the_package():
    with pytest.raises(SegzooError, match="did you mean `linknet`"):
        get_registry().get("models", "linkent")
    with pytest.raises(SegzooError, match="there is: .*unet"):
        get_registry().get("models", "zzz")


def test_a_first_party_model_that_is_not_installed_names_its_package(monkeypatch):
    manager = get_manager()
    monkeypatch.setattr(manager, "plugins", [p for p in manager.plugins if "unet" not in p.name])
    manager.registry._plugins = manager.plugins
    manager.registry._entries["models"].pop("segzoo-unet/unet")
    with pytest.raises(SegzooError, match=r"`pip install \./plugins/segzoo-unet` in a checkout"):
        get_registry().get("models", "unet")


def test_a_missing_reference_names_the_plugin(install):
    install("acme", good("shiny", "acme"))
    entry = get_registry().get("models", "shiny")
    with pytest.raises(
        SegzooError, match=r"model `acme/shiny`: cannot load build='acme.net:build'"
    ):
        entry.resolve()


def test_commands_of_plugins_appear_in_help_and_run(install):
    install(
        "acme",
        "from segzoo import CommandSpec\n"
        "def segzoo_commands():\n"
        "    return [CommandSpec(name='greet', summary='Say hello.', target='acme.greet:greet')]\n",
        files={
            "greet.py": "def greet(name: str, loud: bool = False):\n"
            "    print('hello', name, loud)\n"
        },
    )
    assert "Say hello." in run_here("--help").stdout
    assert run_here("greet", "you", "--loud").stdout == "hello you True\n"
    assert "--loud" in run_here("greet", "--help").stdout


def test_arguments_that_a_hook_does_have_are_no_fault():
    def decorated(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            return function(*args, **kwargs)

        return inner

    @decorated
    def segzoo_epoch_end(metrics, run):
        pass

    assert signature_fault(segzoo_epoch_end) == ""
    assert "write `segzoo_epoch_end(run, epoch, metrics)`" in signature_fault(
        lambda other: None, "segzoo_epoch_end"
    )


def test_ctrl_c_stops_also_while_plugins_are_loaded(install):
    install("acme", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        get_manager()


def test_a_plugin_without_hooks_is_told_so(install):
    install("acme", "from segzoo import ModelSpec\ndef models(): return []\n")
    assert plugin_named("acme/acme").warnings == ["no function in acme.plugin begins with segzoo_"]


def test_one_module_is_one_plugin(install, tmp_path):
    install("acme", "def segzoo_fit_start(run): pass\n")
    points = tmp_path / "site" / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text("[segzoo.v1]\nfirst = acme.plugin\nsecond = acme.plugin\nthird = a b\n")
    assert plugin_named("acme/first").status == "ok"
    assert plugin_named("acme/second").reason == "acme.plugin is the plugin acme/first already"
    assert plugin_named("acme/third").reason == (
        "its entry point is 'a b', not the name of a module"
    )


def test_a_package_for_two_api_majors_is_listed_once(install, tmp_path):
    install("acme", good("shiny", "acme"), files={"net.py": NET})
    points = tmp_path / "site" / "acme-1.0.dist-info" / "entry_points.txt"
    points.write_text("[segzoo.v1]\nacme = acme.plugin\n[segzoo.v2]\nacme = acme.later\n")
    assert [p.status for p in get_manager().plugins if p.distribution == "acme"] == ["ok"]


def test_the_copy_that_is_imported_is_the_one_that_counts(install, tmp_path, monkeypatch):
    install("acme", good("shiny", "acme"), files={"net.py": NET})
    hidden = tmp_path / "later" / "acme-0.1.dist-info"
    hidden.mkdir(parents=True)
    (hidden / "METADATA").write_text("Name: Acme\nVersion: 0.1\n")
    (hidden / "entry_points.txt").write_text("[segzoo.v1]\nold = acme.old\n")
    monkeypatch.syspath_prepend(str(hidden.parent))
    sys.path.append(sys.path.pop(0))
    get_manager.cache_clear()
    found = [(p.identity, p.version) for p in get_manager().plugins if p.distribution == "acme"]
    assert found == [("acme/acme", "1.0")]


def test_an_egg_info_is_a_package_too(install, tmp_path):
    install("acme", good("shiny", "acme"), files={"net.py": NET})
    site = tmp_path / "site"
    (site / "acme-1.0.dist-info").rename(site / "acme.egg-info")
    (site / "acme.egg-info" / "METADATA").rename(site / "acme.egg-info" / "PKG-INFO")
    assert plugin_named("acme/acme").status == "ok"


DAMAGED = {
    "no equals sign": (b"[segzoo.v1]\nwhatever\n", "entry_points.txt cannot be read"),
    "no text": (b"[segzoo.v1]\n\xff = x\n", "entry_points.txt cannot be read ('utf-8' codec"),
    "another's": (b"[console_scripts]\n\xff = x\n", ""),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_entry_points_are_told_and_hurt_no_other_plugin(install, tmp_path, case):
    points, reason = DAMAGED[case]
    install("acme", good("shiny", "acme"), files={"net.py": NET})
    install("torn", "")
    (tmp_path / "site" / "torn-1.0.dist-info" / "entry_points.txt").write_bytes(points)
    listing = run_here("list")
    assert listing.returncode == 0, listing.stderr
    assert " shiny " in listing.stdout
    assert ("not loaded: torn/? is broken (metadata): " in listing.stdout) == bool(reason)
    assert reason in listing.stdout
    assert ("pip install --force-reinstall torn" in listing.stdout) == bool(reason)


def test_a_nameless_package_is_broken_under_the_name_of_its_folder(install, tmp_path):
    install("acme-nets", good("shiny", "acme-nets"), files={"net.py": NET})
    (tmp_path / "site" / "acme_nets-1.0.dist-info" / "METADATA").unlink()
    plugin = plugin_named("acme-nets/acme-nets")
    assert (plugin.status, plugin.phase) == ("broken", "metadata")
    assert "pip install --force-reinstall acme-nets" in plugin.reason
    assert "acme_nets.plugin" not in sys.modules


def test_loading_leaves_the_process_as_it_was(install, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEFT", raising=False)
    install(
        "acme",
        "import logging, os, random, warnings\n"
        "print('loud')\n"
        "warnings.simplefilter('error')\n"
        "logging.basicConfig(level=1, force=True); logging.disable(50)\n"
        "logging.getLogger('segzoo').disabled = True\n"
        "os.chdir('/'); os.environ['LEFT'] = '1'\n"
        "def segzoo_models():\n    os.chdir('/'); print('louder')\n    return []\n",
    )
    root = logging.getLogger()
    before = root.level, root.handlers[:], warnings.filters[:]
    try:
        plugin = plugin_named("acme/acme")
    finally:
        os.environ.pop("LEFT", None)
    assert (root.level, root.handlers, warnings.filters) == before
    assert logging.getLogger("segzoo").isEnabledFor(logging.WARNING)
    assert Path.cwd() == tmp_path
    assert capsys.readouterr() == ("", "loud\nlouder\n")
    assert plugin.warnings == ["changes the environment for all: LEFT"]
