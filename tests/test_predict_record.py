"""What `segzoo predict` replaces, and what it takes for pictures."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segzoo
from segzoo.errors import SegzooError
from segzoo.inference.files import predict_files
from segzoo.inference.inputs import collect
from segzoo.inference.outputs import check_targets, jobs_for, new_folder
from segzoo.inference.record import FOLDER, Command, Record
from segzoo.inference.settings import Inference

KINDS = ("mask", "overlay")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return segzoo.fit(
        model="unet", data="hk", sample=True, size=32, epochs=1, workers=0, precision="fp32",
        model_options={"width": 4, "depth": 2}, out=tmp_path_factory.mktemp("tiny") / "run",
        progress=False,
    ).weights  # fmt: skip


def picture(path, value=90, size=(20, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    for name in ("0.jpg", "1.jpg"):
        picture(tmp_path / "photos" / name)
    return tmp_path / "photos"


def segmented(weights, given, out, **settings):
    """Return the names of the pictures that were segmented."""
    files = predict_files(weights, [given], out, save=KINDS, precision="fp32", **settings)
    return [Path(entry["picture"]).name for entry in files]


@pytest.mark.parametrize("where", [".", "pred", "deep/pred"])
def test_what_was_written_is_no_picture(weights, photos, where):
    for _ in range(3):
        assert segmented(weights, photos, photos / where) == ["0.jpg", "1.jpg"]
    assert segmented(weights, photos, photos.parent / "elsewhere") == ["0.jpg", "1.jpg"]
    (line,) = predict_files(weights, [photos / "0.jpg"], photos / where, save="mask")
    with pytest.raises(SegzooError, match=r"no pictures in .*0_mask.png: .* written by segzoo"):
        predict_files(weights, [photos / where / "0_mask.png"], photos.parent / "third")
    assert line["mask"] == str(photos / where / "0_mask.png")


def test_another_kind_of_an_earlier_run_is_no_picture_either(weights, photos):
    predict_files(weights, [photos], photos, save="overlay")
    (first, _) = predict_files(weights, [photos], photos, save="alpha")
    assert set(first) == {"picture", "alpha"}
    assert len(list(photos.glob("*.*"))) == 7  # and the record


@pytest.mark.parametrize("name", ["0_mask.png", "1_overlay.jpg", "1_mask.png"])
def test_a_file_that_it_did_not_write_is_not_replaced(weights, photos, tmp_path, name, monkeypatch):
    truth = picture(tmp_path / "out" / name, 255).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("segzoo.inference.files.load", None)  # Nothing is loaded before.
        with pytest.raises(SegzooError, match=rf"1 file in .* replaced \(not written .*{name}"):
            segmented(weights, photos, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert (tmp_path / "out" / name).read_bytes() == truth
    assert segmented(weights, photos, tmp_path / "out", overwrite=True) == ["0.jpg", "1.jpg"]
    assert (tmp_path / "out" / name).read_bytes() != truth
    assert segmented(weights, photos, tmp_path / "out") == ["0.jpg", "1.jpg"]


def test_hand_made_masks_beside_pictures_stay(weights, photos, caplog):
    masks = [picture(photos / f"{n}_mask.png", 255) for n in range(2)]
    before = [path.read_bytes() for path in masks]
    with pytest.raises(SegzooError, match=r"2 files in .* replaced \(not written by segzoo "):
        segmented(weights, photos, photos)
    assert [path.read_bytes() for path in masks] == before
    assert "2 files" in caplog.text
    assert "masks of pictures beside them" in caplog.text


def changed_by_hand(out, photos):
    picture(out / "0_mask.png", 7)


def same_bytes_later(out, photos):
    os.utime(out / "0_mask.png", (1, 1))


def copied_away(out, photos):
    shutil.copy(out / "0_mask.png", out / "x")
    (out / "x").replace(out / "0_mask.png")


def removed(out, photos):
    (out / "0_mask.png").unlink()


def linked(out, photos):
    (out / "0_mask.png").rename(out.parent / "kept.png")
    (out / "0_mask.png").symlink_to(out.parent / "kept.png")


def record_lost(out, photos):
    shutil.rmtree(out / FOLDER)


def record_cut(out, photos):
    path = out / FOLDER / "0.jsonl"
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed_by_hand, "changed since segzoo predict wrote it"),
        (same_bytes_later, ""),
        (copied_away, ""),
        (removed, ""),
        (linked, "not written by segzoo predict"),
        (record_lost, "not written by segzoo predict"),
        (record_cut, r"1 file in .* would be replaced \(not written by segzoo predict: "),
    ],
)
def test_what_becomes_of_written_files(weights, photos, tmp_path, change, said):
    out = tmp_path / "out"
    segmented(weights, photos, out)
    change(out, photos)
    if not said:
        assert len(segmented(weights, photos, out)) == 2
        return
    with pytest.raises(SegzooError, match=said) as caught:
        segmented(weights, photos, out)
    assert "--overwrite" in caught.value.hint
    assert len(segmented(weights, photos, out, overwrite=True)) == 2
    assert len(segmented(weights, photos, out)) == 2


def test_another_command_replaces_nothing(weights, photos, tmp_path):
    out = tmp_path / "out"
    assert len(segmented(weights, photos, out)) == 2
    for other in ({"how": Inference(flip=True)}, {"how": Inference(size=48)}):
        with pytest.raises(SegzooError, match="written with other weights or settings"):
            segmented(weights, photos, out, **other)
    assert len(segmented(weights, photos, out, how=Inference(batch_size=1))) == 2
    copy = shutil.copy(weights, tmp_path / "copy.safetensors")
    assert len(segmented(copy, photos, out)) == 2  # The same weights.
    others = tmp_path / "others"
    picture(others / "1.jpg")
    picture(others / "2.jpg")
    with pytest.raises(SegzooError, match=r"made of another picture: \S*1_mask.png"):
        segmented(weights, others, out)
    picture(photos / "0.png")
    assert segmented(weights, photos, out) == ["0.jpg", "0.png", "1.jpg"]
    (photos / "0.jpg").unlink()
    with pytest.raises(SegzooError, match="made of another picture"):
        segmented(weights, photos, out)


def test_other_weights_of_the_same_name_replace_nothing(weights, photos, tmp_path):
    two = segzoo.fit(
        model="unet", data="hk", sample=True, size=32, epochs=1, workers=0, precision="fp32",
        model_options={"width": 4, "depth": 2}, out=tmp_path / "two", seed=1, progress=False,
    )  # fmt: skip
    copy = tmp_path / "best.safetensors"
    shutil.copy(weights, copy)
    assert len(segmented(copy, photos, tmp_path / "out")) == 2
    shutil.copy(two.weights, copy)
    with pytest.raises(SegzooError, match="written with other weights"):
        segmented(copy, photos, tmp_path / "out")


def test_what_a_killed_run_wrote_is_known(weights, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    real = Record.note

    def killed(record, target, *rest):
        real(record, target, *rest)
        if target.name == "1_mask.png":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Record, "note", killed)
        with pytest.raises(KeyboardInterrupt):
            segmented(weights, photos, out)
    with (out / FOLDER / "0.jsonl").open("ab") as file:
        file.write(b'{"file": "2_ma')
    assert (out / "0_mask.png").is_file()
    assert not (out / "1_mask.png").exists()
    assert len(segmented(weights, photos, out)) == 2
    assert len(segmented(weights, photos, out)) == 2


def test_an_old_file_is_still_known_where_a_new_one_did_not_come(weights, photos, tmp_path):
    out = tmp_path / "out"
    segmented(weights, photos, out)
    record = out / FOLDER / "0.jsonl"
    lines = [json.loads(line) for line in record.read_bytes().splitlines()]
    lost = {**next(line for line in lines if line.get("file") == "0_mask.png"), "digest": "00"}
    with record.open("a") as file:
        file.write(json.dumps({**lost, "size": 1}) + "\n")
    assert len(segmented(weights, photos, out)) == 2


def test_several_processes_have_a_file_each(photos, tmp_path):
    out, command = tmp_path / "out", Command("w", "1")
    jobs = jobs_for(collect([photos]), out)
    records = [Record(out, rank) for rank in range(2)]
    for job, record in zip(jobs, records, strict=True):
        picture(job.file("mask"))
        record.note(job.file("mask"), job.file("mask"), job.picture, command)
    assert {path.name for path in (out / FOLDER).iterdir()} == {"0.jsonl", "1.jsonl"}
    for record in records:  # What another one has written meanwhile is known when it is met.
        check_targets(jobs, ["mask"], record, command, overwrite=False)


def test_what_cannot_be_replaced_is_refused_with_overwrite_too(photos, tmp_path):
    command, out = Command("w", "1"), tmp_path / "out"

    def refused(jobs, record, said):
        for overwrite in (False, True):
            with pytest.raises(SegzooError, match=said) as caught:
                check_targets(jobs, ["mask"], record, command, overwrite)
            assert "--overwrite" not in caught.value.hint

    picture(photos / "0_mask.png")
    same = jobs_for([(photos / name, Path(name)) for name in ("0.jpg", "0_mask.png")], photos)
    refused(same, Record(photos), r"a picture that is to be segmented: \S*0_mask.png")
    (out / "0_mask.png").mkdir(parents=True)
    jobs = jobs_for(collect([photos / "0.jpg"]), out)
    refused(jobs, Record(out), "a folder: ")
    (out / "deep").symlink_to(photos)
    picture(photos / "deep" / "a.jpg")
    jobs = jobs_for(collect([photos]), out)
    refused(jobs[-1:], Record(out), "below a file, or behind a link")
    (tmp_path / "file").write_text("x")
    jobs = jobs_for(collect([photos / "0.jpg"]), tmp_path / "file")
    refused(jobs, Record(tmp_path / "file"), "below a file, or behind a link")


def test_pictures_of_one_name_are_kept_apart(photos, tmp_path):
    for name in ("0.png", "A.jpg", "a.jpg", "ä.jpg", "a\u0308.png", "a_jpg.png"):
        picture(photos / name)
    targets = [job.target.name for job in jobs_for(collect([photos]), tmp_path)]
    assert len(targets) == 8
    assert len({name.casefold() for name in targets}) == 8


def test_the_default_folder_is_a_new_one(weights, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("predict", "predict-2"):
        assert len(segmented(weights, photos, None)) == 2
        assert (tmp_path / "runs" / name / "0_mask.png").is_file()
    (tmp_path / "runs" / "predict-3").write_text("x")
    assert new_folder().name == "predict-4"


def named(found):
    return [str(relative) for _, relative in found]


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ("masks/a.png", "masks in a folder beside one of pictures"),
        ("labels/train/a.png", "masks in a folder beside one of pictures"),
        ("SegmentationClass/a.png", "masks in a folder beside one of pictures"),
        ("ann_dir/val/a.png", "masks in a folder beside one of pictures"),
        ("images/mask-a.png", "masks of pictures beside them"),
        ("images/a_gtFine_labelIds.png", "masks of pictures beside them"),
        ("images/a_mask.png", "masks of pictures beside them"),
        ("images/A_GT.PNG", "masks of pictures beside them"),
        ("images/.ipynb_checkpoints/a-checkpoint.png", "hidden"),
        ("images/._a.png", "hidden"),
        ("images/a.cr2", r"formats that are not read \(.cr2 1\)"),
        ("images/a.npy", r"formats that are not read \(.npy 1\)"),
        ("images/notes.txt", r"other files \(.txt 1\)"),
        ("images/README", r"other files \(without ending 1\)"),
    ],
)
def test_what_is_left_out_of_a_folder_is_said(tmp_path, caplog, masks, said):
    picture(tmp_path / "set" / "images" / "a.jpg")
    other = tmp_path / "set" / masks
    other.parent.mkdir(parents=True, exist_ok=True)
    if other.suffix.lower() == ".png":
        picture(other)
    else:
        other.write_bytes(b"x")
    assert named(collect([tmp_path / "set"])) == ["images/a.jpg"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"1 file in {tmp_path / 'set'} is left out: ")
    assert said.replace("\\", "") in record.getMessage()


def test_the_masks_of_camvid_and_cityscapes_are_left_out(tmp_path):
    for name in ("train/a.png", "trainannot/a.png", "gtFine/val/b/x_gtFine_labelIds.png"):
        picture(tmp_path / "set" / name)
    picture(tmp_path / "set" / "leftImg8bit" / "val" / "b" / "x_leftImg8bit.png")
    assert named(collect([tmp_path / "set"])) == [
        "leftImg8bit/val/b/x_leftImg8bit.png",
        "train/a.png",
    ]
    for name in ("img_1.png", "mask_1.png", "1_l.jpg", "1.jpg"):
        picture(tmp_path / "other" / name)
    assert named(collect([tmp_path / "other"])) == ["1.jpg", "1_l.jpg", "img_1.png"]


def test_folders_of_masks_that_are_given_or_alone_are_taken(tmp_path):
    picture(tmp_path / "set" / "images" / "a.jpg")
    picture(tmp_path / "set" / "masks" / "a.png")
    picture(tmp_path / "other" / "masks" / "carnival.png")
    assert named(collect([tmp_path / "set" / "masks"])) == ["a.png"]
    assert named(collect([tmp_path / "other"])) == ["masks/carnival.png"]


def test_all_that_is_left_out_is_one_line(tmp_path, caplog):
    for name in ("a.jpg", "a_mask.png", "run/curves.png", "run/predictions.png"):
        picture(tmp_path / name)
    for name in ("run/config.toml", "run/metrics.jsonl", "b.cr2", "c.CR2", "d.psd", ".DS_Store"):
        (tmp_path / name).write_text("")
    assert named(collect([tmp_path])) == ["a.jpg"]
    (record,) = caplog.records
    for part in ("8 files", "3 formats that are not read (.cr2 2, .psd 1)", "2 drawn by segzoo"):
        assert part in record.getMessage()


def test_outputs_without_a_record_are_said(tmp_path, caplog):
    for name in ("a.jpg", "a_overlay.jpg", "a_cutout.png", "b_overlay.jpg"):
        picture(tmp_path / name)
    assert len(collect([tmp_path])) == 4
    assert "2 of the pictures to be segmented have names of masks, overlays" in caplog.text
    caplog.clear()
    assert len(collect([tmp_path / "a.jpg", picture(tmp_path / "a_mask.png")])) == 2
    assert "1 of the pictures to be segmented" in caplog.text
