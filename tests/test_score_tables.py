"""What `segzoo evaluate` prints: classes by metrics, and which class was taken for which."""

import json
from collections import Counter

import pytest
import torch
from helpers import run_here
from PIL import Image
from rich.cells import cell_len

from segzoo import SegzooError
from segzoo.cli import tables
from segzoo.cli.scoring import check_drawn, print_evaluation
from segzoo.metrics.matrix import MOST_CLASSES, MetricSetWithMatrix, shares
from segzoo.report.confusion import draw_matrix

METRICS = ("iou", "dice", "precision", "recall")


def result_of(classes, *, metrics=METRICS, absent=(), counts=None):
    """Return what `evaluate_weights` gives, of made-up scores."""
    scores = {"pixel_accuracy": 0.9, "mean_iou": 0.5}
    for metric in metrics:
        scores |= {f"{metric}/{name}": 0.25 for name in classes if name not in absent}
    result = {
        "data": "segzoo/folder", "split": "test", "pictures": 3, "classes": list(classes),
        "scores": scores, "intervals": dict.fromkeys(scores, (0.125, 0.375)),
        "worst": [], "worst_by": "mean_iou", "unscored": [],
    }  # fmt: skip
    if counts is not None:
        result["confusion"] = {"counts": counts, "shares": shares(torch.tensor(counts))}
    return result


@pytest.fixture
def wide(monkeypatch):
    """Set how many characters a line may have."""
    return lambda width: monkeypatch.setattr(tables, "width", lambda: width)


def shown(capsys, result):
    print_evaluation(result)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "value", [0.0, 0.8123456, 0.81299, 0.99996, 3.00049, 9.99996, 10.04, 1234.56]
)
@pytest.mark.parametrize("spread", [0.0, 1e-13, 1e-5, 0.3])
def test_a_score_is_never_outside_the_interval_as_printed(value, spread):
    interval = (value - spread * value, value + spread * value)
    told = float(tables.number(value).replace(",", ""))
    for decimals in (3, 4):
        low, high = (float(t.replace(",", "")) for t in tables.ends(interval, decimals))
        assert low <= told <= high
        assert high - low <= 2 * spread * value + (0.2 if value > 9 else 0.002)
    low, high = map(float, tables.interval_text(interval, signed=True).split(".."))
    assert low <= value <= high or spread < 1e-9


def test_exact_ends_stay_as_they_are():
    assert tables.ends((0.125, 0.375), 4) == ("0.1250", "0.3750")
    assert tables.ends((0.3, 0.7), 3) == ("0.300", "0.700")
    assert tables.interval_text((-0.1, 0.2)) == "-0.100..+0.200"


def test_without_intervals_the_pictures_are_too_few(capsys, wide):
    wide(80)
    text = shown(capsys, {**result_of(("a", "b")), "intervals": {}})
    assert text.count("too few pictures") == 2


@pytest.mark.parametrize(
    ("width", "metrics", "classes"),
    [
        (200, METRICS, ("background", "person")),
        (80, METRICS, ("background", "person")),
        (80, (*METRICS, "boundary_iou", "boundary_f", "x"), tuple(f"class {n}" for n in range(21))),
        (80, ("iou",), ("a" * 120, "\u4eba\u884c\u9053" * 20, "a/b")),
        (40, METRICS, ("background", "person")),
    ],
)
def test_every_class_is_a_row_and_no_number_is_broken(capsys, wide, width, metrics, classes):
    wide(width)
    text = shown(capsys, result_of(classes, metrics=metrics))
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert text.count("0.2500") == len(metrics) * len(classes)
    assert text.count("(0.125-0.375)") == len(metrics) * len(classes)
    for metric in metrics:
        assert f" {metric}" in text
    assert "iou/" not in text


def test_overall_scores_stand_above_the_classes(capsys, wide):
    wide(80)
    text = shown(capsys, result_of(("a", "b")))
    assert text.index("mean_iou") < text.index("class")
    assert "0.1250 to 0.3750" in text


def test_a_class_that_nobody_saw_is_a_row_of_dashes(capsys, wide):
    wide(80)
    text = shown(capsys, result_of(("a", "ghost", "b"), absent=("ghost",)))
    row = next(line for line in text.splitlines() if line.split()[:1] == ["ghost"])
    assert row.split() == ["ghost", "-", "-", "-", "-"]
    assert "in no mask and no prediction, and in no mean: ghost" in text


def test_names_that_terminals_obey_are_escaped(capsys, wide):
    wide(80)
    text = shown(capsys, result_of(("a\u202eb", "[bold]c")))
    assert "\u202e" not in text
    assert "a\\u202eb" in text
    assert "[bold]c" in text


