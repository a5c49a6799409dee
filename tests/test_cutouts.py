"""Cut-outs, new backgrounds and refined edges, from the weights file to the picture files."""

import json

import numpy as np
import pytest
import torch
from helpers import run_here
from PIL import Image

import segzoo
from segzoo.errors import SegzooError
from segzoo.inference.evaluation import evaluate_weights
from segzoo.inference.files import predict_files
from segzoo.inference.segmenter import Prediction, refined
from segzoo.inference.settings import Inference
from segzoo.inference.views import WholeView

SIDE = 96


def disc() -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph of a red disc before green, H x W x 3, and its true alpha."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    alpha = np.clip(30 - np.hypot(x, y) + 0.5, 0, 1).astype(np.float32)
    mixed = alpha[..., None] * np.array([200, 30, 30]) + (1 - alpha[..., None]) * [30, 200, 30]
    return mixed.round().astype(np.uint8), alpha


def coarse(alpha: np.ndarray) -> torch.Tensor:
    """Return probability_KHW of a network that sees an eighth of the size."""
    small = torch.nn.functional.avg_pool2d(torch.from_numpy(alpha)[None, None], 8)
    blurred = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bilinear")[0, 0]
    return torch.stack([1 - blurred, blurred])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return segzoo.fit(
        model="unet", data="hk", sample=True, size=32, epochs=1, workers=0, precision="fp32",
        model_options={"width": 4, "depth": 2}, out=tmp_path_factory.mktemp("cut") / "run",
        progress=False,
    )  # fmt: skip


def test_a_cutout_has_the_foregrounds_own_colours(trained):
    pixels, alpha = disc()
    probability_KHW = torch.from_numpy(np.stack([1 - alpha, alpha]))
    prediction = Prediction(WholeView(probability_KHW), segzoo.load(trained.weights).info)
    cut = np.array(prediction.cutout(Image.fromarray(pixels)))
    edge = (alpha > 0.2) & (alpha < 0.8)
    assert pixels[edge][:, 1].mean() > 80, "the photograph's edge is half green"
    assert cut[edge][:, 1].mean() < 45, "the cut-out's is as red as the disc"
    white = np.array(prediction.before(Image.fromarray(pixels), (255, 255, 255)))
    assert (white[alpha == 0] == 255).all()
    assert np.abs(white[alpha == 1].astype(int) - pixels[alpha == 1]).max() <= 1


@pytest.mark.parametrize("how", ["guided", "matting"])
def test_refined_probabilities_follow_the_photograph(how):
    pixels, alpha = disc()
    pixels_CHW = torch.from_numpy(pixels).permute(2, 0, 1)
    before = coarse(alpha)
    after = refined(before, pixels_CHW, how)
    assert torch.allclose(after.sum(0), torch.ones(SIDE, SIDE), atol=1e-5)
    errors = [np.abs(p[1].numpy() - alpha).mean() for p in (before, after)]
    assert errors[1] < 0.4 * errors[0]
    shares = torch.tensor([0.25, 0.75])[:, None, None]
    three = torch.cat([before[:1], before[1:] * shares])
    split = refined(three, pixels_CHW, how)
    assert torch.allclose(split[0], after[0], atol=1e-5)
    assert torch.allclose(split[2], split[1] * 3, atol=1e-5)


def test_cutouts_follow_the_photograph_by_default_and_masks_do_not(trained):
    pixels, alpha = disc()
    pixels_CHW = torch.from_numpy(pixels).permute(2, 0, 1)
    info = segzoo.load(trained.weights).info
    raw, edged = (
        Prediction(WholeView(coarse(alpha)), info, pixels_CHW, edges)
        for edges in ("none", "guided")
    )
    assert np.array_equal(raw.mask, edged.mask)
    assert np.array_equal(np.array(raw.alpha_image()), np.array(edged.alpha_image()))
    for background in (0, 255):
        right = alpha[..., None] * [200, 30, 30] + (1 - alpha[..., None]) * background
        errors = [
            np.abs(np.asarray(one.before(background=(background,) * 3)) - right).mean()
            for one in (raw, edged)
        ]
        assert errors[1] < 0.5 * errors[0]
    opaque = [np.asarray(one.cutout())[..., 3] / 255 for one in (raw, edged)]
    assert np.abs(opaque[1] - alpha).mean() < 0.5 * np.abs(opaque[0] - alpha).mean()
    again = edged.cutout(Image.fromarray(pixels))
    assert np.array_equal(np.asarray(again), np.asarray(edged.cutout()))


