"""`segzoo.fit`: from a RunConfig to a prepared Run, and through its training."""

import contextlib
import copy
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, Unpack

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from segzoo.compute.contracts import check_parameters
from segzoo.compute.device import memory_format, pick_device, pick_precision
from segzoo.compute.grouped import better_in_fp32, keep_grouped_fp32
from segzoo.compute.norms import same_norms
from segzoo.compute.ranks import ALONE, Ranks, agreed, asked_for
from segzoo.compute.rendezvous import joined
from segzoo.compute.sharding import shard
from segzoo.data.fingerprint import fingerprint
from segzoo.data.loading.batches import Batches
from segzoo.data.loading.crops import Crops
from segzoo.data.loading.preflight import look
from segzoo.data.loading.readers import deaths_told
from segzoo.data.loading.sizes import typical_size
from segzoo.data.loading.spawning import leave_if_imported_again
from segzoo.data.opening import DataSource, advice, notices, unlike
from segzoo.data.opening import joined as one_after_another
from segzoo.data.sample import DataInfo
from segzoo.errors import PluginCodeError, SegzooError, StoppedError
from segzoo.host.memory import check_memory
from segzoo.host.streams import Unbroken, standard_stream
from segzoo.inference.keywords import takes_settings
from segzoo.losses.balance import with_counted_weights
from segzoo.losses.weighted import make_loss
from segzoo.metrics.selection import MetricSet, chosen_score
from segzoo.model.network import count_parameters, create_model
from segzoo.model.pixels import Preprocess, normalization
from segzoo.size import Size, scaled
from segzoo.store import locked, remove_temporary, shown, write_json
from segzoo.train.best_weights import shown_scale
from segzoo.train.config import RunConfig, make_config, with_typed_options
from segzoo.train.folders import (
    drop_needless_state,
    go_on,
    new_folder,
    remove_unused,
    resumed_config,
    whole_root,
)
from segzoo.train.keywords import FitSettings
from segzoo.train.layers import drop_blocks
from segzoo.train.loop import fit_run
from segzoo.train.notify import Observers
from segzoo.train.optim import WeightAverage, make_optimizer, make_schedule, pretrained_module
from segzoo.train.recovery.rehearsal import rehearse
from segzoo.train.recovery.resuming import pictures_of
from segzoo.train.recovery.saving import StateKeeper
from segzoo.train.recovery.state import has_state, state_folder
from segzoo.train.recovery.stopping import listening
from segzoo.train.recovery.trial import check_optimizer
from segzoo.train.run import Run, RunResult, save_config

log = logging.getLogger("segzoo")


@takes_settings(FitSettings, RunConfig)
@joined()
def fit(
    config: RunConfig | None = None,
    *,
    recipe: str | None = None,
    file: str | Path | None = None,
    resume: str | Path | None = None,
    force: bool = False,
    observers: Sequence[object] = (),
    progress: bool = True,
    stream: TextIO | None = None,
    **settings: Unpack[FitSettings],
) -> RunResult:
    """Train a registered model on a registered data set; what `segzoo train` runs.

    Give a RunConfig, or settings as keywords (``model="linknet", data="hk", root="...",
    epochs=20``) over a `recipe` and a TOML `file`. `resume` continues a run folder, to the bit, and
    with `force` also with other settings or pictures than the run's. `observers`
    are objects with ``segzoo_fit_start(run)`` and the other observer methods. Writes the run
    folder and returns its RunResult. Raises SegzooError for whatever a user can mend.

    Ranks that `torchrun` started train together, each with its share of every batch; the first
    one writes and speaks, and all return the same result.
    """
    leave_if_imported_again()
    ranks = asked_for()
    if resume is not None:
        if config is not None or recipe or file:
            raise SegzooError(
                "fit(resume=...) takes the run's own settings",
                "leave config, recipe and file out; further settings are keywords",
            )
        config, given = resumed_config(Path(resume), {**settings}, force)
    else:
        _check_given(config, settings)
        if config is not None and (settings or recipe or file):
            raise SegzooError(
                f"fit: a RunConfig and beside it {', '.join(settings) or 'a recipe or file'}",
                "give one or the other; dataclasses.replace changes a RunConfig",
            )
        config = with_typed_options(config or make_config({**settings}, recipe=recipe, file=file))
        if config.root is not None:
            config = replace(config, root=whole_root(config.root))
        given = new_folder(config, ranks)
    folder = given.absolute()  # Code of a plugin may go elsewhere.
    watching = Observers(observers) if ranks.first else Observers.nobody()
    with locked(state_folder(folder)) if ranks.first else contextlib.nullcontext():
        if ranks.first:
            remove_temporary(folder)
            remove_temporary(state_folder(folder))
            if resume is None:  # So that one killed while it is prepared can be resumed, too.
                save_config(folder, config)
        try:
            run = prepare(config, folder, ranks)
            rehearse(run)
        except BaseException:
            if ranks.first and resume is None:
                remove_unused(folder)
            raise
        output = stream if stream is not None else standard_stream(progress)
        run.stream = None if output is None else Unbroken(output)  # type: ignore[assignment]
        if resume is not None:
            go_on(run, force=force)
        if ranks.first:
            save_config(folder, run.config)
        result = _train(run, watching)
    return replace(result, folder=given, weights=given / run.best_path.name)


