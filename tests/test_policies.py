"""What a training does about losses that are not finite, broken pictures and too little memory."""

import json
import re
from typing import Any

import pytest
import torch
from helpers import run_here
from safetensors.torch import load_file

import segzoo
from segzoo import SegzooError, fit
from segzoo.inference.evaluation import evaluate_weights
from segzoo.inference.files import predict_files
from segzoo.inference.settings import Inference
from segzoo.model.network import SegmentationModel
from segzoo.train import step

TINY = {
    "model": "unet", "data": "hk", "size": 32, "epochs": 2, "batch_size": 4, "workers": 0,
    "model_options": {"width": 4, "depth": 2}, "precision": "fp32", "progress": False,
    "device": "cpu", "augment": "none",
}  # fmt: skip


def train(root, out, **changes):
    settings: dict[str, Any] = {**TINY, "root": str(root), "out": str(out), **changes}
    return fit(**settings)


def spoil_loss(monkeypatch, wrong):
    """Let the loss of the steps for which `wrong` says so be no number."""
    real, calls = step.loss_of, []

    def loss_of(output, target, loss, weight):
        calls.append(1)
        value, logits = real(output, target, loss, weight)
        return (value * float("nan") if wrong(len(calls)) else value), logits

    monkeypatch.setattr(step, "loss_of", loss_of)


def test_a_loss_that_is_no_number_ends_the_training_with_its_pictures(
    hk_root, tmp_path, monkeypatch
):
    whole = train(hk_root, tmp_path / "a")
    with monkeypatch.context() as patch:
        spoil_loss(patch, lambda call: call == 4)
        with pytest.raises(
            SegzooError, match=r"not finite in step 4, with the pictures \d{5}.*\n.*--on-nonfinite"
        ):
            train(hk_root, tmp_path / "b")
    again = fit(resume=tmp_path / "b", progress=False)
    assert again.scores == whole.scores


def test_such_a_step_is_left_out_and_said(hk_root, tmp_path, monkeypatch, caplog):
    spoil_loss(monkeypatch, lambda call: call == 2)
    result = train(hk_root, tmp_path / "a", on_nonfinite="skip", model="linknet", model_options={})
    assert "1 steps left out, whose loss or gradient was not finite: 2 (0" in caplog.text
    assert all(
        torch.isfinite(v).all() for v in load_file(result.weights).values() if v.is_floating_point()
    )
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["train"]["loss"] > 0


def test_a_training_that_only_leaves_steps_out_has_diverged(hk_root, tmp_path, monkeypatch):
    spoil_loss(monkeypatch, lambda call: call > 1)
    with pytest.raises(SegzooError, match="not finite in step"):
        train(hk_root, tmp_path / "a", on_nonfinite="skip")


def test_a_picture_that_breaks_on_the_way_is_left_out_or_ends_the_training(
    hk_root, tmp_path, caplog
):
    picture = hk_root / "training" / "00004.png"
    sound = picture.read_bytes()

    class Break:
        def segzoo_epoch_end(self, epoch):
            if epoch == 1:
                picture.write_bytes(sound[:500])

    with pytest.raises(SegzooError, match=r"00004\.png cannot be read"):
        train(hk_root, tmp_path / "a", cache="none", observers=[Break()])
    picture.write_bytes(sound)
    result = train(hk_root, tmp_path / "b", cache="none", observers=[Break()], on_bad_image="skip")
    assert result.epochs == 2
    assert len(result.left_out) == 1
    assert "00004.png" in result.left_out[0]
    summary = json.loads((tmp_path / "b" / "summary.json").read_text())
    assert summary["left_out"] == list(result.left_out)
    assert "1 pictures could not be read and were left out" in caplog.text


def little_memory(monkeypatch, most):
    """Let a device take at most so many pictures at once."""
    real = step.loss_of

    def loss_of(output, target, loss, weight):
        if len(target) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(output, target, loss, weight)

    monkeypatch.setattr(step, "loss_of", loss_of)


@pytest.mark.parametrize("augment", ["none", "strong"])
def test_a_batch_too_large_goes_through_in_pieces(hk_root, tmp_path, monkeypatch, caplog, augment):
    how = {"loss": "ce", "augment": augment, "optimizer": "sgd", "ema": 0.0}
    whole = train(hk_root, tmp_path / "a", **how)
    little_memory(monkeypatch, 2)
    pieces = train(hk_root, tmp_path / "b", **how)
    assert "out of memory with a batch of 4: going on with it in 2 pieces" in caplog.text
    one, two = load_file(whole.weights), load_file(pieces.weights)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    for split, scores in whole.scores.items():
        assert pieces.scores[split] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("most", [3, 0])
