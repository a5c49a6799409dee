"""Class weights counted in the training pictures: the formulas, and a run that keeps them."""

import logging
import math
import tomllib

import pytest
import torch
from helpers import saved_tensors
from safetensors.torch import load_file

from segzoo.data.loading.batches import Batches
from segzoo.data.sample import DataInfo, Sample, voc_palette
from segzoo.errors import SegzooError
from segzoo.losses import balance
from segzoo.losses.balance import class_weights, pixel_counts, with_counted_weights
from segzoo.losses.weighted import make_loss
from segzoo.plugins.terms import parse_terms, write_terms
from segzoo.train.fit import fit

LABELS = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [255, 255]], [[0, 0], [1, 1]]])
"""Class 0 has 3 + 2 + 2 pixels, class 1 has 1 + 0 + 2, class 2 none; two pixels are ignored."""


def info(**changes):
    given = {
        "identity": "acme/x", "version": "1", "classes": ("a", "b", "c"),
        "palette": voc_palette(3), "target": "labels", "ignore_index": 255,
    }  # fmt: skip
    return DataInfo(**{**given, **changes})


class Pictures:
    """The three targets, and how often they have been read."""

    reads = 0

    def __init__(self, targets=LABELS):
        self.targets = targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        self.reads += 1
        target = self.targets[index].to(torch.uint8)
        return Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), target, str(index))


class Stream:
    def __iter__(self):
        yield Pictures()[0]


def batches(data=None, *, cache="memory", about=None):
    return Batches(
        Pictures() if data is None else data, about or info(), size=(2, 2), batch_size=2,
        shuffle=True, workers=0, cache=cache,
    )  # fmt: skip


def weights_in(expression):
    first = parse_terms(expression, "+", "loss")[0]
    return [float(part) for part in first.options["weight"].split(":")]


def test_pixels_are_counted_by_picture_and_class():
    split = [LABELS[:2].to(torch.uint8), LABELS[2:].to(torch.int32)]
    assert pixel_counts(split, info()).tolist() == [[3, 1, 0], [2, 0, 0], [2, 2, 0]]


def test_an_ignored_class_is_not_counted():
    assert pixel_counts([LABELS % 255], info(ignore_index=0)).sum(0).tolist() == [0, 3, 0]


def test_an_alpha_counts_for_both_classes():
    alpha_BHW = torch.tensor([[[0, 51], [255, 255]]], dtype=torch.uint8)
    counts = pixel_counts([alpha_BHW], info(target="alpha", classes=("a", "b")))
    assert torch.allclose(counts, torch.tensor([[1.8, 2.2]], dtype=torch.float64))


@pytest.mark.parametrize("formula", ["median", "auto"])
def test_median_frequency_looks_at_pictures_with_the_class(formula):
    counts = pixel_counts([LABELS], info())
    # Class 0: 7 of 4 + 2 + 4 pixels; class 1: 3 of the 8 in the pictures that have it.
    middle = (7 / 10 + 3 / 8) / 2
    assert class_weights(formula, counts) == pytest.approx([middle / 0.7, middle / 0.375, 1.0])


def test_enet_s_weights_look_at_all_pictures():
    expected = [1 / math.log(1.02 + 0.7), 1 / math.log(1.02 + 0.3), 1.0]
    assert class_weights("enet", pixel_counts([LABELS], info())) == pytest.approx(expected)


@pytest.mark.parametrize("formula", ["median", "enet"])
def test_pictures_without_any_label_are_refused(formula):
    with pytest.raises(SegzooError, match="no pixel of the training pictures has a class\n.*check"):
        class_weights(formula, torch.zeros(2, 3))


@pytest.mark.parametrize("cache", [True, False])
def test_words_become_numbers_whatever_the_batches(cache, caplog):
    caplog.set_level(logging.INFO)
    resolved = with_counted_weights(
        "0.5*ce(weight=median, label_smoothing=0.1) + dice + focal(weight=enet)",
        batches(cache=cache),
    )
    assert resolved == (
        "0.5*ce(weight=0.7679:1.433:1,label_smoothing=0.1) + dice + focal(weight=1.844:3.602:1)"
    )
    assert f"counted in 3 pictures: --loss '{resolved}'" in caplog.text


@pytest.mark.parametrize("expression", ["ce", "ce+2*dice", " ce(weight=1:2:3)", "ohem(keep=0.5)"])
def test_other_losses_stay_as_they_are_and_nothing_is_read(expression):
    pictures = Pictures()
    train = batches(pictures)
    before = pictures.reads
    assert with_counted_weights(expression, train) == expression
    assert pictures.reads == before


def test_counting_fills_the_cache_that_the_training_reads():
    pictures = Pictures()
    train = batches(pictures)
    with_counted_weights("ce(weight=auto)", train)
    before = pictures.reads
    assert len(list(train.epoch(0))) == 1
    assert pictures.reads == before