def _check_given(config: object, settings: Mapping[str, object]) -> None:
    """Refuse what is easily given in the place of names and settings."""
    if config is not None and not isinstance(config, RunConfig):
        raise SegzooError(
            f"fit: {type(config).__name__} is not a RunConfig",
            'give settings as keywords: fit(model="unet", data="folder", root="DIR")',
        )
    if isinstance(settings.get("model"), nn.Module):
        raise SegzooError(
            "fit: `model` is the name of a registered model, not a module",
            "`segzoo new model NAME` writes the package that registers one; segzoo.list_models()",
        )
    if "options" in settings:
        raise SegzooError(
            "fit has no setting `options`",
            "model_options are those of the model, data_options those of the data set",
        )


@deaths_told()  # A process may die, or be said again to have died, while observers work at the end.
def _train(run: Run, watching: Observers) -> RunResult:
    """Train a run that is ready, and sum it up."""
    config, folder, ranks = run.config, run.folder, run.ranks
    try:
        with listening(alone=ranks.count == 1) as wish, deaths_told():
            watching.wish = wish
            result = fit_run(run, watching, StateKeeper(config.save_minutes, wish))
    except BaseException as error:
        if (
            ranks.first
            and has_state(folder)
            and not isinstance(error, (StoppedError, PluginCodeError))
        ):
            log.warning("stopped; continue with `segzoo train --resume %s`", shown(folder))
        watching.fit_end(run, None, error)
        raise
    if ranks.first:
        run.check_kept()
    watching.fit_end(run, result, None)
    errors = run.disabled_observers
    left_out = tuple(m for batches in (run.train, *run.evals.values()) for m in batches.faults)
    result = replace(
        result,
        disabled_observers=tuple(errors),
        observer_errors=dict(errors),
        left_out=left_out,
        skipped_steps=tuple((step, tuple(keys)) for step, keys in run.skipped),
    )
    if left_out:
        log.warning("%d pictures could not be read and were left out", len(left_out))
    if ranks.first:
        write_json(folder / "summary.json", result.as_dict())
        drop_needless_state(folder, keep=config.keep_state)
    return result


