"""The one configuration route: flags -> frozen RunConfig <- a TOML file <- a recipe <- defaults.

Every field of RunConfig is a flag of `segzoo train`, a keyword of `segzoo.fit` and a key of the
run folder's config.toml, with the same name and help.
"""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from segzoo.errors import SegzooError, listed, nearest
from segzoo.plugins.early import check_loss, check_metrics
from segzoo.plugins.manager import get_registry
from segzoo.plugins.options import called, convert, make_options, option, option_infos, shown
from segzoo.size import MOST_AT_ONCE, Size, parse_size
from segzoo.store import read_config

MOST_EPOCHS = 1_000_000
MOST_MINUTES = 1_000_000  # Nearly two years.
LARGEST_FACTOR = 1e6
OF_DATA_SETS = "data_sets"  # a recipe's table of options by a data set's full name


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides a training. Sizes are (height, width) in pixels."""

    # No default: what is trained on what is never guessed. `with_typed_options` asks for both.
    model: str = option("", "architecture, by name or `distribution/name`")
    data: str = option("", "data set, by name or `distribution/name`; `folder` for your own")
    root: str | None = option(None, "folder of the data set")
    sample: bool = option(False, "train on a small generated stand-in of the data set")
    recipe: str = option("default", "named settings to start from: default, fast, best, tutorial")
    epochs: int = option(16, "passes over the training pictures", minimum=1, maximum=MOST_EPOCHS)
    minutes: float = option(
        0.0,
        "train for about this long instead: --epochs is set by the time that the first two took",
        minimum=0,
        maximum=MOST_MINUTES,
    )
    batch_size: int = option(4, "pictures per step", minimum=1, maximum=MOST_AT_ONCE)
    size: Size = option((256, 256), "height x width that pictures are resized to: 256 or 192x256")
    crop: Size | None = option(
        None,
        "train on random crops of this size, out of pictures at their own size: 256 or 192x256; in "
        "place of --size, for large pictures and fine detail",
    )
    scale: float = option(
        1.0, "with --crop: what part of their own size pictures are shown at", minimum=0.01,
        maximum=4,
    )  # fmt: skip
    normalize: Literal["auto", "imagenet", "half", "unit"] = option(
        "auto",
        "mean and std of the input: those of the network's pretrained weights if it has any and "
        "else ImageNet's; ImageNet's, 0.5 and 0.5, or 0 and 1",
    )
    augment: Literal["none", "light", "strong"] = option(
        "light",
        "random changes of the training pictures; light: mirroring, contrast, brightness; strong: "
        "rotation, scale, shift, colours, blur and noise too",
    )
    # Full names, so that no other package can make the defaults ambiguous.
    loss: str = option("segzoo/ce + segzoo/dice", "loss, or a weighted sum such as `ce + 0.5*dice`")
    aux_weight: float = option(
        0.4, "weight of a model's auxiliary output", minimum=0, maximum=LARGEST_FACTOR
    )
    optimizer: str = option("adamw", "adam, adamw, sgd, or any optimizer of timm by name")
    lr: float = option(1e-3, "peak learning rate", minimum=0, maximum=LARGEST_FACTOR)
    encoder_lr: float = option(
        0.3, "learning rate of a pretrained encoder, times --lr", minimum=0, maximum=LARGEST_FACTOR
    )
    layer_decay: float = option(
        1.0,
        "learning rate of each block of a pretrained encoder, times that of the block after it; "
        "1 = off",
        minimum=0,
        maximum=1,
    )
    freeze_epochs: int = option(
        0,
        "epochs at the start in which a pretrained encoder is left as it is",
        minimum=0,
        maximum=MOST_EPOCHS,
    )
    freeze_norms: bool = option(
        True, "batch norms of a pretrained encoder keep the mean and variance they came with"
    )
    drop_path: float = option(
        0.2,
        "stochastic depth: largest share of the pictures for which a block of a pretrained encoder "
        "is left out in training, where it is one of timm's",
        minimum=0,
        maximum=0.9,
    )
    weight_decay: float = option(
        5e-2, "weight decay (not on norms and biases)", minimum=0, maximum=LARGEST_FACTOR
    )
    schedule: str = option("cosine", "learning rate over time: step, cosine, poly, constant")
    step_epochs: float = option(
        7, "epochs between two steps of the step schedule", minimum=0.01, maximum=MOST_EPOCHS
    )
    step_gamma: float = option(
        0.1, "factor of each step of the step schedule", minimum=0, maximum=1
    )
    warmup_epochs: float = option(1.0, "epochs of linear warm-up", minimum=0, maximum=MOST_EPOCHS)
    clip_grad: float = option(
        5.0, "clip the gradient's norm to this; 0 = off", minimum=0, maximum=LARGEST_FACTOR
    )
    accumulate: int = option(1, "batches per optimizer step", minimum=1, maximum=MOST_EPOCHS)
    ema: float = option(0.99, "decay of the averaged weights; 0 = off", minimum=0, maximum=1)
    monitor: str = option("auto", "score that chooses the best weights; auto: mean_iou or mad")
    tolerance: float = option(
        2.0,
        "standard errors over the pictures by which a later epoch may score below the best one "
        "and still take its place; 0 = never",
        minimum=0,
        maximum=LARGEST_FACTOR,
    )
    metrics: str = option(
        "", "further metrics, comma separated: overlap, boundary, matting, or a plugin's"
    )
    patience: int = option(
        0,
        "stop after this many epochs without a better score; 0 = never",
        minimum=0,
        maximum=MOST_EPOCHS,
    )
    train_splits: tuple[str, ...] = option(("train",), "splits to train on")
    eval_splits: tuple[str, ...] = option(
        ("val", "test"), "splits scored each epoch; the first one chooses the best weights"
    )
    device: str = option("auto", "auto (cuda, mps, then cpu), or cpu, cuda, cuda:1, mps")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "auto: bf16 where the device is fast at it, else fp32"
    )
    channels_last: bool = option(True, "keep pictures and weights in channels_last memory format")
    compile: bool = option(False, "torch.compile the network")
    shard: bool = option(
        False,
        "spread parameters, gradients and optimizer state over the processes of torchrun (FSDP2), "
        "for a network that fills a GPU by itself",
    )
    workers: int = option(
        -1, "processes that read pictures; -1 = chosen from the cores", minimum=-1, maximum=256
    )
    cache: Literal["auto", "memory", "none"] = option(
        "auto",
        "keep pictures once they are read and resized: auto on disk, for other runs too, where "
        "their files are known, else in memory; memory, where they fill up to a quarter; none",
    )
    on_bad_image: Literal["stop", "skip"] = option(
        "stop", "a picture that cannot be read: end the training, or do without it"
    )
    on_nonfinite: Literal["stop", "skip"] = option(
        "stop", "a step whose loss or gradient is not finite: end the training, or leave it out"
    )
    save_minutes: float = option(
        5.0, "minutes between two saves of the state within an epoch; 0 = after epochs alone",
        minimum=0, maximum=MOST_MINUTES,
    )  # fmt: skip
    keep_state: bool = option(
        True,
        "keep in `last` what --resume RUN --epochs MORE needs once the training is finished: four "
        "times the weights' size",
    )
    seed: int = option(0, "seed of weights, order and augmentation", minimum=0, maximum=2**32 - 1)
    out: str | None = option(None, "run folder; by default runs/MODEL-DATA, numbered")
    model_options: dict[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"help": "the model's own options: `segzoo show MODEL`"}
    )
    data_options: dict[str, Any] = dataclasses.field(
        default_factory=dict, metadata={"help": "the data set's own options: `segzoo show DATA`"}
    )

    def __post_init__(self) -> None:
        if self.crop is not None:
            object.__setattr__(self, "size", self.crop)  # What the network sees at once.
        elif self.scale != 1:
            raise SegzooError(
                f"--scale {self.scale:g} without --crop",
                "whole pictures are brought to --size; --crop shows parts of them at a scale",
            )
        for name in ("root", "out"):
            if "\0" in (getattr(self, name) or ""):
                raise SegzooError(
                    f"--{name} {getattr(self, name)!r:.80}", "no name holds a null byte"
                )
        for name in ("train_splits", "eval_splits"):
            splits = getattr(self, name)
            unknown = [split for split in splits if split not in ("train", "val", "test")]
            if unknown or not splits:
                raise SegzooError(f"{name}: {splits!r}", "splits are train, val and test")
        if set(self.train_splits) & set(self.eval_splits):
            raise SegzooError(
                f"the same split in train_splits {self.train_splits} and eval_splits "
                f"{self.eval_splits}",
                "score the model on pictures that it was not trained on",
            )


def make_config(
    flags: Mapping[str, Any], *, recipe: str | None = None, file: str | Path | None = None
) -> RunConfig:
    """Resolve a RunConfig: flag > file > recipe > default.

    `flags` holds only what was given, as strings or typed values. Raises SegzooError naming the
    flag or file, what came, and what would work.
    """
    from_file: dict[str, Any] = read_config(file) if file else {}
    recipe = str(recipe or from_file.get("recipe") or "default")
    from_file.pop("recipe", None)
    merged: dict[str, Any] = {"recipe": recipe}
    of_recipe = read_recipe(recipe)
    of_recipe.pop(OF_DATA_SETS, None)
    for source, origin in (
        (of_recipe, f"recipe `{recipe}`"),
        (from_file, f"config {file}"),
        (flags, ""),
    ):
        typed = _typed(source, origin)
        for key, value in typed.items():
            if key in ("model_options", "data_options"):
                value = {**merged.get(key, {}), **value}
            merged[key] = value
        if typed.get("size") is None:
            continue
        if typed.get("crop") is not None:
            _check_crop(merged)
        else:  # What is given nearer takes the place of the other.
            merged["crop"] = None
            if "scale" not in typed:
                merged.pop("scale", None)
    return RunConfig(**merged)


def _check_crop(values: Mapping[str, Any]) -> None:
    """Refuse a size beside a crop: pictures have their own then."""
    size, crop = values["size"], values["crop"]
    if size != crop:
        raise SegzooError(
            f"--size {'x'.join(map(str, size))} and --crop {'x'.join(map(str, crop))}",
            "give one: --crop shows pictures at their own size, or at a part of it by --scale",
        )


def with_typed_options(config: RunConfig) -> RunConfig:
    """Return the config with the options as typed values, those of its recipe among them.

    Refuses an unknown model, data set or option, and one without model or data, before any data is
    looked for or generated.
    """
    typed = {}
    missing = [name for name in ("model", "data") if not getattr(config, name)]
    by_recipe = read_recipe(config.recipe).get(OF_DATA_SETS, {})
    for kind, name, field in (
        ("models", config.model, "model_options"),
        ("datasets", config.data, "data_options"),
    ):
        if not name:
            continue
        entry = get_registry().get(kind, name)
        given = {**by_recipe.get(entry.identity, {}), **getattr(config, field)}
        made = make_options(entry.spec.options, given, entry.owner)
        typed[field] = {key: getattr(made, key) for key in given}
    if missing:
        flags = " and ".join(f"--{name}" for name in missing)
        words = ", ".join(f"{name}=" for name in missing)
        raise SegzooError(
            f"{flags} {'is' if len(missing) == 1 else 'are'} missing ({words} in Python): a "
            "training needs a model and a data set",
            "\n".join(_what_there_is(name) for name in missing),
        )
    check_loss(config.loss)
    check_metrics(config.metrics)
    return dataclasses.replace(config, **typed)


def _what_there_is(name: str) -> str:
    """Return what may be given as --model or --data, a line for each data set."""
    if name == "model":
        names = [entry.spec.name for entry in get_registry().all("models")]
        return f"--model NAME, where NAME is one of: {listed(names)}"
    entries = get_registry().all("datasets")
    usual = ("folder", "portraits")  # one's own pictures, and those that need no download
    entries.sort(key=lambda entry: entry.spec.name not in usual)
    root = {"folder": " --root DIR"}
    calls = [f"--data {e.spec.name}{root.get(e.spec.name, '')}" for e in entries]
    width = max(map(len, calls))
    lines = (f"{c:<{width}}  {e.spec.summary}" for c, e in zip(calls, entries, strict=True))
    return "\n".join(lines)


def recipe_names() -> list[str]:
    """List the packaged recipes."""
    folder = resources.files("segzoo") / "recipes"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Read a packaged recipe; raise SegzooError listing the recipes for an unknown name."""
    names = recipe_names()
    if name not in names:
        raise SegzooError(
            f"unknown recipe `{name}`", f"{nearest(name, names)}there is: {listed(names)}"
        )
    text = (resources.files("segzoo") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def config_toml(config: RunConfig) -> str:
    """Write a RunConfig as TOML that `segzoo train --config` takes again."""
    import tomli_w

    values = dataclasses.asdict(config)
    plain = {key: value for key, value in values.items() if value is not None}
    return tomli_w.dumps(_without_none(plain))


def _typed(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    infos = {info.name: info for info in option_infos(RunConfig)}
    typed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in infos:
            raise SegzooError(
                f"{origin or 'a training'} has no setting `{key}`",
                nearest(key, infos) or f"there is: {listed(infos)}",
            )
        hint = infos[key].type
        if hint in (Size, Size | None):
            none = hint != Size and str(value).lower() == "none"
            typed[key] = None if none else parse_size(value)
        elif typing.get_origin(hint) is tuple:
            parts = value.split(",") if isinstance(value, str) else value
            if not isinstance(parts, list | tuple) or not all(isinstance(p, str) for p in parts):
                raise SegzooError(
                    f"{called(key, origin)} takes a list of names, not {shown(value)}"
                )
            typed[key] = tuple(part.strip() for part in parts)
        elif typing.get_origin(hint) is dict:
            if not isinstance(value, Mapping):
                raise SegzooError(
                    f"{called(key, origin)} takes a table of options, not {shown(value)}"
                )
            typed[key] = dict(value)
        else:
            typed[key] = convert(
                str(value) if isinstance(value, Path) else value, infos[key], origin
            )
    return typed


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }
