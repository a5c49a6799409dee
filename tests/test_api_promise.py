"""What docs/api-promise.md promises, pinned: where one of these fails, a plugin somewhere does."""

import dataclasses
import importlib
import inspect
import re

import pytest
from doc_blocks import DOCS, HOOK_PAGES, section_of

import segzoo
from segzoo import testing
from segzoo.data.sample import DataInfo
from segzoo.data.splits import carve
from segzoo.model.description import FORMAT_VERSION, WeightsInfo
from segzoo.plugins import hookspecs
from segzoo.plugins.entrypoints import GROUP
from segzoo.plugins.specs import KINDS
from segzoo.testing import Conformance

PROMISE = (DOCS / "api-promise.md").read_text(encoding="utf-8")
REQUIRED = inspect.Parameter.empty

HOOKS = {
    "segzoo_models": [],
    "segzoo_datasets": [],
    "segzoo_losses": [],
    "segzoo_metrics": [],
    "segzoo_encoder_weights": [],
    "segzoo_commands": [],
    "segzoo_fit_start": ["run"],
    "segzoo_epoch_end": ["run", "epoch", "metrics"],
    "segzoo_checkpoint_saved": ["run", "epoch", "path"],
    "segzoo_fit_end": ["run", "result", "error"],
}
COMMON = {"name": REQUIRED, "summary": REQUIRED, "exceptions": {}}
SPECS = {
    "ModelSpec": COMMON
    | {"build": REQUIRED, "options": None, "aliases": (), "stride": 32, "paper": "", "licence": ""}
    | {"computes_loss": False},
    "DatasetSpec": COMMON
    | {"build": REQUIRED, "classes": (), "palette": (), "target": "labels", "ignore_index": 255}
    | {"sample": "", "options": None, "homepage": "", "licence": ""},
    "LossSpec": COMMON | {"build": REQUIRED, "targets": "labels", "options": None},
    "MetricSpec": COMMON
    | {"build": REQUIRED, "targets": "labels", "higher_is_better": True, "options": None},
    "EncoderWeightsSpec": {"name": "", "summary": "pretrained encoder weights", "exceptions": {}}
    | {"encoder": REQUIRED, "tag": REQUIRED, "load": REQUIRED, "mean": REQUIRED, "std": REQUIRED}
    | {"licence": ""},
    "CommandSpec": COMMON | {"target": REQUIRED},
}
TOP_LEVEL = (
    *("CommandSpec", "DataInfo", "DataSource", "DatasetSpec", "EncoderWeightsSpec", "LossSpec"),
    *("Evaluation", "MetricSpec", "MissingSplitError", "ModelSpec", "Prediction", "Run"),
    *("RunConfig", "RunResult", "Sample", "SegzooError", "Segmenter", "create_model", "evaluate"),
    *("fit", "get_manager", "get_registry", "hookimpl", "list_datasets", "list_models", "load"),
    "option",
)
PARAMETERS = {
    "create_model": ["name", "in_channels", "num_classes", "options", "model_options"],
    "evaluate": [
        *("weights", "data", "root", "split", "data_options", "sample", "full_size", "metrics"),
        *("worst", "per_picture", "device", "precision"),
    ],
    "list_datasets": ["pattern"],
    "list_models": ["pattern"],
    "load": ["path", "device", "precision"],
    "option": ["default", "help", "minimum", "maximum"],
    "fit": ["config", "recipe", "file", "resume", "observers", "progress", "stream"],
    "DataSource": ["name", "root", "options", "sample"],
    "Sample": ["image", "target", "key"],
    "SegzooError": ["message", "hint"],
    "MissingSplitError": ["message", "hint"],
}
SETTINGS = (
    *("model", "data", "root", "sample", "epochs", "batch_size", "size", "loss", "metrics"),
    *("monitor", "workers", "device", "precision", "seed", "out", "model_options", "data_options"),
)
INFERENCE = ("size", "flip", "scales", "window", "overlap", "refine", "batch_size")
PREDICTION = ("probability_KHW", "mask", "alpha", "mask_image", "overlay", "cutout", "before")
EVALUATION = ("scores", "intervals", "worst", "unscored", "pictures")
DATA_INFO = (
    *("identity", "version", "classes", "palette", "target", "ignore_index", "threshold"),
    *("value_range", "options"),
)
RUN = (
    *("config", "folder", "info", "fingerprint", "model", "deployed", "parameters", "device"),
    *("precision", "epoch", "step", "history", "monitor", "best_epoch", "best_score", "best_path"),
)
RUN_RESULT = (
    *("folder", "weights", "model", "data", "parameters", "monitor", "best_score", "best_epoch"),
    *("epochs", "stopped_early", "scores", "seconds", "seconds_per_epoch", "images_per_second"),
    *("device", "precision", "disabled_observers", "observer_errors"),
)
HELPERS = {
    "segzoo.data.images.read_image": ["path"],
    "segzoo.data.images.read_mask": ["path"],
    "segzoo.data.images.read_matte": ["path"],
    "segzoo.data.roots.find_root": ["name", "root", "looks_right", "homepage"],
    "segzoo.data.splits.carve": ["keys", "fraction", "seed"],
    "segzoo.metrics.confusion_matrix": ["prediction", "target", "num_classes", "ignore_index"],
}
TESTING = {
    "CommandConformance": ("command", "help listed unknown_flag"),
    "Conformance": ("", "found light hooks references options config exceptions"),
    "DatasetConformance": (
        "data",
        "sample splits info types labels stable keys keys_attribute files shuffled repeatable "
        "indices workers missing",
    ),
    "EncoderWeightsConformance": ("weights", "tensors fits_timm statistics"),
    "LossConformance": (
        "loss",
        "scalar extremes minimal improves gradient ignored unlabelled no_ignore inputs_kept",
    ),
    "MetricConformance": ("metric", "cases best fresh order parts ignored empty names inputs_kept"),
    "ModelConformance": (
        "model",
        "sizes logits channels batches deterministic gradients learns training_output round_trip "
        "bf16 channels_last seeded global_state copies export",
    ),
}
WEIGHTS = (
    *("model", "classes", "palette", "target", "ignore_index", "threshold", "value_range", "mean"),
    *("std", "size", "data", "metrics", "epoch", "precision", "format_version", "segzoo", "torch"),
)