def test_scoring_and_prediction_go_through_in_pieces_too(
    hk_root, tmp_path, monkeypatch, caplog, most
):
    weights = train(hk_root, tmp_path / "a").weights
    pictures = sorted((hk_root / "testing").glob("*[0-9].png"))
    whole = [p.probability_KHW for p in segzoo.load(weights, device="cpu").predict_batch(pictures)]
    scores = evaluate_weights(weights, device="cpu")["scores"]
    real = SegmentationModel.forward

    def forward(self, images_BCHW, target_BHW=None):
        if len(images_BCHW) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, images_BCHW, target_BHW)

    monkeypatch.setattr(SegmentationModel, "forward", forward)
    if most == 0:
        with pytest.raises(SegzooError, match=r"out of memory with one picture of 32x32"):
            evaluate_weights(weights, device="cpu")
        return
    pieces = segzoo.load(weights, device="cpu").predict_batch(pictures)
    for one, two in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, two.probability_KHW)
    assert evaluate_weights(weights, device="cpu")["scores"] == pytest.approx(scores, abs=1e-6)
    assert "is out of memory: batches go through in pieces" in caplog.text


def test_a_network_that_gives_no_numbers_is_told(hk_root, tmp_path, monkeypatch):
    weights = train(hk_root, tmp_path / "a").weights
    picture = hk_root / "testing" / "00011.png"
    real = SegmentationModel.forward
    monkeypatch.setattr(
        SegmentationModel, "forward", lambda *args: real(*args) * torch.tensor(float("nan"))
    )
    with pytest.raises(SegzooError, match=rf"{picture}: the network gives no finite numbers"):
        predict_files(weights, [picture], tmp_path / "out", device="cpu")
    with pytest.raises(SegzooError, match=r"gives no numbers for one of 00010, 00011"):
        evaluate_weights(weights, device="cpu")


def test_too_little_for_a_single_picture_is_said(hk_root, tmp_path, monkeypatch):
    little_memory(monkeypatch, 0)
    with pytest.raises(SegzooError, match="out of memory with one picture of 32x32 at once"):
        train(hk_root, tmp_path / "a")


def too_much(*_: object) -> torch.Tensor:
    """Raise what torch raises where a CPU's memory does not suffice, and no MemoryError."""
    return torch.empty(1 << 60)


@pytest.mark.parametrize("what", ["allocator", "sizes", "python"])
def test_a_cpu_without_the_memory_says_what_may_fit(hk_root, tmp_path, monkeypatch, what):
    def forward(self, images_BCHW, target_BHW=None):
        if what == "python":
            raise MemoryError
        return torch.empty(1 << 62, 1 << 10) if what == "sizes" else too_much()

    weights = train(hk_root, tmp_path / "a", epochs=1).weights
    monkeypatch.setattr(SegmentationModel, "forward", forward)
    said = r"cpu is out of memory with one picture of 64x64 at once.*\n.*smaller --size, 32x32 may"
    if what != "python":  # In a training Python's own error may be any plugin's, and is told so.
        with pytest.raises(SegzooError, match=said):
            train(hk_root, tmp_path / "b", size=64)
    with pytest.raises(SegzooError, match=said):
        evaluate_weights(weights, device="cpu", how=Inference(size=64))
    with pytest.raises(SegzooError, match=said):
        segzoo.load(weights, device="cpu").predict(
            torch.zeros(3, 64, 64, dtype=torch.uint8), size=64
        )


@pytest.mark.parametrize("options", [{"width": 10**6, "depth": 2}, {"width": 2**53}])
def test_a_network_that_no_memory_holds_is_refused_by_its_options(options):
    said = rf"model `segzoo-unet/unet` \(3 channels, 2 classes, width={options['width']}.*memory"
    with pytest.raises(SegzooError, match=said):
        segzoo.create_model("unet", model_options=options)


def test_other_errors_of_networks_are_not_taken_for_a_lack_of_memory(
    hk_root, tmp_path, monkeypatch
):
    def forward(self, images_BCHW, target_BHW=None):
        raise RuntimeError("the memory of the elephant")

    monkeypatch.setattr(SegmentationModel, "forward", forward)
    with pytest.raises(RuntimeError, match="elephant"):
        train(hk_root, tmp_path / "a")


def test_the_command_line_has_no_traceback_for_a_lack_of_memory(monkeypatch):
    monkeypatch.setattr("segzoo.cli.zoo.get_registry", too_much)
    done = run_here("show", "unet")
    assert done.returncode == 2
    assert re.match(r"error: this machine has not enough memory for it: 4.61e\+09 GB", done.stderr)
