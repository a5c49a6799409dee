"""EXIF orientation: pictures and masks turned alike, doubts said, and a way to leave both."""

import numpy as np
import pytest
from PIL import Image

from segzoo.data.checks.checking import check
from segzoo.data.folder.dataset import build_folder
from segzoo.data.images import read_image, read_mask
from segzoo.data.opening import DataSource
from segzoo.data.pictures.headers import read_header
from segzoo.data.plugin import FolderOptions
from segzoo.errors import SegzooError

STORED = np.add.outer(np.arange(8) * 16, np.arange(12) * 9).astype(np.uint8)
UPRIGHT = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: np.rot90(STORED, -1),
    7: STORED[::-1, ::-1].T,
    8: np.rot90(STORED, 1),
}


def save(path, pixels, orientation=1, **how):
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif, **how)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "packed.tif", "a.webp", "a.avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_or_as_stored(tmp_path, name, orientation):
    how = {"quality": 100} if name != "packed.tif" else {"compression": "tiff_lzw"}
    path = save(tmp_path / name, np.dstack([STORED] * 3), orientation, **how)
    near = 12 if name in ("a.jpg", "a.webp", "a.avif") else 0
    assert read_header(path).orientation == orientation
    for upright, expected in ((True, UPRIGHT[orientation]), (False, STORED)):
        image = read_image(path, upright=upright)[0].numpy().astype(int)
        assert image.shape == expected.shape
        assert np.abs(image - expected).max() <= near
    if near == 0:
        assert np.array_equal(read_mask(path, upright=False).numpy(), STORED)
        assert np.array_equal(read_mask(path).numpy(), UPRIGHT[orientation])


def test_deep_pictures_are_turned_too(tmp_path):
    for orientation in range(1, 9):
        for name in ("a.png", "a.tif"):
            path = save(tmp_path / name, STORED.astype(np.uint16) * 257, orientation)
            assert np.array_equal(read_image(path)[0].numpy(), UPRIGHT[orientation]), name
            assert np.array_equal(read_image(path, upright=False)[0].numpy(), STORED), name


def pairs(root, orientation, mask, of_mask=1, count=4):
    for index in range(count):
        save(root / "images" / f"{index}.jpg", STORED + index, orientation)
        save(root / "masks" / f"{index}.png", (mask > 90).astype(np.uint8), of_mask)
    return root


def built(root, **options):
    return build_folder(root=root, split="train", options=FolderOptions(val=0, **options))


SQUARE = STORED[:8, :8]


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_what_sizes_cannot_tell_is_said(tmp_path, orientation):
    root = pairs(tmp_path, orientation, STORED)
    (notice,) = built(root).notices
    assert "4 of 4 pictures looked at carry an EXIF orientation that their masks do not" in notice
    assert f"0.jpg ({orientation})" in notice and "-O exif=ignore" in notice
    problems = [problem.text for problem in check(DataSource("folder", root=root))]
    assert any("carry an EXIF orientation" in text for text in problems)
    ignoring = built(root, exif="ignore")
    assert ignoring.notices == ()
    assert np.abs(ignoring[0].image[0].numpy().astype(int) - STORED).max() < 12


def test_a_square_is_doubtful_and_equal_orientations_are_not(tmp_path):
    for index in range(3):
        save(tmp_path / "s" / "images" / f"{index}.png", SQUARE, 6)
        save(tmp_path / "s" / "masks" / f"{index}.png", (SQUARE > 90).astype(np.uint8))
    assert len(built(tmp_path / "s").notices) == 1
    assert built(pairs(tmp_path / "same", 3, STORED, of_mask=3)).notices == ()
    assert built(pairs(tmp_path / "none", 1, STORED)).notices == ()


def test_the_size_of_a_mask_tells(tmp_path):
    stored = built(pairs(tmp_path / "stored", 6, STORED))
    assert "their masks have the size of the stored pictures: -O exif=ig" in stored.notices[0]
    with pytest.raises(SegzooError, match=r"(?s)8x12 but its mask .* is 12x8.*-O exif=ignore"):
        stored[0]
    assert built(tmp_path / "stored", exif="ignore")[0].target.shape == (8, 12)
    upright = built(pairs(tmp_path / "upright", 6, UPRIGHT[6]))
    assert upright.notices == ()
    assert upright[0].target.shape == (12, 8)
    with pytest.raises(SegzooError, match="leave out -O exif=ignore"):
        built(tmp_path / "upright", exif="ignore")[0]


def test_the_choice_reaches_the_weights_file(tmp_path):
    root = pairs(tmp_path, 3, STORED)
    source = DataSource("folder", root=root, options={"exif": "ignore"})
    assert source.info(source.split("train")).options["exif"] == "ignore"


@pytest.mark.parametrize("of_mask", [2, 3, 4])
def test_a_mask_that_is_turned_alone_is_said(tmp_path, of_mask):
    (notice,) = built(pairs(tmp_path, 1, STORED, of_mask)).notices
    assert "4 masks of 4 looked at carry an EXIF orientation that their pictures do not" in notice
    data = built(tmp_path, exif="ignore")
    assert data.notices == ()
    assert np.array_equal(data[0].target.numpy(), STORED > 90)


def test_pictures_behind_a_photograph_are_said_once(tmp_path):
    root = pairs(tmp_path, 1, STORED)
    for path in sorted((root / "images").iterdir()):
        with Image.open(path) as picture:
            one = picture.convert("RGB")
        path.unlink()
        one.save(path.with_suffix(".jpg"), format="MPO", save_all=True, append_images=[one])
    (notice,) = built(root).notices
    assert "4 pictures of 4 looked at hold others behind the photograph" in notice
    found = [one for one in check(DataSource("folder", root=root)) if "MPO" in one.text]
    assert [finding.grade for finding in found] == ["notice"]