def test_the_hooks_and_their_arguments():
    assert GROUP == "segzoo.v1"
    for hook, arguments in HOOKS.items():
        there = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        if hook in hookspecs.DISCOVERY_HOOKS:
            assert there == arguments
        else:
            assert set(arguments) <= set(there)


def test_the_fields_of_the_specs():
    assert {spec.__name__ for spec in KINDS.values()} == set(SPECS)
    for name, fields in SPECS.items():
        parameters = inspect.signature(getattr(segzoo, name)).parameters
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
        made = {
            field.name: field.default_factory() if callable(field.default_factory) else REQUIRED
            for field in dataclasses.fields(getattr(segzoo, name))
        }
        for field, default in fields.items():
            given = parameters[field].default
            assert (made[field] if repr(given) == "<factory>" else given) == default, field
        added = parameters.keys() - fields.keys()
        assert not [field for field in added if parameters[field].default is REQUIRED]


def test_the_names_of_segzoo():
    assert set(TOP_LEVEL) <= set(segzoo.__all__)
    assert all(hasattr(segzoo, name) for name in (*TOP_LEVEL, "__version__"))
    for name, kept in PARAMETERS.items():
        parameters = inspect.signature(getattr(segzoo, name)).parameters
        assert [n for n in parameters if n in kept] == kept
        further = [p for n, p in parameters.items() if n not in kept]
        assert all(p.default is not REQUIRED for p in further), name
    assert segzoo.Sample._fields == ("image", "target", "key")
    assert set(SETTINGS) <= {field.name for field in dataclasses.fields(segzoo.RunConfig)}
    assert set(SETTINGS) <= set(inspect.signature(segzoo.fit).parameters)
    for function in (segzoo.evaluate, segzoo.Segmenter.predict, segzoo.Segmenter.predict_batch):
        assert set(INFERENCE) <= set(inspect.signature(function).parameters)
    assert all(hasattr(segzoo.Prediction, name) for name in PREDICTION)
    assert all(hasattr(segzoo.Evaluation, name) for name in EVALUATION)


