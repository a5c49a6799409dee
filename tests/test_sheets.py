"""Sheets and curves: which pictures they show, what is written on them, and in which letters."""

import math
import unicodedata

import numpy as np
import pytest
import torch
from PIL import Image

import segzoo
from segzoo.data.checks.variety import different, spread, thumbnail, varied
from segzoo.data.loading.batches import Batches
from segzoo.data.sample import PALETTE_OF_TWO, DataInfo, default_palette, voc_palette
from segzoo.report import lettering
from segzoo.report.contrast import ERRORS, PALE, RED, apart, error_colour
from segzoo.report.lettering import drawable, font_of, shortened
from segzoo.report.runs import PANELS, draw_curves, ends_of
from segzoo.report.sheet import (
    UNLABELLED,
    Entry,
    coloured,
    error_map,
    legend_of,
    save_grid,
    share_shown,
)

PEOPLE = "\u884c\u4eba"


def info_of(count, target="labels"):
    return DataInfo(
        identity="a/b", version="1", classes=tuple(f"class {n}" for n in range(count)),
        palette=voc_palette(count), target=target, ignore_index=255,
    )  # fmt: skip


def frames(streets, of_each):
    """Pictures of streets, each as many frames that hardly differ, one street after the other."""
    random = torch.Generator().manual_seed(0)
    for _ in range(streets):
        street = torch.randint(0, 256, (3, 8, 8), generator=random).float()
        for _ in range(of_each):
            yield (street + torch.randn(3, 8, 8, generator=random)).clamp(0, 255)


def test_of_each_street_one_frame_is_taken():
    thumbnails = [thumbnail(frame) for frame in frames(6, 20)]
    chosen = different(thumbnails, 6)
    assert sorted(place // 20 for place in chosen) == list(range(6))
    assert chosen == different(thumbnails, 6)


def test_given_pictures_come_first_and_others_differ_from_them():
    thumbnails = [thumbnail(frame) for frame in frames(4, 10)]
    chosen = different(thumbnails, 4, given=[39, 5])
    assert chosen[:2] == [39, 5]
    assert {place // 10 for place in chosen} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("there", "asked", "given"), [(0, 3, ()), (2, 5, ()), (3, 2, (2, 1, 0)), (4, 6, (3,))]
)
def test_no_picture_is_shown_twice(there, asked, given):
    same = [torch.zeros(4)] * there
    chosen = different(same, asked, given)
    assert len(chosen) == len(set(chosen)) == min(there, asked)


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (6, 5), (1000, 150), (151, 150)])
def test_places_are_spread_from_end_to_end(count, most):
    places = spread(count, most)
    assert len(places) == min(count, most)
    assert (places[0], places[-1]) == (0, count - 1 if most > 1 else 0)


class Stream:
    """Frames that can only be read one after the other."""

    def __iter__(self):
        for number, frame in enumerate(frames(3, 5)):
            yield frame.to(torch.uint8), torch.zeros(8, 8, dtype=torch.uint8), f"{number}"


class Split(list):
    """The same by index; `bad` cannot be read."""

    bad = -1

    def __getitem__(self, index):
        if index == self.bad:
            raise segzoo.SegzooError("it is broken")
        return super().__getitem__(index)


def batches_of(dataset, **how):
    return Batches(dataset, info_of(2), size=(8, 8), batch_size=2, workers=0, cache="none", **how)


