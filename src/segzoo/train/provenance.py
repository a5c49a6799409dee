"""How a model was trained, as its weights file says it, and the command that does it again.

Nothing of the machine is kept: no folder, no device, no time. So the same training gives the same
file to the bit, and a file that is given away tells nothing of whose it was.
"""

import dataclasses
import re
import shlex
from typing import Any

from segzoo.plugins.options import option_infos
from segzoo.train.config import RunConfig, make_config

NOT_KEPT = {
    "recipe", "root", "out", "device", "workers", "cache", "save_minutes", "on_bad_image",
}  # fmt: skip
"""Settings that say where and how it ran; `recipe` stands beside the settings."""
OPTIONS = {"model_options": "-o", "data_options": "-O"}
_LOCAL = re.compile(r"(~|\.{1,2}[\\/]|[\\/]|[A-Za-z]:[\\/]|file:).*[\\/]", re.DOTALL)


def training_record(config: RunConfig) -> dict[str, Any]:
    """Return the recipe, all settings that decide a training, and which differ from the recipe's.

    Of options that are paths only the last part is kept.
    """
    settings = _settings(config)
    own = _settings(make_config({}, recipe=config.recipe))
    changed = [name for name in settings if settings[name] != own[name]]
    return {"recipe": config.recipe, "settings": settings, "changed": changed}


def _settings(config: RunConfig) -> dict[str, Any]:
    floats = {info.name for info in option_infos(RunConfig) if info.type is float}
    return {
        # 7 and 7.0 are one setting: TOML brings back the second.
        name: float(value) if name in floats else _plain(value)
        for name, value in dataclasses.asdict(config).items()
        if name not in NOT_KEPT
    }


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it, without what a run folder's TOML does not keep."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple):
        return list(value)
    return without_folder(value) if isinstance(value, str) else value


def without_folder(text: str) -> str:
    """Return a path's last part, where a text is a path that begins at a disk or a home folder."""
    return _LOCAL.sub("", text.rstrip("\\/"), count=1) if _LOCAL.match(text) else text


def training_command(training: dict[str, Any]) -> str:
    """Return the `segzoo train` that does a training again, for a shell; --root is to be filled in.

    `training` is what `training_record` returned. Every value is quoted: it may be anyone's.
    """
    settings, changed = training["settings"], training["changed"]
    words = ["segzoo", "train"]
    names = ["model", "data", *(n for n in changed if n not in ("model", "data"))]
    if settings.get("minutes"):
        names = [name for name in names if name != "epochs"]  # They follow from the minutes.
    if not settings.get("sample"):
        names.insert(2, "root")
    for name in names:
        flag = f"--{name.replace('_', '-')}"
        value = settings.get(name)
        if name == "root":
            words += [flag, "DIR"]
        elif name in OPTIONS and isinstance(value, dict):
            words += [w for key, item in value.items() for w in (OPTIONS[name], f"{key}={item}")]
        elif isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is not None:
            words += [flag, setting_text(value)]
    recipe = training["recipe"]
    if recipe != "default":
        words[2:2] = ["--recipe", recipe]
    return shlex.join(words)


def setting_text(value: Any) -> str:
    """Return a setting as a flag takes it: ``192x256``, ``val,test``, ``0.001``."""
    if isinstance(value, (list, tuple)):
        numbers = all(type(v) is int for v in value)
        return ("x" if numbers else ",").join(map(str, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
