"""What a mistyped name, a wrong file or a long wait is told, and when."""

import io
import json
import pickle
import sys

import pytest
from helpers import run_here, untrained_run
from PIL import Image

import segzoo
from segzoo.data.standin import shapes
from segzoo.errors import MANY, SegzooError, choices
from segzoo.host import progress
from segzoo.inference.inputs import collect
from segzoo.train.folders import refuse_finished
from segzoo.train.recovery.state import read_generations


def test_of_many_names_the_closest_alone_is_named_and_of_few_all():
    many = [f"name{number}" for number in range(MANY)] + ["unet"]
    assert choices("unett", many, how="see there") == "did you mean `unet`? see there"
    assert "name0" in choices("other", many)
    assert choices("a", ["ab", "c"]).endswith("there is: ab, c")
    unknown = run_here("train", "--model", "linknt", "--data", "folder").stderr
    assert "did you mean `linknet`? `segzoo list models` lists all" in unknown
    assert len(unknown.splitlines()) == 2 and "unet" not in unknown


def test_no_line_of_a_hint_ends_in_a_space():
    error = SegzooError("no", "did you mean `x`? \nsecond ")
    assert error.hint == "did you mean `x`?\nsecond"
    with pytest.raises(SegzooError, match=r"a training has no setting `epoch`\n.*`epochs`\?$"):
        segzoo.fit(model="unet", data="hk", epoch=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["num_classes", "in_channels"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2", None])
def test_a_network_without_classes_or_channels_is_refused(name, value):
    with pytest.raises(SegzooError, match=f"{name} is {value!r}\ngive a whole number from 1 on"):
        segzoo.create_model("unet", **{name: value})


FILES = {
    "config.toml": (b'model = "unet"\n', "a TOML file"),
    "summary.json": (json.dumps({"a": 1}).encode(), "a JSON file"),
    "notes.txt": ("Überschrift\n".encode(), "a text file"),
    "a.zip": (b"PK\x03\x04" + bytes(99), "a ZIP archive"),
    "a.pth": (pickle.dumps({"a": [1.0]}), "a Python pickle"),
    "a.safetensors": (b"", "empty"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_given_for_weights_is_called_what_it_is(tmp_path, name):
    content, what = FILES[name]
    (tmp_path / name).write_bytes(content)
    told = run_here("inspect", str(tmp_path / name))
    assert told.returncode == 2
    assert f"{name} is {what}, not a safetensors file" in told.stderr
    way = "segzoo import" if name == "a.pth" else "best.safetensors"
    assert way in told.stderr.splitlines()[1]


def test_a_settings_file_given_for_weights_names_the_weights_beside_it(tmp_path):
    run = untrained_run(tmp_path / "run")
    told = run_here("inspect", str(run / "config.toml")).stderr
    assert told.splitlines()[1].strip() == f"give {run / 'best.safetensors'}"
    assert run_here("inspect", str(run)).returncode == 0


def test_a_text_that_is_named_as_a_picture_is_told_by_its_content(tmp_path):
    (tmp_path / "a.jpg").write_text("no picture at all")
    with pytest.raises(SegzooError, match="a.jpg is not a picture\nits content is a text file"):
        segzoo.data.images.read_image(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_bytes(bytes(range(200)))
    with pytest.raises(SegzooError, match="b.png is not a picture\nits content is no image"):
        segzoo.data.images.read_image(tmp_path / "b.png")


MISTYPED = {
    "loss": (("--loss", "ce + dise"), "unknown loss `dise`"),
    "an option of a loss": (("--loss", "dice(smoth=1)"), "no option `smoth`"),
    "metric": (("--metrics", "bundary"), "unknown metric `bundary`"),
}


@pytest.mark.parametrize("name", MISTYPED)
def test_mistyped_names_are_told_before_data_is_looked_for(tmp_path, name):
    flags, told = MISTYPED[name]
    root = str(tmp_path / "not there")
    words = ("train", "--model", "unet", "--data", "folder", "--root", root)
    assert told in run_here(*words, *flags).stderr
    assert "not there" in run_here(*words).stderr


def test_a_mistyped_split_is_told_before_anything_is_read(tmp_path):
    for words in (("evaluate", str(tmp_path / "none")), ("data", "preview", "folder")):
        told = run_here(*words, "--split", "tests").stderr
        assert told.startswith("error: --split tests: no such split\n  did you mean `test`?")
    metrics = run_here("evaluate", str(tmp_path / "none"), "--metrics", "bundary").stderr
    assert "unknown metric `bundary`" in metrics
    with pytest.raises(SegzooError, match="--split tests"):
        segzoo.evaluate(tmp_path / "none", split="tests")


def test_a_finished_run_is_refused_before_its_data_is_looked_for(hk_root, tmp_path):
    out = tmp_path / "run"
    how = {"model_options": {"width": 4}, "size": 32, "epochs": 2, "workers": 0}
    segzoo.fit(model="linknet", data="hk", root=hk_root, out=out, progress=False, **how)
    hk_root.rename(tmp_path / "gone")
    with pytest.raises(SegzooError, match="trained for 2 epochs\ngive more with --epochs, 3 or"):
        segzoo.fit(resume=out)
    with pytest.raises(SegzooError, match="trained for 2 epochs; --epochs 1 is fewer\ngive more"):
        segzoo.fit(resume=out, epochs=1)
    with pytest.raises(SegzooError, match="hk"):  # Here the data is needed.
        segzoo.fit(resume=out, epochs=3)
    refuse_finished(out, read_generations(out)[0].values["epoch"] + 1)


def test_pictures_given_twice_are_segmented_once_and_counted_as_one(tmp_path, caplog):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, path in enumerate(paths):
        shapes(number)[0].save(path)
    with caplog.at_level("INFO", "segzoo"):
        assert [path for path, _ in collect([paths[0], paths[0], tmp_path])] == paths
    (said,) = caplog.messages
    assert said == f"given more than once, and segmented once: {paths[0]}, {paths[0]}"
    caplog.clear()
    with caplog.at_level("INFO", "segzoo"):
        collect(paths)
    assert not caplog.messages
    out = str(tmp_path / "out")
    run = untrained_run(tmp_path / "run")
    told = run_here("predict", str(run), str(paths[0]), "-o", out, "--save", "mask").stdout
    assert told == f"1 picture segmented into {out}\n"
    assert Image.open(tmp_path / "out" / "a_mask.png").mode == "P"


def test_a_log_is_told_of_long_work_that_is_counted_and_of_nothing_else(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    waits = iter([1.0, 5.0, 11.0, 12.0, 31.0, 60.0])

    class Over:
        def wait(self, _seconds: float) -> bool:
            clock[0] = next(waits, None) or 0.0
            return not clock[0]

    log = progress._Log.__new__(progress._Log)
    log._over = Over()  # type: ignore[assignment]
    log._text, log._count, log._total = "", 0, 0
    log.says("segmenting pictures", 40)
    log.advance(3)
    log._watch()
    assert told.getvalue().splitlines() == [
        "segzoo: segmenting pictures: 3 of 40 after 11 s",
        "segzoo: segmenting pictures: 3 of 40 after 31 s",
    ]
    told.truncate(0)
    for text, total, done in (("starting", None, 0), ("done", 4, 9)):
        log.says(text, total)
        log.advance(done)
        waits = iter([100.0])
        log._watch()
    assert not told.getvalue().strip("\0")


def test_evaluating_counts_its_pictures(hk_root, tmp_path):
    from segzoo.inference.evaluation import evaluate_weights
    from segzoo.inference.settings import Inference

    class Counting(progress.Waiting):
        def __init__(self) -> None:
            self.total, self.done_ = 0, 0

        def says(self, text: str, total: int | None = None) -> None:
            assert text == "scoring `test`"
            self.total = total or 0

        def advance(self, count: int = 1) -> None:
            self.done_ += count

    run = untrained_run(tmp_path / "run")
    for how in (Inference(batch_size=1), Inference(window=32)):
        shown = Counting()
        evaluate_weights(
            run, data="hk", root=str(hk_root), split="test", how=how, shown=shown, device="cpu"
        )
        assert shown.done_ == shown.total > 0
