"""The conformance kit finds what it is for: one planted fault, one test."""

import re
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest

from segzoo import testing
from segzoo.testing import (
    CommandConformance,
    Conformance,
    ConformanceError,
    DatasetConformance,
    EncoderWeightsConformance,
    LossConformance,
    MetricConformance,
    ModelConformance,
)

FAULTY = Path(__file__).parent / "plugins" / "faulty-parts" / "src" / "segzoo_faulty"

MODELS = [
    ("half-size", "sizes", "returned logits of"),
    ("dict-in-eval", "sizes", "returns dict in eval mode"),
    ("needs-32", "sizes", "raise `stride` where the network needs more"),
    ("not-finite", "sizes", "not finite for 1 x 1"),
    ("three-channels", "channels", "fails on a picture B x C x H x W = (1, 1, 64, 64)"),
    ("two-classes", "channels", "its contract is logits B x 21"),
    ("softmax", "logits", "gives probabilities"),
    ("in-place", "logits", "changes its pictures"),
    ("reseeds-in-training", "global_state", "torch's random state when running in training"),
    ("squeezes", "batches", "its contract is logits"),
    ("batch-statistics", "batches", "mix nothing across the batch"),
    ("always-dropout", "deterministic", "other logits the second time"),
    ("unused-layer", "gradients", "no gradient reaches: extra.weight, extra.bias"),
    ("detached", "gradients", "no gradient reaches"),
    ("detached", "learns", "does not learn"),
    ("sets-dtype", "global_state", "default dtype when being built"),
    ("stops-gradients", "global_state", "grad mode when being built"),
    ("python-random", "global_state", "Python's random state when being built"),
    ("prints", "global_state", "prints on stdout: 'building 2"),
    ("reseeds", "seeded", "the same weights for every torch seed"),
    ("python-random", "seeded", "other weights for the same torch seed"),
    ("hidden-state", "round_trip", "the one loaded"),
    ("extra-state", "round_trip", "keeps dict `_extra_state`"),
    ("downloads", "round_trip", "must not use the network"),
    ("no-autocast", "bf16", "fails on a picture"),
    ("storage-order", "channels_last", "never as_strided"),
    ("branches-on-data", "export", "cannot be exported"),
    ("holds-a-lock", "copies", "cannot be copied"),
    ("shares-state", "copies", "shares tensors with its copy"),
    ("says-no-loss", "training_output", "set computes_loss=True"),
    ("doubling", "options", "options that change on a trip through strings"),
    ("beyond-limits", "options", "defaults"),
    ("stale-exception", "export", "take `export` out"),
    ("unknown-exception", "exceptions", "did you mean `export`"),
    ("nowhere", "references", "cannot load build='segzoo_faulty.models:nothing'"),
    ("no-function", "references", "not callable"),
    ("sound-as-well", "found", "unknown model `segzoo-faulty/sound-as-well`"),
]
DATASETS = [
    ("label-too-high", "labels", "label 7 with 2 classes"),
    ("only-background", "labels", "nothing but class 0"),
    ("random-item", "repeatable", "another item 0"),
    ("names-one-file", "files", "reads more for `train` 0 than its `files` name"),
    ("names-no-file", "files", "`files` that are not there: train0.npz"),
    ("shuffles-twice", "shuffled", "not an order of the"),
    ("shuffles-anew", "shuffled", "differs for one seed"),
    ("seeds-numpy", "repeatable", "changes the numpy's random state"),
    ("holds-a-lambda", "workers", "cannot be pickled"),
    ("random-item", "workers", "depend on its index alone"),
    ("shuffled", "stable", "another order when it is built again"),
    ("same-key", "keys", "the key `picture` twice"),
    ("leaks", "keys", "in `val` and in `train`"),
    ("wrong-keys", "keys_attribute", "unlike those of"),
    ("sizes-differ", "types", "an image (3, 12, 10) with a target (11, 10)"),
    ("float64", "types", "torch.float64"),
    ("numpy-target", "types", "gives no tensors"),
    ("random-sample", "sample", "another sample each time"),
    ("writes-beside", "sample", "beside root: ['beside.txt']"),
    ("no-sample", "splits", "has no `sample`"),
    ("one-split", "splits", "neither `val` nor `test`"),
    ("file-not-found", "missing", "FileNotFoundError for an empty root"),
    ("endless", "indices", "beyond the end"),
]
LOSSES = [
    ("log-of-softmax", "extremes", "not finite"),
    ("counts-ignored", "ignored", "logits of ignored pixels"),
    ("means-all", "ignored", "average over the labelled pixels"),
    ("nan-unlabelled", "unlabelled", "is nan for a batch without a labelled pixel"),
    ("linear-dice", "minimal", "those that equal the alpha target"),
    ("soft-focal", "minimal", "those that equal the alpha target"),
    ("wrong-sign", "minimal", "is smaller"),
    ("wrong-sign", "improves", "check the sign"),
    ("detached-weight", "gradient", "look for detach()"),
    ("per-pixel", "scalar", "returns a tensor (2, 12, 12)"),
    ("no-gradient", "scalar", "has no gradient"),
    ("writes-target", "inputs_kept", "changes its inputs"),
    ("remembers", "scalar", "for the same batch"),
    ("needs-ignore", "no_ignore", "AssertionError"),
]
METRICS = [
    ("m-mean-of-batches", "parts", "divide once, in compute()"),
    ("m-last-batch", "order", "in another order"),
    ("m-wrong-direction", "best", "higher_is_better=False"),
    ("m-counts-ignored", "ignored", "ignored pixels"),
    ("m-fails-empty", "empty", "fails after 0 batches"),
    ("m-some-names", "names", "name every score in every case"),
    ("m-called-loss", "names", "names a score `loss`"),
    ("m-shared-counts", "fresh", "keep counts in the instance"),
    ("m-off-by-one", "cases", "worked out by hand as 0.5"),
    ("m-sums-of-batches", "pictures", "update returns a tensor (1, 2) for 4 pictures"),
    ("m-other-pictures", "pictures", "of picture 3 in its sums"),
    ("m-one-for-all", "pictures", "a tensor () in scores_of for 1 sums"),
]
MORE = {"m-off-by-one": {"cases": [([[0, 1]], [[0, 0]], {"m-off-by-one": 0.5})]}}
OTHERS = [
    (EncoderWeightsConformance, "resnet10t.short", "fits_timm", "lacks `conv1.0.weight`|lacks"),
    (EncoderWeightsConformance, "resnet10x.none", "fits_timm", "which timm does not know"),
    (EncoderWeightsConformance, "resnet10t.bytes", "statistics", "pictures in 0..1"),
    (EncoderWeightsConformance, "resnet10t.drawn", "tensors", "the second time"),
    (CommandConformance, "undocumented", "help", "has no docstring"),
    (CommandConformance, "untyped", "help", "fails with --help"),
    (CommandConformance, "train", "listed", "the core's command `train`"),
]
FAULTS = [
    *((ModelConformance, *fault) for fault in MODELS),
    *((DatasetConformance, *fault) for fault in DATASETS),
    *((LossConformance, *fault) for fault in LOSSES),
    *((MetricConformance, *fault) for fault in METRICS),
]


