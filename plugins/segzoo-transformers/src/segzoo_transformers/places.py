"""Where `config` and `pretrained` lead: a text, a file, a folder, the hub."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.configuration_utils import PreTrainedConfig

from segzoo import SegzooError
from segzoo.host import regular

MOST_BYTES = 1 << 20
REFUSALS = (
    *(StrictDataclassError, ArithmeticError, AttributeError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)
"""What transformers raises for a configuration that does not fit."""

LOAD_ERRORS = (OSError, SafetensorError, *REFUSALS)
"""What it raises for a file that is missing or broken, too."""


def config_values(owner: str, text: str) -> dict[str, Any]:
    """Read JSON from the text itself, from a file, or from config.json in a folder."""
    hint = "it takes a config.json, a folder that holds one, or the JSON text itself"
    where = shortened(text)
    if not is_text(text):
        path = Path(text).expanduser()
        path = path / "config.json" if regular.is_folder(path) else path
        where = str(path)
        try:
            text = regular.read_text(path, "a configuration", MOST_BYTES)
        except SegzooError as error:
            raise SegzooError(f"{owner}: option `config`: {error.message}", hint) from error
        except OSError as error:
            raise SegzooError(
                f"{owner}: option `config`: cannot read {path}: {error}", hint
            ) from error
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise SegzooError(
            f"{owner}: option `config`: {where} is not valid JSON: {error}", hint
        ) from error
    if not isinstance(values, dict):
        raise SegzooError(f"{owner}: option `config`: {where} holds no JSON object", hint)
    return values


def pretrained_values(owner: str, name: str) -> dict[str, Any]:
    """Read config.json of a folder or of a model of the hub."""
    local = is_folder(owner, name)
    try:
        return PreTrainedConfig.get_config_dict(place(name), local_files_only=local)[0]
    except (OSError, ValueError) as error:
        raise not_loaded(owner, name, error) from error


def is_text(config: str) -> bool:
    """Whether `config` is JSON itself, and no path."""
    return config.lstrip().startswith("{")


def is_folder(owner: str, name: str) -> bool:
    """Whether `pretrained` is a folder; raises SegzooError where it looks like one but is none."""
    if Path(name).expanduser().is_dir():
        return True
    if name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1:
        raise SegzooError(
            f"{owner}: option `pretrained`: there is no folder {name}",
            "give a folder with config.json and model.safetensors, or a name of the hub",
        )
    return False


def place(name: str) -> str:
    """Return what transformers takes for `pretrained`: the folder's path, or the hub's name."""
    path = Path(name).expanduser()
    return str(path) if path.is_dir() else name


def not_loaded(owner: str, name: str, error: Exception) -> SegzooError:
    """Return the error for a `pretrained` that transformers cannot load."""
    where = "the folder" if Path(name).expanduser().is_dir() else "the Hugging Face hub"
    return SegzooError(
        f"{owner}: cannot load pretrained={name} from {where}: {one_line(error)}",
        "it takes a folder with config.json and model.safetensors, or the name of a model of the "
        "hub that has them; without it the weights are random",
    )


def shortened(text: str) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
