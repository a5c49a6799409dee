"""Weights files whose header is hostile or damaged."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from .fuzzing import by_atheris, by_hypothesis
from .training import trained_once
from .watching import limit_memory, watched

MUCH_MEMORY = 300_000_000
ODD: tuple[Any, ...] = (
    -1, 0, 1, 2, 255, 2**16, 2**31, 2**62, 2**64, 10**400, 1.5, -0.5, 1e300, True, None, "", "F32",
    "BF16", "I32", [], {}, [2**40, 2**40], [[]], [[[[1]]]], [-1, -1], [1.5, "a", None], "x" * 99,
    "a\nb", "\x1b[31mred\x1b[0m", "\0", "\u202e", "\ud800", "../../x", {"a": {"b": []}}, [0] * 300,
)  # fmt: skip
LITERALS = ("1e999", "-1e999", "NaN", "Infinity", "-0", "1E400", "1" * 5000, "0.1e-999")
"""Values as they stand in the text, which Python would write otherwise."""


def headers(
    root: Path, folder: Path, count: int, chance: random.Random, *, atheris: int, hypothesis: int
) -> dict[str, Any]:
    """Open files with hostile headers, half of them as `segzoo.load` does, to use what it lets
    through; then those that atheris and hypothesis make.
    """
    # A changed description is to be refused for what it says, not for its checksum.
    whole = unsigned((trained_once(root) / "best.safetensors").read_bytes())
    path = folder / "hostile.safetensors"
    outcomes, failures = Counter[str](), []
    path.write_bytes(whole)
    if opened(path, models=True) != "used":  # Also warms up, so that memory is that of the file.
        failures.append("the sound file is not let through")
    limit_memory(8 << 30)  # A fault that takes all memory is to end in an error.
    for number in range(count):
        path.write_bytes(hostile(whole, chance))
        with watched(path, failures, much=MUCH_MEMORY):
            outcomes[opened(path, models=number % 2 == 0)] += 1
    found = {
        "headers": count,
        "refused": outcomes["refused"],
        "let_through": count - outcomes["refused"],
        "used": outcomes["used"],
        "by_atheris": by_atheris(path, atheris, failures),
        "by_hypothesis": by_hypothesis(path, hypothesis, chance.getrandbits(32), opened, failures),
    }
    return {**found, "failures": failures[:20], "failures_in_all": len(failures)}


def opened(path: Path, *, models: bool) -> str:
    """Open a weights file, with `models` also to use it; return what became of it.

    Raises what is not a refusal by name, and where something else comes out than there is.
    """
    from safetensors.torch import load_file

    from segzoo.errors import SegzooError
    from segzoo.model.tensors import read_header
    from segzoo.model.weights import load_model

    try:
        header = read_header(path)
        loaded = load_model(path) if models else None
    except SegzooError as error:
        if str(path) not in str(error):
            raise RuntimeError(f"does not name the file: {error}") from error
        return "refused"
    if {name: tuple(value.shape) for name, value in load_file(path).items()} != header.shapes:
        raise RuntimeError("let through, with other tensors than the format's reader finds")
    if loaded is None:
        return "let through"
    try:
        use(*loaded)
    except SegzooError:
        return "refused in use"
    return "used"


def use(model: Any, info: Any) -> None:
    """Predict a picture. Raises RuntimeError for probabilities that are none."""
    from PIL import Image

    from segzoo.inference.segmenter import Segmenter

    picture = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    prediction = Segmenter(model, info, device="cpu").predict(picture)
    prediction.mask_image()
    prediction.overlay(picture)
    if not prediction.probability_KHW.isfinite().all():
        raise RuntimeError("probabilities that are not finite")


def parts(whole: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header of a safetensors file, and what follows it."""
    length = int.from_bytes(whole[:8], "little")
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def packed(header: dict[str, Any], data: bytes) -> bytes:
    """Return a safetensors file."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def unsigned(whole: bytes) -> bytes:
    """Return a weights file without its checksum, as an older segzoo has written it."""
    header, data = parts(whole)
    header["__metadata__"].pop("checksum", None)
    info = json.loads(header["__metadata__"]["segzoo"]) | {"checksum": None}
    header["__metadata__"]["segzoo"] = json.dumps(info)
    return packed(header, data)


def hostile(whole: bytes, chance: random.Random) -> bytes:
    """Return a weights file of which something has been changed."""
    header, data = parts(whole)
    length = len(whole) - len(data) - 8
    kind = chance.choice(("bytes", "cut", "length", "value", "nested", "twice")
                         + 4 * ("description",))  # fmt: skip
    if kind == "bytes":
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(8 + length)] = chance.randrange(256)
        return bytes(changed)
    if kind == "cut":
        return whole[: chance.randrange(len(whole))]
    if kind == "length":
        return chance.getrandbits(chance.choice((8, 20, 33, 64))).to_bytes(8, "little") + whole[8:]
    name = chance.choice([key for key in header if key != "__metadata__"])
    if kind == "value":
        key = chance.choice(("dtype", "shape", "data_offsets"))
        if isinstance(header[name][key], list) and header[name][key] and chance.random() < 0.7:
            header[name][key][chance.randrange(len(header[name][key]))] = chance.choice(ODD)
        else:
            header[name][key] = chance.choice(ODD)
    elif kind == "description":
        header["__metadata__"]["segzoo"] = described(header["__metadata__"]["segzoo"], chance)
    text = json.dumps(header)
    if kind == "nested":
        text = text.replace("{", "[" * chance.choice((1, 20, 100_000)), 1)
    elif kind == "twice":
        text = text[:-1] + f', "{name}": {json.dumps(header[name])}}}'
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data


def described(text: str, chance: random.Random) -> str:
    """Return a model's description of which one thing, at any depth, has been changed."""
    info = json.loads(text)
    inside, key = chance.choice(list(places(info)))
    literal = chance.choice(LITERALS)
    match chance.choice(("odd", "odd", "odd", "literal", "delete", "add", "twice")):
        case "delete":
            del inside[key]
        case "add" if isinstance(inside, dict):
            inside[chance.choice(("more", "", "__class__", "a\nb"))] = chance.choice(ODD)
        case "add" | "twice" if isinstance(inside, list):
            inside.insert(key, inside[key])
        case "literal" | "twice":
            inside[key] = "<literal>"
        case _:
            inside[key] = chance.choice(ODD)
    return json.dumps(info).replace('"<literal>"', literal)


def places(value: Any) -> Any:
    """Yield (list or dict, index or key) of everything within a JSON value."""
    if isinstance(value, (list, dict)):
        for key in range(len(value)) if isinstance(value, list) else list(value):
            yield value, key
            yield from places(value[key])
