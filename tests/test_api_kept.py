"""What docs/api-promise.md says the core does with plugins: keywords, names, versions, warnings."""

import importlib
import re
import subprocess
import sys

import torch
from doc_blocks import DOCS, section_of

import segzoo
from segzoo.losses.weighted import make_loss
from segzoo.metrics.selection import MetricSet
from segzoo.plugins import manager as plugins

PROMISE = (DOCS / "api-promise.md").read_text(encoding="utf-8")

NOTES = """
import segzoo, torch
def note(what, values):
    NOTED[what] = sorted(values)
NOTED = {}
def model(**values):
    note("model", values)
    return torch.nn.Conv2d(values["in_channels"], values["num_classes"], 1)
def data(**values):
    note("data", values)
    raise segzoo.MissingSplitError("none")
def sample(root):
    (root / "written").touch()
def loss(**values):
    note("loss", values)
    return lambda logits, target: logits.sum()
def metric(**values):
    note("metric", values)
    return Metric()
class Metric:
    def update(self, logits, target): pass
    def compute(self): return 1.0
"""
NOTED = """
from segzoo import *
code = "acme.code:"
def segzoo_models():
    return [ModelSpec(name="m", summary="s", build=code + "model", stride=1, aliases=("old",))]
def segzoo_datasets():
    return [DatasetSpec(name="d", summary="s", build=code + "data", sample=code + "sample")]
def segzoo_losses(): return [LossSpec(name="l", summary="s", build=code + "loss")]
def segzoo_metrics(): return [MetricSpec(name="s", summary="s", build=code + "metric")]
"""


def test_the_keywords_that_builders_get(install):
    install("acme", NOTED, files={"code.py": NOTES})
    segzoo.create_model("m")
    source = segzoo.DataSource("d", sample=True)
    assert source.splits(["train"]) == {}
    assert source.root and [path.name for path in source.root.iterdir()] == ["written"]
    how = {"classes": ("a", "b"), "ignore_index": None, "target": "labels"}
    make_loss("l", **how)
    MetricSet("s", **how).names(2, "labels")
    assert importlib.import_module("acme.code").NOTED == {
        "model": ["in_channels", "num_classes", "options"],
        "data": ["options", "root", "split"],
        "loss": ["classes", "ignore_index", "options"],
        "metric": ["classes", "ignore_index", "options"],
    }


def test_weights_of_a_renamed_model_load_by_its_alias(install, tmp_path):
    old = NOTED.replace('name="m"', 'name="old"').replace('aliases=("old",)', "aliases=()")
    package = install("acme", old, files={"code.py": NOTES})
    result = segzoo.fit(
        model="old", data="folder", sample=True, epochs=1, size=32, workers=0, progress=False,
        out=str(tmp_path / "run"),
    )  # fmt: skip
    assert segzoo.load(result.weights).info.model["identity"] == "acme/old"
    (package / "plugin.py").write_text(NOTED)
    plugins.get_manager.cache_clear()
    del sys.modules["acme.plugin"]
    importlib.invalidate_caches()
    model = segzoo.load(result.weights).model
    assert model.entry.identity == "acme/m"
    assert model(torch.zeros(1, 3, 8, 8)).shape[1] == 3


def test_a_plugin_of_another_version_is_not_imported(install, monkeypatch):
    install("acme", "raise SystemExit('imported')\n")
    install("both", "raise SystemExit('imported')\n", group="segzoo.v1", name="both")
    info = install("serves-two", NOTED).parent / "serves_two-1.0.dist-info"
    points = (info / "entry_points.txt").read_text()
    (info / "entry_points.txt").write_text(points + points.replace("segzoo.v1", "segzoo.v2"))
    monkeypatch.setattr(plugins, "API_MAJOR", 2)
    states = {p.identity: p for p in plugins.get_manager().plugins}
    assert states["acme/acme"].status == states["segzoo/core"].status == "incompatible"
    assert "API 1; this segzoo has API 2" in states["acme/acme"].reason
    assert [p.api_major for p in states.values() if p.distribution == "serves-two"] == [2]


def test_deprecations_are_shown_as_the_page_says(install):
    warns = "import warnings\nwarnings.warn('use the other', DeprecationWarning, stacklevel=2)\n"
    install("acme", warns + "def segzoo_models(): return []\n")
    (command,) = re.findall(r"^python (.*segzoo.*)$", PROMISE, re.MULTILINE)
    for words, shown in ((command.split(), True), (["-m", "segzoo", "plugins"], False)):
        result = subprocess.run([sys.executable, *words], capture_output=True, text=True)
        assert result.returncode == 0
        assert ("DeprecationWarning: use the other" in result.stderr) == shown


def test_the_attributes_of_what_segzoo_returns(tmp_path):
    small = {"width": 2, "depth": 2}
    result = segzoo.fit(
        model="unet", model_options=small, data="folder", sample=True, epochs=1, size=32,
        workers=0, progress=False, out=str(tmp_path / "run"),
    )  # fmt: skip
    source, segmenter = segzoo.DataSource("folder", sample=True), segzoo.load(result.weights)
    prediction = segmenter.predict(source.split("train")[0].image)
    entry, plugin = segzoo.get_registry().get("models", "unet"), segzoo.get_manager().plugins[0]
    kept = section_of(PROMISE, "What is kept")
    for thing, attributes in (
        (source, "split splits info root options"),
        (segzoo.SegzooError("m", "h"), "message hint"),
        (segzoo.create_model("unet", options=small), "network stride in_channels num_classes"),
        (segmenter, "predict model info"),
        (prediction, "probability_KHW mask alpha mask_image"),
        (segzoo.get_registry(), "get all"),
        (entry, "spec identity distribution version resolve"),
        (segzoo.get_manager(), "plugins"),
        (plugin, "identity status phase reason traceback warnings provides"),
    ):
        for attribute in attributes.split():
            assert hasattr(thing, attribute), f"{type(thing).__name__}.{attribute}"
            assert re.search(rf"`{attribute}[`(]", kept), attribute