def test_a_plugin_s_loss_gets_numbers_too(install):
    install(
        "acme",
        "from dataclasses import dataclass\n"
        "from segzoo import LossSpec, option\n"
        "from segzoo.losses.plugin import ClassWeightOptions\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(ClassWeightOptions):\n"
        "    power: float = option(1.0, 'p')\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Own:\n"
        "    weight: str = option('auto', 'w')\n"
        "def segzoo_losses():\n"
        "    return [LossSpec(name='mine', summary='s', build='acme.x:y', options=Mine),\n"
        "            LossSpec(name='own', summary='s', build='acme.x:y', options=Own)]\n",
    )
    assert weights_in(with_counted_weights("mine(weight=median)", batches()))[2] == 1
    assert with_counted_weights("own(weight=median)", batches()) == "own(weight=median)"


def test_a_stream_is_refused():
    with pytest.raises(SegzooError, match="weight=median: acme/x is a stream.*\n.*data stats"):
        with_counted_weights("dice + ce(weight=median)", batches(Stream()))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("median", "counted in training pictures, and here are none\n.*one number >= 0"),
        ("medain", "cannot read weight=medain\n.*did you mean `median`.*auto, enet, median"),
    ],
)
def test_a_word_that_reaches_the_builder_is_explained(weight, message):
    with pytest.raises(SegzooError, match=message):
        make_loss(
            f"ce(weight={weight})", classes=("a", "b"), ignore_index=None, target="labels"
        )  # fmt: skip


def test_focal_s_weights_make_a_weighted_mean():
    logits_BKHW = torch.tensor([[[[0.0, 1.0, 5.0]], [[1.0, 0.0, 0.0]]]])
    how = {"classes": ("a", "b"), "ignore_index": 255, "target": "labels"}
    labels_BHW = torch.tensor([[[0, 1, 255]]])
    value = make_loss("focal(weight=1:3,gamma=2)", **how)(logits_BKHW, labels_BHW)
    p = 1 / (1 + math.e)
    assert float(value) == pytest.approx(-((1 - p) ** 2) * math.log(p), rel=1e-5)
    uneven = make_loss("focal(weight=1:3,gamma=0)", **how)(logits_BKHW, torch.tensor([[[1, 1, 0]]]))
    costs = [-math.log(1 - p), -math.log(p), math.log1p(math.exp(-5))]
    expected = (3 * costs[0] + 3 * costs[1] + costs[2]) / 7
    assert float(uneven) == pytest.approx(expected, rel=1e-5)
    nothing = make_loss("focal(weight=0:1)", **how)(logits_BKHW, torch.zeros_like(labels_BHW))
    assert float(nothing) == 0


def test_focal_with_weights_is_minimal_at_a_soft_target():
    focal = make_loss("focal(weight=1:4)", classes=("a", "b"), ignore_index=None, target="alpha")
    alpha_BHW = torch.tensor([[[0.3, 0.8]]])
    odds_BHW = torch.logit(alpha_BHW)
    zeros = torch.zeros_like(odds_BHW)
    best = float(focal(torch.stack([zeros, odds_BHW], 1), alpha_BHW))
    for shift in (-0.1, 0.1):
        assert float(focal(torch.stack([zeros, odds_BHW + shift], 1), alpha_BHW)) > best


@pytest.mark.parametrize(
    "expression", ["ce", "0.5*ce(weight=1:2) + dice", "1e-05*ce + 2.0*segzoo/dice(smooth=0)"]
)
def test_written_terms_read_back(expression):
    terms = parse_terms(expression, "+", "loss")
    assert write_terms(terms) == expression
    large = [terms[0]._replace(weight=1e17)]
    assert parse_terms(write_terms(large), "+", "loss") == large


def test_a_resumed_run_has_the_weights_that_were_counted(hk_root, tmp_path, monkeypatch):
    class Stop:
        def segzoo_epoch_end(self, run, epoch):
            if epoch == 2:
                raise KeyboardInterrupt

    settings = {
        "model": "linknet", "data": "hk", "root": hk_root, "size": 64, "epochs": 3,
        "batch_size": 4, "model_options": {"width": 4}, "precision": "fp32", "workers": 0,
        "progress": False, "loss": "ce(weight=median) + dice",
    }  # fmt: skip
    whole = fit(out=tmp_path / "a", **settings)
    written = tomllib.loads((tmp_path / "a" / "config.toml").read_text())["loss"]
    assert len(weights_in(written)) == 2
    with pytest.raises(KeyboardInterrupt):
        fit(out=tmp_path / "b", observers=[Stop()], **settings)
    monkeypatch.delattr(balance, "pixel_counts")  # so that nothing can be counted again
    assert fit(resume=tmp_path / "b", progress=False).scores == whole.scores
    best = [load_file(tmp_path / run / "best.safetensors") for run in "ab"]
    for one, two in (best, [saved_tensors(tmp_path / run) for run in "ab"]):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    again = fit(file=tmp_path / "a" / "config.toml", out=tmp_path / "c", progress=False)
    assert again.scores == whole.scores