def test_what_observers_and_data_sets_are_told():
    run = {f.name for f in dataclasses.fields(segzoo.Run)} | {"deployed", "best_path"}
    assert set(RUN) <= run
    assert set(RUN_RESULT) <= {f.name for f in dataclasses.fields(segzoo.RunResult)}
    assert set(DATA_INFO) <= {f.name for f in dataclasses.fields(DataInfo)}
    for page, names in (("segzoo_fit_start", RUN), ("segzoo_fit_end", RUN_RESULT)):
        assert all(f"\n| `{name}` |" in HOOK_PAGES[page] for name in names)


@pytest.mark.parametrize("helper", HELPERS)
def test_the_helpers(helper):
    module, _, name = helper.rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    assert list(parameters)[: len(HELPERS[helper])] == HELPERS[helper]


def test_keys_are_carved_as_ever():
    assert carve([f"{n:02d}" for n in range(10)], 0.3)[1] == ["00", "06", "09"]


def test_the_names_of_the_kit():
    assert set(TESTING) | {"ConformanceError", "check"} <= set(testing.__all__)
    common = TESTING["Conformance"][1].split()
    for name, (attribute, checks) in TESTING.items():
        kit: type[Conformance] = getattr(testing, name)
        assert kit.attribute == attribute
        assert {f"test_{check}" for check in (*common, *checks.split())} <= set(kit.checks())
    assert testing.MetricConformance.cases == ()
    assert (testing.MetricConformance.classes, testing.LossConformance.classes) == (3, 3)


def test_the_format_of_weights_files():
    assert FORMAT_VERSION == 1
    fields = {field.name: field for field in dataclasses.fields(WeightsInfo)}
    assert set(WEIGHTS) <= set(fields)
    for name in fields.keys() - set(WEIGHTS):
        field = fields[name]
        made = (field.default, field.default_factory)
        assert made != (dataclasses.MISSING,) * 2, f"{name}: older files lack it"


def test_the_page_names_what_is_pinned():
    kept = section_of(PROMISE, "What is kept")
    hooks = {f"{hook}({', '.join(arguments)})" for hook, arguments in HOOKS.items()}
    written = set(re.findall(r"`([^`]+)`", kept))
    assert hooks <= written
    python, _, checks = kept.partition("### Python")[2].partition("### Checks")
    assert {*INFERENCE, *EVALUATION} <= set(re.findall(r"`(\w+)`", python))
    assert all(f"`{name}" in python for name in PREDICTION)
    assert set(TOP_LEVEL) | set(HELPERS) | {"segzoo.__version__"} <= set(
        re.findall(r"`([\w.]+)`", python)
    )
    assert set(TESTING) | {"ConformanceError", "check"} <= set(re.findall(r"`(\w+)`", checks))


def test_the_guide_lists_every_check_and_no_other():
    guide = (DOCS / "plugins.md").read_text(encoding="utf-8")
    table = section_of(guide, "Testing your plugin")
    rows = re.findall(r"^\| (`\w+`|all of them) \|.*\| (`.*) \|$", table, re.MULTILINE)
    listed = {name.strip("`"): re.findall(r"`(\w+)`", checks) for name, checks in rows}
    common = [name.removeprefix("test_") for name in Conformance.checks()]
    assert listed.pop("all of them") == common
    for name, checks in listed.items():
        kit: type[Conformance] = getattr(testing, name)
        assert [*common, *checks] == [check.removeprefix("test_") for check in kit.checks()]
    assert set(listed) == set(TESTING) - {"Conformance"}