def test_streams_and_splits_show_pictures_that_differ():
    for dataset in (Stream(), Split(Stream())):
        chosen = varied(batches_of(dataset), range(15), 3)
        assert sorted(int(sample.key) // 5 for _, sample in chosen) == [0, 1, 2]


def test_what_cannot_be_read_is_passed_over_or_named():
    split = Split(Stream())
    split.bad = 4
    keys = [s.key for _, s in varied(batches_of(split, skip_bad=True), [4, 0, 14], 3, first=1)]
    assert keys == ["0", "14"] or keys == ["14", "0"]
    with pytest.raises(segzoo.SegzooError, match="it is broken"):
        varied(batches_of(split), [4, 0], 2)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("a.jpg", "a.jpg"),
        (unicodedata.normalize("NFD", "m\u00fcnchen.jpg"), "m\u00fcnchen.jpg"),
        ("a\x07b\nc", r"a\x07b\nc"),
        ("a\udcffb", r"a\xffb"),
        ("\u0416\u03b1", "\u0416\u03b1"),
    ],
)
def test_names_are_drawn_as_they_are_or_escaped(text, drawn):
    assert drawable(text) == drawn


def test_without_a_font_characters_are_escaped_and_with_one_drawn(monkeypatch):
    monkeypatch.setattr(lettering, "_wide", lambda: ())
    assert drawable(f"{PEOPLE}.jpg") == r"\u884c\u4eba.jpg"
    monkeypatch.setattr(lettering, "_wide", lambda: ("cjk",))
    usual = lettering._characters
    letters = frozenset(map(ord, f"{PEOPLE}.jpg"))
    monkeypatch.setattr(
        lettering, "_characters", lambda path: letters if path == "cjk" else usual(path)
    )
    assert drawable(f"{PEOPLE}.jpg") == f"{PEOPLE}.jpg"
    assert font_of(PEOPLE) == "cjk"


@pytest.mark.parametrize(
    ("text", "most"), [("a", 5), ("a" * 100, 20), (PEOPLE * 30, 9), ("abcdef", 6)]
)
def test_long_names_keep_their_beginning_and_end(text, most):
    short = shortened(text, most)
    assert len(short) <= most
    assert (short[0], short[-1]) == (text[0], text[-1])
    assert (short == text) == (len(text) <= most)


def test_the_legend_has_every_class_or_of_many_those_shown():
    target = torch.tensor([[0, 1], [149, 255]])
    few = legend_of(info_of(21), [target.clamp(max=20)])
    assert [entry.name for entry in few] == [f"class {n}" for n in range(21)]
    many = legend_of(info_of(150), [target])
    assert [entry.name for entry in many] == ["class 0", "class 1", "class 149", "not labelled"]
    assert many[2].colour == voc_palette(150)[149]
    assert many[3].colour == UNLABELLED
    ends = legend_of(info_of(2, "alpha"), [])
    assert [(entry.name, entry.colour[0]) for entry in ends] == [("class 0", 0), ("class 1", 255)]


@pytest.mark.parametrize(
    ("target", "count", "grey"),
    [
        (torch.tensor([[0, 1, 255]], dtype=torch.uint8), 2, [2]),
        (torch.tensor([[0, 299, 300, -1]], dtype=torch.int32), 300, [2, 3]),
        (torch.tensor([[0, 255, 65535]], dtype=torch.int32), 256, [2]),
    ],
)
def test_ids_that_are_no_class_are_grey(target, count, grey):
    pixels = np.asarray(coloured(target, info_of(count)))[0]
    palette = voc_palette(count)
    for place, label in enumerate(target[0].tolist()):
        expected = UNLABELLED if place in grey else palette[label]
        assert tuple(pixels[place]) == expected


def test_an_alpha_is_grey_by_its_share():
    pixels = np.asarray(coloured(torch.tensor([[0.0, 0.5, 1.0]]), info_of(2, "alpha")))
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


def test_wrong_pixels_are_coloured_and_right_ones_are_not():
    image = Image.new("RGB", (3, 1), (0, 200, 0))
    pixels = np.asarray(error_map(image, torch.tensor([[0.0, 0.5, 1.0]]), RED))[0]
    assert tuple(pixels[2]) == RED
    assert len(set(pixels[0].tolist())) == 1
    assert pixels[0, 1] > pixels[1, 1] > pixels[2, 1]


