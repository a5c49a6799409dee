import numpy as np
from PIL import Image

from segzoo.testing import DatasetConformance
from segzoo_hk.dataset import build_hk
from segzoo_hk.plugin import HKOptions
from segzoo_portraits.dataset import build_portraits
from segzoo_portraits.generate import portrait
from segzoo_portraits.plugin import PortraitsOptions
from segzoo_portraits.write import TEST_OFFSET, write_part


def build(root, split="train", **options):
    return build_portraits(root=root, split=split, options=PortraitsOptions(**options))


def test_pictures_are_generated_once_and_serve_as_hk(tmp_path):
    train = build(tmp_path, train=5, test=2)
    assert len(train) + len(build(tmp_path, "val", train=5, test=2)) == 5
    folder = train.folder.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert len(build(tmp_path, "test", train=5, test=2)) == 2
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert len(build_hk(root=folder, split="test", options=HKOptions())) == 2
    assert len(build(folder, "test")) == 2


def test_files_hold_what_the_generator_gives(tmp_path):
    test = build(tmp_path, "test", train=1, test=1, seed=3)
    image, matte = portrait(TEST_OFFSET, seed=3)
    sample = test[0]
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), image)
    assert np.array_equal(sample.target.numpy(), matte)


def test_parts_written_by_several_processes_make_the_whole(tmp_path):
    for name, parts in (("whole", 1), ("parts", 3)):
        for split in ("training", "testing"):
            (tmp_path / name / split).mkdir(parents=True)
        for part in range(parts):
            write_part(tmp_path / name, 4, 2, 0, part, parts)
    files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*.png"))
    assert len(files) == 12
    for file in files:
        with Image.open(tmp_path / "whole" / file) as a, Image.open(tmp_path / "parts" / file) as b:
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_other_sizes_and_seeds_get_folders_of_their_own(tmp_path):
    folders = {
        build(tmp_path, train=2, test=1, seed=seed).folder for seed in (0, 1)
    } | {build(tmp_path, train=3, test=1).folder}  # fmt: skip
    assert len(folders) == 3


class TestPortraits(DatasetConformance):
    data = "segzoo-portraits/portraits"
    options = {"train": 4, "test": 2}
