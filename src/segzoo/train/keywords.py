"""The keywords of `segzoo.fit`, as types and as help."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from segzoo.size import Size


class FitSettings(TypedDict, total=False):
    """What decides a training: the fields of `segzoo.RunConfig`."""

    model: str
    data: str
    root: str | Path | None
    sample: bool
    epochs: int
    minutes: float
    batch_size: int
    size: Size | int | str
    crop: Size | int | str | None
    scale: float
    normalize: Literal["auto", "imagenet", "half", "unit"]
    augment: Literal["none", "light", "strong"]
    loss: str
    aux_weight: float
    optimizer: str
    lr: float
    encoder_lr: float
    layer_decay: float
    freeze_epochs: int
    freeze_norms: bool
    drop_path: float
    weight_decay: float
    schedule: str
    step_epochs: float
    step_gamma: float
    warmup_epochs: float
    clip_grad: float
    accumulate: int
    ema: float
    monitor: str
    tolerance: float
    metrics: str
    patience: int
    train_splits: str | Sequence[str]
    eval_splits: str | Sequence[str]
    device: str
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    channels_last: bool
    compile: bool
    shard: bool
    workers: int
    cache: Literal["auto", "memory", "none"]
    on_bad_image: Literal["stop", "skip"]
    on_nonfinite: Literal["stop", "skip"]
    save_minutes: float
    keep_state: bool
    seed: int
    out: str | Path | None
    model_options: Mapping[str, Any]
    data_options: Mapping[str, Any]