def prepare(config: RunConfig, folder: Path, ranks: Ranks = ALONE) -> Run:
    """Build everything that a training consists of, refusing what does not fit before a step."""
    seed_everything(config.seed)
    device = pick_device(config.device)
    precision = pick_precision(config.precision, device)
    if config.batch_size < ranks.count:
        raise SegzooError(
            f"--batch-size {config.batch_size} is that of all {ranks.count} processes together",
            f"give at least {ranks.count}, or start fewer",
        )
    train_data, eval_data, info = open_splits(config)
    data_mark = agreed(fingerprint(info, {"train": train_data, **eval_data}), "the data")
    pictures = typical_size(train_data, config.seed) if ranks.first or config.crop else None
    crops = crops_of(config, pictures)
    batches = {
        name: Batches(
            data,
            info,
            size=None if crops else config.size,
            batch_size=1 if crops and name != "train" else config.batch_size,
            shuffle=name == "train",
            crops=crops if name == "train" else None,
            seed=config.seed,
            workers=config.workers,
            cache=config.cache,
            pin=device.type == "cuda",
            skip_bad=config.on_bad_image == "skip",
            ranks=ranks,
        )
        for name, data in (("train", train_data), *eval_data.items())
    }
    train = batches.pop("train")
    if 0 <= train.count < config.batch_size:
        log.warning(
            "only %d training pictures, fewer than a batch of %d: every step takes them all",
            train.count,
            config.batch_size,
        )
    how: dict[str, Any] = {
        "classes": info.classes,
        "ignore_index": info.ignore_index,
        "target": info.target,
    }
    metrics = MetricSet(config.metrics, **how, ranks=ranks)
    monitor = chosen_score(metrics, config.monitor, config.metrics, info)
    # After whatever is refused at once: looking takes a moment, and counting reads every picture.
    if ranks.first:
        look({"train": train, **batches}, info)
    if device.type == "cpu":
        check_memory(config.size, train.channels, len(info.classes))
    config = replace(config, loss=with_counted_weights(config.loss, train))
    loss = make_loss(config.loss, **how).to(device)
    model = create_model(
        config.model,
        in_channels=train.channels,
        num_classes=len(info.classes),
        model_options=config.model_options,
    )
    check_parameters(model.network, model.entry.owner)
    if config.drop_path > 0 and (encoder := pretrained_module(model)):
        drop_blocks(encoder, config.drop_path)
    spread = config.shard and ranks.count > 1
    # FSDP2 takes contiguous parameters alone; pictures and features are channels-last even so.
    layout = memory_format(config.channels_last and not spread)
    model = model.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    grouped_fp32 = better_in_fp32(model, device, precision)
    keep_grouped_fp32(model, grouped_fp32)
    whole = None
    if spread:
        same_norms(model)
        whole = copy.deepcopy(model)
        shard(model, device)
        forward: nn.Module = model
    else:
        forward = averaged_over(ranks, model, device)
    mean, std = normalization(config.normalize, train.channels, model.network)
    check_optimizer(config, device)
    optimizer = make_optimizer(model, config)
    steps_per_epoch = -(-len(train) // config.accumulate)
    torch.backends.cudnn.benchmark = device.type == "cuda"
    return Run(
        config=config,
        folder=folder,
        info=info,
        fingerprint=data_mark,
        pictures=pictures_of(info.identity, info.classes, {"train": train_data, **eval_data}),
        model=model,
        forward=torch.compile(forward) if config.compile else forward,  # type: ignore[arg-type]
        preprocess=Preprocess(mean, std, info.value_range).to(device),
        mean=mean,
        std=std,
        loss=loss,
        metrics=metrics,
        eval_metrics=MetricSet(config.metrics, **how, each=True, ranks=ranks),
        optimizer=optimizer,
        schedule=make_schedule(optimizer, config, steps_per_epoch),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == "fp16"),  # type: ignore[attr-defined]
        average=WeightAverage(model, config.ema, whole) if config.ema > 0 or whole else None,
        train=train,
        evals=batches,
        device=device,
        precision=precision,
        grouped_fp32=grouped_fp32,
        parameters=count_parameters(model),
        steps_per_epoch=steps_per_epoch,
        monitor=monitor,
        ranks=ranks,
        shown=pictures and shown_scale(pictures, config),
    )


def crops_of(config: RunConfig, pictures: Size | None) -> Crops | None:
    """Return what is cropped out of training pictures of a typical size, and say it."""
    if config.crop is None:
        return None
    crops = Crops.covering(config.crop, config.scale, pictures)
    if pictures is None:
        return crops
    shown, crop = (
        "x".join(map(str, size)) for size in (scaled(pictures, config.scale), config.crop)
    )
    log.info("crops of %s: %d of each picture of about %s in an epoch", crop, crops.each, shown)
    if all(
        side < least
        for side, least in zip(scaled(pictures, config.scale), config.crop, strict=True)
    ):
        log.warning(
            "--crop %s: pictures are smaller, about %s; what is missing is mirrored", crop, shown
        )
    return crops


def averaged_over(ranks: Ranks, model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with its gradients averaged over the ranks, and norms over all of them."""
    if ranks.count == 1:
        return model
    same_norms(model)
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        forward_sync_buffers=False,  # what the norms remember is the same everywhere
        find_unused_parameters=True,  # a frozen encoder, heads that only training has
        gradient_as_bucket_view=True,
    )


def open_splits(config: RunConfig) -> tuple[Any, dict[str, Any], DataInfo]:
    """Build the training data (joined splits) and the splits that are scored.

    Where none of the eval splits exists, one of the training splits takes its place, and where
    only `train` exists it is scored itself; both are said, and the notices of the splits.
    """
    source = DataSource(
        config.data, root=config.root, options=config.data_options, sample=config.sample
    )
    train = source.splits(config.train_splits)
    if not train:
        raise SegzooError(f"{source.entry.owner} has none of the splits {config.train_splits}")
    evals = source.splits(config.eval_splits)
    if not evals:
        stand_in = next((s for s in ("val", "test") if s in train and len(train) > 1), None)
        if stand_in:
            evals = {stand_in: train.pop(stand_in)}
            log.warning(
                "no %s split: scored on `%s`, which is left out of the training",
                "/".join(config.eval_splits),
                stand_in,
            )
        else:
            log.warning("no split to score: the scores are those of the training pictures")
    for text in notices([*train.values(), *evals.values()]):
        log.warning("%s", text)
    for text in advice([*train.values(), *evals.values()]):
        log.info("%s", text)
    info = source.info(next(iter(train.values())))
    for split, data in evals.items():
        if error := unlike(source.entry, split, source.info(data), info):
            raise error
    return one_after_another(list(train.values())), evals, info


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