def test_what_is_white_stays_white_among_errors():
    grey = np.arange(256, dtype=np.uint8)
    pixels = np.asarray(error_map(Image.fromarray(grey[None]), torch.zeros(1, 256), RED))
    assert (np.diff(pixels[0, :, 0].astype(int)) >= 0).all()
    assert (pixels.min(), pixels.max()) == (128, 255)


def test_distances_of_colours_are_those_of_cielab():
    found = apart([(255, 255, 255), (255, 0, 0)], [(0, 0, 0), (255, 0, 0), (0, 255, 0)])
    assert found[0, 0] == pytest.approx(100, abs=0.1)
    assert found[1].tolist() == pytest.approx([117.3, 0, 170.6], abs=0.2)


PALETTES = {
    "of reds": [(0, 0, 0), (232, 60, 60)],
    "of a matte": [(0, 0, 0), (255, 255, 255)],
    "of two unnamed": list(PALETTE_OF_TWO),
    "of masks": [(0, 0, 0), (0xC8, 0x1E, 0x1E), (0x1E, 0xC8, 0x1E)],
    "bright": [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255)],
    **{f"of VOC, {count}": list(voc_palette(count)) for count in (2, 3, 8)},
}


@pytest.mark.parametrize("used", PALETTES.values(), ids=PALETTES)
def test_errors_have_a_colour_far_from_those_of_the_classes(used):
    colour = error_colour(used)
    assert apart([colour], [*used, *PALE]).min() > 50
    assert error_colour(reversed(used)) == colour


def test_errors_are_red_where_that_stands_out():
    assert error_colour([(0, 0, 0), (255, 255, 255)]) == RED
    assert error_colour([(0, 0, 0), (232, 60, 60)]) != RED
    assert error_colour(voc_palette(200)) in ERRORS


@pytest.mark.parametrize("size", [(32, 32), (480, 360), (50, 400)])
def test_a_sheet_has_room_for_long_names_and_many_classes(tmp_path, size):
    row = [Image.new("RGB", size)] * 4
    legend = [Entry(f"{PEOPLE} class with a long name {n}", voc_palette(40)[n]) for n in range(40)]
    captions = ["a" * 300, f"{PEOPLE * 50}.jpg   mean IoU 0.1234   worst"]
    titles = ("image", "truth", "prediction", "errors")
    for name, more in (("plain", {}), ("full", {"captions": captions, "legend": legend})):
        save_grid([row, row], titles, tmp_path / f"{name}.png", **more)
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "full.png") as full:
        assert plain.width == full.width
        assert full.height > plain.height + 2 * 20
        margin = np.asarray(full.convert("L"))[:, -3:]
    assert margin.min() == 255  # No letter reaches the edge.


def test_labels_are_scaled_without_new_colours(tmp_path):
    labels = coloured(torch.tensor([[0, 1], [2, 1]]), info_of(3))
    save_grid([[labels]], ("t",), tmp_path / "s.png", sharp=(0,))
    with Image.open(tmp_path / "s.png") as sheet:
        inside = sheet.crop((60, 60, 200, 200)).convert("RGB")
        found = {colour for _, colour in inside.getcolors(1000) or ()}
    assert found <= set(voc_palette(3))