@pytest.mark.parametrize(("how", "edges"), [("auto", "guided"), ("none", "none")])
def test_what_is_cut_out_is_refined_unless_it_is_asked_for_otherwise(trained, how, edges):
    segmenter, (pixels, _) = segzoo.load(trained.weights), disc()
    prediction = segmenter.predict(pixels, refine=how)
    assert prediction.edges == edges
    assert torch.equal(prediction.probability_KHW, segmenter.predict(pixels).probability_KHW)
    assert segmenter.predict(pixels, refine="matting").edges == "none"  # It is refined already.


def test_predict_and_evaluate_refine_alike(trained, tmp_path):
    segmenter = segzoo.load(trained.weights)
    pixels, _ = disc()
    plain, fine = (segmenter.predict(pixels, refine=how) for how in ("none", "guided"))
    assert not torch.equal(plain.probability_KHW, fine.probability_KHW)
    expected = refined(plain.probability_KHW, torch.from_numpy(pixels).permute(2, 0, 1), "guided")
    assert torch.allclose(fine.probability_KHW, expected, atol=1e-6)
    scores = [
        evaluate_weights(trained.weights, how=Inference(refine=how), full_size=True)["scores"]
        for how in ("none", "guided")
    ]
    assert scores[0] != scores[1]


def test_the_command_writes_another_background(trained, tmp_path):
    pixels, _ = disc()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.new("RGB", (40, 90), (0, 0, 255)).save(tmp_path / "blue.png")
    for background in ("#0000ff", str(tmp_path / "blue.png")):
        out = tmp_path / f"out{len(background)}"
        done = run_here(
            "predict", str(trained.weights), str(tmp_path / "a.png"), "-o", str(out),
            "--save", "alpha", "--background", background, "--refine", "guided", "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (files,) = json.loads(done.stdout)
        assert list(files) == ["picture", "alpha", "background"]
        prediction = segzoo.load(trained.weights).predict(pixels, refine="guided")
        expected = prediction.before(Image.fromarray(pixels), (0, 0, 255))
        with Image.open(files["background"]) as picture, Image.open(files["alpha"]) as alpha:
            assert np.array_equal(np.array(alpha), np.array(prediction.alpha_image()))
            difference = np.array(picture).astype(int) - np.array(expected)
        assert np.abs(difference).mean() < 6, "but for what JPEG loses"


def test_what_cannot_be_is_said_at_once(trained, folder_root, tmp_path):
    weights = str(trained.weights)
    for words, message in (
        (["--refine", "guide"], "--refine takes auto, guided, matting, none, not `guide`"),
        (["--background", "whit"], "--background: `whit` is neither a colour nor"),
    ):
        done = run_here("predict", weights, str(tmp_path), "-o", str(tmp_path / "o"), *words)
        assert done.returncode == 2
        assert message in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    streets = segzoo.fit(
        model="unet", data="camvid", sample=True, size=32, epochs=1, workers=0,
        model_options={"width": 4, "depth": 2}, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    pixels, _ = disc()
    with pytest.raises(SegzooError, match="--refine guided: the model has no background"):
        segzoo.load(streets.weights).predict(pixels, refine="guided")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    (files,) = predict_files(streets.weights, [tmp_path / "a.png"], tmp_path / "out")
    assert list(files) == ["picture", "mask", "overlay"]
