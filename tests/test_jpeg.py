"""JPEGs of many scans: counted before they are decoded."""

import io

import numpy as np
import pytest
from PIL import Image

from segzoo.data.images import read_image
from segzoo.data.pictures import jpeg
from segzoo.errors import SegzooError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8))


def segments(data):
    """Yield (marker, bytes) of a JPEG's segments, those of a scan with its data."""
    at = 2
    while data[at + 1] != 0xD9:
        begin, kind = at, data[at + 1]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if kind == 0xDA:
            while data[at] != 0xFF or data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
                at += 1
        yield kind, data[begin:at]


def stored(**how):
    file = io.BytesIO()
    PICTURE.save(file, "JPEG", **how)
    return file.getvalue()


def with_scans(data, more):
    """Return a JPEG whose last scan comes `more` times again."""
    last = [segment for kind, segment in segments(data) if kind == 0xDA][-1]
    return data[:-2] + last * more + b"\xff\xd9"


def read(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    read_image(path)
    return read_image(path, data)


@pytest.mark.parametrize("more", [95, 1000])
def test_many_scans_are_refused_before_they_are_decoded(tmp_path, more, monkeypatch):
    data = with_scans(stored(progressive=True), more)
    monkeypatch.setattr("torchvision.io.decode_image", lambda *a, **k: pytest.fail("decoded"))
    with pytest.raises(SegzooError, match=r"a\.jpg is a JPEG of .* more than 100 scans"):
        read(tmp_path, data)


def test_some_scans_of_many_pixels_are_refused(tmp_path, monkeypatch):
    data = with_scans(stored(progressive=True), 30)
    read(tmp_path, data)
    monkeypatch.setattr(jpeg, "MOST_WORK", 40 * 48 * 30)
    with pytest.raises(SegzooError, match=r"a\.jpg is a JPEG of 0\.00192 .* in \d\d scans"):
        read(tmp_path, data)
    read(tmp_path, stored(progressive=True))  # A few are what progressive pictures have.


def not_interleaved(data, more):
    """Return a baseline JPEG that says its scan has one of its three colours, again and again."""
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x00" * 20
    head = b"".join(segment for kind, segment in segments(data) if kind != 0xDA)
    return b"\xff\xd8" + head + scan * more + b"\xff\xd9"


def test_scans_of_single_colours_count_in_a_baseline_picture_too(tmp_path):
    with pytest.raises(SegzooError, match="more than 100 scans"):
        read(tmp_path, not_interleaved(stored(), 500))


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}])
def test_other_bytes_that_look_like_scans_do_not_count(tmp_path, how):
    exif = Image.Exif()
    exif[0x010E] = "\xff\xda" * 500  # In a segment, as a thumbnail's are.
    assert read(tmp_path, stored(exif=exif, comment=b"\xff\xda" * 500, **how)).shape == (3, 40, 48)
    film = stored(**how) + b"\xff\xda\x00\x02" * 500  # Behind the picture, as phones store films.
    assert read(tmp_path, film).shape == (3, 40, 48)
    filled = stored(**how).replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1)
    assert read(tmp_path, filled).shape == (3, 40, 48)
