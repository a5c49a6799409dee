"""What the names of folders say: train, val or test; images or masks.

Names are read without regard to case, accents and separators, so `Train`, `train_images`,
`trainannot`, `img_dir`, `imagesTr`, `1_train` and `Validación` are all understood.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Text = TypeVar("Text", bound=Any)
Kind = Literal["images", "masks"]

SPLITS = {
    "train": ("train", "training", "tr", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "eval"),
    "test": ("test", "testing", "ts", "tst"),
}
_IN_OTHER_LANGUAGES = {
    "train": (
        *("trainings", "entrenamiento", "entrainement", "apprentissage", "addestramento"),
        *("treino", "treinamento", "обучение", "训练", "訓練", "学習", "훈련", "학습"),
    ),
    "val": (
        *("validierung", "validierungs", "validacion", "validazione", "validacao", "validatie"),
        *("валидация", "验证", "驗證", "検証", "검증"),
    ),
    "test": ("prueba", "pruebas", "teste", "testes", "тест", "测试", "測試", "テスト", "테스트"),
}
IMAGES = (
    *("images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "leftimg8bit"),
    *("inputs", "input", "originalimages", "rgb"),
)
MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annot", "annots", "ann"),
    *("anns", "anno", "mattes", "matte", "segmentationclass", "segmentationclasspng", "gt", "gts"),
    *("gtfine", "groundtruth", "segmentations", "segmentation", "seg", "alpha", "targets"),
)
_KINDS: dict[str, Kind] = {**dict.fromkeys(IMAGES, "images"), **dict.fromkeys(MASKS, "masks")}
_SHORT = {"tr", "trn", "ts", "tst"}  # Only behind a kind, as nnU-Net's imagesTr.
_SEPARATORS = re.compile(r"[\s_.\-]+")
_NUMBERS = re.compile(r"^\d+|\d+$")
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


def _plain(name: str) -> str:
    """Return a name without case, separators and accents."""
    letters = unicodedata.normalize("NFD", name.casefold())
    kept = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return _SEPARATORS.sub("", unicodedata.normalize("NFC", kept))


_WORDS = {
    _plain(word): split
    for words_of in (SPLITS, _IN_OTHER_LANGUAGES)
    for split, words in words_of.items()
    for word in words
}


_FILLERS = re.compile(
    "(?:dir|folder|dataset|data|set|split|png|jpe?g|daten|datos|dados|"
    + _plain("集|数据|資料|データ|用")
    + ")+$"
)


def shared_start(several: Iterable[Text]) -> Text:
    """Return what all of some texts, or of some sequences of names, begin with."""
    least, most = min(several := list(several)), max(several)
    pairs = zip(least, most, strict=False)
    count = next((n for n, (one, two) in enumerate(pairs) if one != two), len(least))
    return least[:count]


@dataclass(frozen=True)
class Meaning:
    """What a folder's name says: its split, the `word` it is said by, and what its files are."""

    split: str = ""
    word: str = ""
    kind: Kind | None = None
    rank: int = 0


@functools.lru_cache(4096)
def meaning(name: str) -> Meaning | None:
    """Return what one folder's name says; None where it says nothing."""
    plain = _plain(name)
    for text in dict.fromkeys((plain, _FILLERS.sub("", plain), _YEAR.sub("", plain))):
        if text in _KINDS:
            return _of_kind(text)
        if text in _WORDS and text not in _SHORT:
            return Meaning(split=_WORDS[text], word=text)
        for word, split in _WORDS.items():
            rest = text.removesuffix(word) if text.endswith(word) else ""
            if not rest and word not in _SHORT and text.startswith(word):
                rest = text.removeprefix(word)
            kind = rest if rest in _KINDS else _FILLERS.sub("", rest)
            if kind in _KINDS:
                found = _of_kind(kind)
                return Meaning(split=split, word=word, kind=found.kind, rank=found.rank)
    numberless = _NUMBERS.sub("", plain)  # as in `1_train`, `val-02`
    for text in (numberless, _FILLERS.sub("", numberless)):
        if text != plain and text in _WORDS and text not in _SHORT:
            return Meaning(split=_WORDS[text], word=text)
    return None


def _of_kind(text: str) -> Meaning:
    kind = _KINDS[text]
    return Meaning(kind=kind, rank=(IMAGES if kind == "images" else MASKS).index(text))


def with_split(folder: str) -> str:
    """Return a folder's path with ``{split}`` for what names its split."""
    names = folder.split("/")
    for place, name in enumerate(names):
        said = meaning(name)
        if said is not None and said.split:
            names[place] = re.sub(re.escape(said.word), "{split}", name, flags=re.IGNORECASE)
            break
    return "/".join(names)


@dataclass(frozen=True)
class Place:
    """What the path of a folder says, its names taken together.

    `template` tells layouts apart: the names that say something, the split's replaced by
    ``{split}``. `lead` and `rest` are the names that say nothing, before the first that does and
    after it.
    """

    split: str
    word: str
    kind: Kind | None
    template: str
    rank: int
    lead: tuple[str, ...]
    rest: tuple[str, ...]


def place_of(folder: str) -> Place:
    """Read the path of a folder, relative to the root, ending with / or "" for the root itself."""
    split = word = ""
    kind: Kind | None = None
    rank = 0
    template: list[str] = []
    lead: list[str] = []
    rest: list[str] = []
    for name in folder.split("/")[:-1]:
        said = meaning(name)
        inner = bool(said and split == "train" and said.split not in ("", "train"))
        if said is None or (said.split and split and said.kind is None and not inner):
            (rest if template else lead).append(name)
            continue
        if said.kind:
            kind, rank = said.kind, said.rank
        if inner:  # As in train/val: the outer folder is what the split was taken from.
            template = [part.replace("{split}", word) for part in template]
        if said.split and (inner or not split):
            split, word = said.split, said.word
        template.append(
            "{split}"
            if not said.kind
            else name.casefold().replace(said.word, "{split}")
            if said.word
            else name.casefold()
        )
    if not template:
        lead, rest = rest, lead
    return Place(split, word, kind, "/".join(template), rank, tuple(lead), tuple(rest))