def history(epochs, **scores):
    return [
        {
            "epoch": n,
            "lr": 0.1 / n,
            "train": {"loss": 1 / n, **scores},
            "val": {"loss": 1.0, **scores},
        }
        for n in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"mean_iou": 0.5, "pixel_accuracy": 0.5},
        {"mad": 0.1, "mean_iou": 0.5, "pixel_accuracy": 0.5},
    ],
)
def test_curves_draw_the_rate_and_mark_the_kept_epoch(tmp_path, monkeypatch, scores):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, path: drawn.append(figure) or path.touch()
    )
    draw_curves(
        history(9, **scores), ["train", "val"], tmp_path / "c.png", title=PEOPLE * 40, kept=4
    )
    panels = [axes for axes in drawn[0].axes if axes.get_title()]
    assert {axes.get_title() for axes in panels} >= {PANELS["loss"], PANELS["lr"]}
    assert len(panels) == 2 + len(scores)
    for axes in panels:
        assert any(list(line.get_xdata()) == [4, 4] for line in axes.lines)
    assert "kept: epoch 4" in [text.get_text() for text in panels[0].get_legend().get_texts()]
    rates = next(axes for axes in panels if axes.get_title() == PANELS["lr"]).lines[0]
    assert list(rates.get_ydata()) == pytest.approx([0.1 / n for n in range(1, 10)])
    draw_curves(history(1), ["train"], tmp_path / "c.png", title="x")
    for figure in drawn:
        ticks = [tick for axes in figure.axes if axes.get_title() for tick in axes.get_xticks()]
        assert ticks and all(tick == round(tick) for tick in ticks)
    assert "kept: epoch 0" not in str(drawn[1].axes[0].get_legend_handles_labels())


@pytest.mark.parametrize("data", [{}, {"data_options": {"matte": "soft"}}])
def test_predictions_show_the_worst_the_median_and_the_best(tmp_path, monkeypatch, data):
    from segzoo.report import runs as report

    shown = {}
    monkeypatch.setattr(report, "save_grid", lambda rows, titles, path, **how: shown.update(how))
    segzoo.fit(
        model="linknet", data="hk", sample=True, size=32, epochs=1, workers=0, progress=False,
        out=tmp_path / "run", model_options={"width": 4}, **data,
    )  # fmt: skip
    captions = shown["captions"]
    assert len({caption.split()[0] for caption in captions}) == 6
    assert [caption.split()[-1] for caption in captions[:3]] == ["worst", "median", "best"]
    word = "MAD" if data else "mean IoU"
    values = [float(caption.partition(word)[2].split()[0]) for caption in captions]
    assert sorted(values[:3], reverse=bool(data)) == values[:3]
    assert shown["heading"] == "test: 6 of 12 pictures, weights of epoch 1 of 1"
    assert [entry.name for entry in shown["legend"]][-1].startswith("wrong")
    assert (tmp_path / "run" / "curves.png").is_file()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.5,), {}),
        ((0.9, 0.5), {1: "worst", 0: "best"}),
        ((0.5, 0.5), {}),
        ((0.9, math.nan, 0.5), {2: "worst", 0: "best"}),
        ((0.9, 0.7, 0.5), {2: "worst", 1: "median", 0: "best"}),
        ((math.nan,), {}),
    ],
)
def test_few_pictures_are_ranked_as_far_as_they_can_be(scores, expected):
    assert ends_of(np.array(scores), higher_is_better=True) == expected
    turned = {"worst": "best", "best": "worst"}
    lower = {place: turned.get(rank, rank) for place, rank in expected.items()}
    assert ends_of(np.array(scores), higher_is_better=False) == lower


@pytest.mark.parametrize(
    ("shown", "there", "text"),
    [
        (6, 12, "6 of 12 pictures"),
        (1, 1, "1 picture"),
        (3, None, "3 pictures"),
        (2, 2, "2 pictures"),
    ],
)
def test_a_sheet_says_how_many_pictures_it_shows(shown, there, text):
    assert share_shown(shown, there) == text


def test_a_heading_stands_above_the_titles(tmp_path):
    row = [Image.new("RGB", (40, 40))] * 2
    save_grid([row], ("a", "b"), tmp_path / "plain.png")
    save_grid([row], ("a", "b"), tmp_path / "headed.png", heading="test: " + "a" * 200)
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "headed.png") as headed:
        assert headed.height > plain.height and headed.width == plain.width
        assert np.asarray(headed.convert("L"))[:, -3:].min() == 255


def test_two_classes_without_colours_of_their_own_have_bright_ones():
    assert max(default_palette(2)[1]) == 255
    assert default_palette(3) == voc_palette(3)