@pytest.fixture
def faulty(install):
    files = {path.name: path.read_text() for path in FAULTY.glob("*.py")}
    return install("segzoo-faulty", files.pop("plugin.py"), name="faulty", files=files)


def conformance_of(base: type[Conformance], name: str, **more: Any) -> Conformance:
    return type("TestPart", (base,), {base.attribute: f"segzoo-faulty/{name}", **more})()


@pytest.mark.parametrize(("base", "name", "check", "message"), FAULTS, ids=lambda v: str(v)[:40])
def test_a_planted_fault_is_found_and_said(faulty, base, name, check, message):
    part = conformance_of(base, name, **MORE.get(name, {}))
    with pytest.raises(ConformanceError) as caught:
        getattr(part, f"test_{check}")()
    assert message in str(caught.value)
    assert f"segzoo-faulty/{name}" in str(caught.value) or check == "found"


@pytest.mark.parametrize(("base", "name", "check", "message"), OTHERS, ids=lambda v: str(v)[:40])
def test_a_planted_fault_of_weights_and_commands_is_found(faulty, base, name, check, message):
    with pytest.raises(ConformanceError, match=message):
        getattr(conformance_of(base, name), f"test_{check}")()


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (ModelConformance, "sound"),
        (DatasetConformance, "sound-data"),
        (EncoderWeightsConformance, "resnet10t.whole"),
        (CommandConformance, "count"),
    ],
)
def test_the_sound_part_beside_them_passes_every_check(faulty, base, name):
    part = conformance_of(base, name)
    for check in part.checks():
        getattr(part, check)()


def test_a_declared_exception_is_skipped_with_its_reason(faulty, install):
    install(
        "acme",
        "from segzoo import ModelSpec\n"
        "def segzoo_models():\n"
        "    return [ModelSpec(name='halved', summary='s', stride=8,\n"
        "        build='segzoo_faulty.models:half_size', exceptions={'sizes': 'it is half'})]\n",
    )
    part = type("TestPart", (ModelConformance,), {"model": "acme/halved"})()
    with pytest.raises(SkipTest, match="declared exception `sizes`: it is half"):
        part.test_sizes()


def test_a_heavy_plugin_module_is_found(install):
    source = "import torch\nfrom segzoo import LossSpec\ndef segzoo_losses():\n"
    source += "    return [LossSpec(name='heavy', summary='s', build='segzoo.losses:build_dice')]\n"
    install("acme", source)
    part = type("TestPart", (LossConformance,), {"loss": "acme/heavy"})()
    with pytest.raises(ConformanceError, match=r"`acme.plugin` that imports torch"):
        part.test_light()


def test_a_slow_plugin_module_is_found(install):
    source = "import time; time.sleep(0.4)\nfrom segzoo import LossSpec\ndef segzoo_losses():\n"
    source += "    return [LossSpec(name='slow', summary='s', build='segzoo.losses:build_dice')]\n"
    install("acme", source)
    part = type("TestPart", (LossConformance,), {"loss": "acme/slow"})()
    with pytest.raises(ConformanceError, match=r"takes 0\.\d s to import"):
        part.test_light()


def test_a_hook_with_a_default_is_found(install):
    source = "from segzoo import LossSpec\ndef segzoo_losses(more=()):\n"
    source += "    return [LossSpec(name='extra', summary='s', build='segzoo.losses:build_dice')]\n"
    install("acme", source)
    part = type("TestPart", (LossConformance,), {"loss": "acme/extra"})()
    with pytest.raises(ConformanceError, match=r"write `segzoo_losses\(\)`"):
        part.test_hooks()


def test_a_class_that_names_no_part_says_so():
    with pytest.raises(ConformanceError, match='`model = "distribution/name"`'):
        type("TestPart", (ModelConformance,), {})().test_found()


def test_a_short_name_is_not_enough():
    with pytest.raises(ConformanceError, match="write `loss = 'segzoo/ce'`"):
        type("TestPart", (LossConformance,), {"loss": "ce"})().test_found()


def test_every_check_says_what_it_checks_and_how_to_mend_it():
    for name in testing.__all__:
        value = getattr(testing, name)
        if isinstance(value, type) and issubclass(value, Conformance):
            for check in value.checks():
                assert re.fullmatch(r"[A-Z`].*\.", getattr(value, check).__doc__.strip())
