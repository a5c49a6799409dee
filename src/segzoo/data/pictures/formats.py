"""Which files are pictures by their name, which of them are read, and what the others are.

What is read depends on the installation: HEIC on `pi-heif` or `pillow-heif`, AVIF and JPEG 2000 on
how Pillow was built.
"""

import importlib.util
from pathlib import Path
from typing import Literal

from PIL import features

Kind = Literal["picture", "unread picture", "other"]

HEIF_LIBRARIES = ("pi_heif", "pillow_heif")
GET_HEIF = "pip install pi-heif"

_PILLOW = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "TGA": (".tga",),
}
_FEATURES = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}
_HEIF = (".heic", ".heif", ".hif")
_OTHERS = {
    "camera raw": ".cr2 .cr3 .crw .nef .nrw .arw .srf .dng .orf .rw2 .raf .pef .srw .raw .3fr .x3f",
    "drawing (SVG)": ".svg .svgz",
    "Photoshop file": ".psd .psb",
    "OpenEXR picture": ".exr",
    "Radiance HDR picture": ".hdr",
    "JPEG XL picture": ".jxl",
    "JPEG XR picture": ".jxr .wdp .hdp",
    "icon": ".ico .icns .cur",
    "QOI picture": ".qoi",
    "PostScript file": ".eps .ps .ai",
    "PDF document": ".pdf",
    "DICOM file": ".dcm .dicom",
    "NIfTI volume": ".nii .nii.gz",
    "medical volume": ".mha .mhd .nrrd .mgz",
    "microscope file": ".czi .lif .nd2 .oib .oif .vsi",
    "slide": ".svs .ndpi .mrxs .scn .vms .bif",
    "FITS picture": ".fits .fit .fts",
    "NumPy array": ".npy .npz",
    "GIMP file": ".xcf",
    "picture of an old format": ".pcx .xpm .xbm .sgi .ras .dds .wmf .emf .djvu .pic .pct",
    "compressed map (ECW, MrSID)": ".ecw .sid",
    "video": ".mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .wmv .flv .mts .3gp",
}


def heif_library() -> str | None:
    """Return the installed library that reads HEIC, `pi_heif` or `pillow_heif`, or None."""
    return next((name for name in HEIF_LIBRARIES if importlib.util.find_spec(name)), None)


def _formats() -> tuple[str, ...]:
    return tuple(
        name for name in _PILLOW if name not in _FEATURES or features.check(_FEATURES[name])
    )


FORMATS = _formats()
"""What Pillow may take a file for, whatever its name says: for some formats it starts programs
(EPS: ghostscript), and no picture needs them. TGA has no mark of its own: the name decides."""

SUFFIXES = frozenset(
    (*(suffix for name in FORMATS for suffix in _PILLOW[name]), *(_HEIF if heif_library() else ()))
)
"""The endings of pictures that are read, in lower case."""

UNREAD_SUFFIXES: dict[str, str] = {
    suffix: what
    for what, suffixes in (
        *((f"{name} picture", _PILLOW[name]) for name in _PILLOW),
        ("HEIC photograph", _HEIF),
        *((what, tuple(suffixes.split())) for what, suffixes in _OTHERS.items()),
    )
    for suffix in suffixes
    if suffix not in SUFFIXES
}
"""The endings of pictures, volumes and films that are not read, each with what it is."""


def kind_of(path: Path | str) -> Kind:
    """Say by a file's name whether it is a picture that is read, one that is not, or no picture.

    What is hidden (`._a.png` of macOS) is not a picture.
    """
    name = str(path).rpartition("/")[2].lower() if isinstance(path, str) else path.name.lower()
    if name.startswith("."):
        return "other"
    ending = name[name.rfind(".") :] if "." in name else ""
    if ending in SUFFIXES:
        return "picture"
    return "unread picture" if _unread(name, ending) else "other"


def unread_format(path: Path | str) -> str:
    """Return what a picture that is not read is, by its name: `HEIC photograph`; else ""."""
    name = str(path).lower()
    return _unread(name, name[name.rfind(".") :] if "." in name else "")


def way_to_read(path: Path | str) -> str:
    """Return what makes a picture readable that is not: a library to install, or converting it."""
    if unread_format(path) == "HEIC photograph":
        return f"`{GET_HEIF}` lets segzoo read HEIC, or save it as PNG or JPEG"
    return "save it as PNG, JPEG or TIFF"


def _unread(name: str, ending: str) -> str:
    return UNREAD_SUFFIXES.get(".nii.gz" if name.endswith(".nii.gz") else ending, "")


_PICTURES = (
    *((b"\xff\xd8\xff", "a JPEG picture"), (b"\x89PNG", "a PNG picture")),
    *((b"GIF8", "a GIF picture"), (b"II*\0", "a TIFF picture"), (b"MM\0*", "a TIFF picture")),
)
_TEXTS = {".toml": "a TOML file", ".json": "a JSON file", ".csv": "a table (CSV)"}


def what_it_is(path: Path, head: bytes) -> str:
    """Return what a file is by its first bytes, with its article: `a text file`; else ""."""
    if what := content(head):
        return what
    if picture := next((what for mark, what in _PICTURES if head.startswith(mark)), ""):
        return picture
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        return "a Python pickle"
    text = head.decode("utf-8", "ignore")  # The last character may be cut in two.
    plain = len(text.encode()) > len(head) - 4 and all(c.isprintable() or c.isspace() for c in text)
    return _TEXTS.get(path.suffix.lower(), "a text file") if plain else ""


_MARKS = (
    *((b"%PDF", "a PDF document"), (b"%!PS", "a PostScript file"), (b"8BPS", "a Photoshop file")),
    *((b"\x76\x2f\x31\x01", "an OpenEXR picture"), (b"#?RADIANCE", "a Radiance HDR picture")),
    *((b"\xff\x0a", "a JPEG XL picture"), (b"\0\0\0\x0cJXL ", "a JPEG XL picture")),
    *(
        (b"\x93NUMPY", "a NumPy array"),
        (b"SIMPLE  =", "a FITS picture"),
        (b"qoif", "a QOI picture"),
    ),
    *((b"qoif", "a QOI picture"), (b"\0\0\1\0", "an icon"), (b"PK\x03\x04", "a ZIP archive")),
    (b"\x1f\x8b", "a gzip archive"),
    *((b"\x89HDF", "an HDF5 file"), (b"<svg", "a drawing (SVG)"), (b"<!DOCTYPE", "a web page")),
    *((b"<html", "a web page"), (b"version https://git-lfs", "a Git LFS pointer, not the file")),
    (b"\x1aE\xdf\xa3", "a video"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}


def content(head: bytes) -> str:
    """Return what a file is by its first bytes, with its article, where that is not a picture that
    segzoo reads: `a PDF document`; else "".
    """
    if not head:
        return "empty"
    if head[4:8] == b"ftyp":
        brand = _BRANDS.get(head[8:12])
        return f"a picture in the format {brand}" if brand else "a video"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return next((what for mark, what in _MARKS if head.lstrip().startswith(mark)), "")