def test_two_classes_show_shares_and_counts(capsys, wide):
    wide(80)
    text = shown(capsys, result_of(("a", "b"), counts=[[750, 250], [0, 0]]))
    assert "75.0 % (750)" in text
    assert "25.0 % (250)" in text
    assert "- (0)" in text


def test_twenty_classes_show_whole_shares_by_number(capsys, wide):
    wide(120)
    count = 21
    counts = [[1000 if a == b else 10 for b in range(count)] for a in range(count)]
    text = shown(capsys, result_of([f"c{n}" for n in range(count)], metrics=(), counts=counts))
    assert max(map(len, text.splitlines())) <= 120
    assert "20 c20" in text
    assert text.count("83") == count


def test_very_many_classes_show_the_pairs_that_are_confused_most(capsys, wide):
    wide(80)
    counts = [[0] * 150 for _ in range(150)]
    counts[7][9], counts[7][7], counts[3][4] = 30, 10, 5
    text = shown(capsys, result_of([f"c{n}" for n in range(150)], metrics=(), counts=counts))
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["c7"], ["c3"])]
    assert rows == [["c7", "c9", "30", "75.0", "%"], ["c3", "c4", "5", "100.0", "%"]]
    assert "of 2 pairs" in text


def test_the_matrix_counts_as_one_pixel_after_the_other():
    random = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (5, 6, 7), generator=random)
    guess = torch.randint(0, 3, truth.shape, generator=random)
    truth[:, 0] = 255
    metrics = MetricSetWithMatrix("", classes=("a", "b", "c"), ignore_index=255, target="labels")
    metrics.start()
    for part in (slice(0, 2), slice(2, 5)):
        logits = torch.nn.functional.one_hot(guess[part], 3).movedim(-1, 1).float()
        metrics.update(logits, truth[part])
    pairs = Counter(
        (t, g) for t, g in zip(truth.flatten().tolist(), guess.flatten().tolist(), strict=True)
        if t != 255
    )  # fmt: skip
    assert metrics.matrix().tolist() == [
        [pairs[row, column] for column in range(3)] for row in range(3)
    ]
    scores = metrics.compute()
    hits = metrics.matrix().diagonal().sum() / metrics.matrix().sum()
    assert scores["pixel_accuracy"] == pytest.approx(float(hits))
    metrics.start()
    assert metrics.matrix().sum() == 0


def test_shares_add_up_to_one_and_a_class_without_pixels_has_none():
    found = shares(torch.tensor([[1, 3, 0], [0, 0, 0], [0, 0, 5]]))
    assert found == [[0.25, 0.75, 0.0], [None] * 3, [0.0, 0.0, 1.0]]


def test_a_matrix_that_nobody_reads_is_refused():
    names = tuple(map(str, range(MOST_CLASSES + 1)))
    with pytest.raises(SegzooError, match="--confusion: a matrix of 2049 classes"):
        MetricSetWithMatrix("", classes=names, ignore_index=None, target="labels")


@pytest.mark.parametrize("name", ["matrix", "matrix.jpg", "matrix.csv"])
def test_a_drawing_needs_an_ending_that_is_drawn(name, tmp_path):
    with pytest.raises(SegzooError, match="end it in .png, .svg, .pdf"):
        check_drawn(tmp_path / name)


@pytest.mark.parametrize("count", [2, 21])
def test_the_matrix_is_drawn(rendered_figures, tmp_path, count):
    counts = [[(a == b) * 90 + a for b in range(count)] for a in range(count)]
    names = ["\u4eba\u884c\u9053", "a" * 80, *map(str, range(count - 2))]
    draw_matrix(counts, names, tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as picture:
        assert min(picture.size) > 400


def test_evaluate_gives_the_matrix_in_json_and_in_text(rendered_figures, tmp_path):
    import segzoo

    weights = segzoo.fit(
        model="linknet", data="hk", sample=True, size=32, epochs=1, workers=0, progress=False,
        out=tmp_path / "run", model_options={"width": 4},
    ).weights  # fmt: skip
    words = ("evaluate", str(weights), "--split", "val", "--confusion-png", str(tmp_path / "m.png"))
    found = json.loads(run_here(*words, "--json").stdout)
    assert found["classes"] == ["background", "person"]
    total = sum(map(sum, found["confusion"]["counts"]))
    hits = sum(found["confusion"]["counts"][place][place] for place in range(2))
    assert found["scores"]["pixel_accuracy"] == pytest.approx(hits / total)
    assert (tmp_path / "m.png").is_file()
    assert "confusion" not in json.loads(run_here(*words[:4], "--json").stdout)
    assert "columns: predicted" in run_here(*words[:4], "--confusion").stdout
