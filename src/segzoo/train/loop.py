"""All of the training: epochs in `fit_run`, steps in `train_epoch`.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.data.batches import Part
from segzoo.data.sample import Batch
from segzoo.errors import SegzooError
from segzoo.evaluate import device_target, memory_format, score
from segzoo.ranks import one_batch, own_share, summed, told
from segzoo.train.augment import Draws, augmented
from segzoo.train.device import autocast
from segzoo.train.layers import keep_statistics
from segzoo.train.notify import Observers
from segzoo.train.optim import hold_pretrained, pretrained_module, reschedule
from segzoo.train.run import Run, RunResult, Scores, save_config
from segzoo.train.state import StateKeeper
from segzoo.weights import save_run_weights


def fit_run(run: Run, observers: Observers, keeper: StateKeeper) -> RunResult:
    """Train a prepared run to its last epoch, or until it has stopped getting better."""
    stopped_early = False
    observers.fit_start(run)
    while run.epoch < run.config.epochs and not stopped_early:
        start = time.perf_counter()
        metrics = {"train": train_epoch(run)}
        train_seconds = agreed_seconds(start)
        if run.average:
            run.average.gather()
        error = 0.0
        for split, batches in run.evals.items():
            metrics[split] = score(
                run.deployed,
                batches,
                preprocess=run.preprocess,
                loss=run.loss,
                metrics=run.eval_metrics,
                target=run.info.target,
                device=run.device,
                precision=run.precision,
                layout=memory_format(run.config.channels_last),
            )
            if split == run.choosing_split:
                error = run.eval_metrics.standard_error(run.monitor)
        run.epoch += 1
        seconds = agreed_seconds(start)
        run.seconds += seconds
        record(run, metrics, error, train_seconds, seconds)
        if run.config.minutes > 0:
            fit_to_time(run)
        if to_be_kept(run) and run.ranks.first:
            save_run_weights(run, metrics)
            observers.checkpoint_saved(run, run.epoch, run.best_path)
        observers.epoch_end(run, run.epoch, metrics)
        patience = run.config.patience
        stopped_early = 0 < patience <= run.epoch - top_epoch(run)
        keeper.save(run, last=stopped_early or run.epoch == run.config.epochs)
    return result_of(run, stopped_early)


def agreed_seconds(start: float) -> float:
    """Return the seconds since `start` by the clock of the first rank: what is timed decides."""
    return told(time.perf_counter() - start)[0]


def train_epoch(run: Run) -> Scores:
    """Take one pass over the training pictures; return their running loss and scores.

    Several ranks step together: what order and augmentation draw is drawn for the batch of all of
    them, and its gradient and loss are those of that batch. What the network itself draws, as in
    dropout, is drawn by each.
    """
    config, device, ranks = run.config, run.device, run.ranks
    if ranks.count > 1:
        torch.manual_seed((config.seed * 1_000_003 + run.epoch) * ranks.count + ranks.rank)
    layout = memory_format(config.channels_last)
    random = torch.Generator().manual_seed(config.seed * 1_000_003 + run.epoch)
    run.model.train()
    hold_pretrained(run.model, run.optimizer, held=run.epoch < config.freeze_epochs)
    if config.freeze_norms and (encoder := pretrained_module(run.model)):
        keep_statistics(encoder)
    run.metrics.start()
    run.images_done = 0
    total = torch.zeros((), device=device)
    for batch, part, is_last_of_step, share in steps(run):
        images_BCHW = run.preprocess(batch.images_BCHW.to(device, non_blocking=True))
        target_BHW = device_target(batch.target_BHW, run.info.target, device)
        draws = Draws(random, part.first, part.total)
        images_BCHW, target_BHW = augmented(config.augment, images_BCHW, target_BHW, draws)
        with one_batch(len(batch.keys) / part.total), together(run, is_last_of_step):
            with autocast(device, run.precision), batch_norm_error():
                output = run.forward(images_BCHW.contiguous(memory_format=layout), target_BHW)
            loss, logits_BKHW = loss_of(output, target_BHW, run.loss, config.aux_weight)
            run.scaler.scale(loss * share).backward()
        if is_last_of_step:
            if config.clip_grad > 0:
                run.scaler.unscale_(run.optimizer)
                nn.utils.clip_grad_norm_(run.model.parameters(), config.clip_grad)
            run.scaler.step(run.optimizer)
            run.scaler.update()
            run.optimizer.zero_grad(set_to_none=True)
            if run.steps_per_epoch:
                run.schedule.step()
            run.step += 1
            if run.average:
                run.average.update(run.model)
        run.metrics.update(logits_BKHW.detach(), target_BHW)
        total += loss.detach() * part.total
        run.images_done += part.total
    if not run.steps_per_epoch:
        run.schedule.step()
    # The only place where the host waits for the device.
    mean_loss = float(summed(total)) / ranks.count / max(run.images_done, 1)
    return {"loss": finite(mean_loss, run), **run.metrics.compute()}


def together(run: Run, is_last_of_step: bool) -> contextlib.AbstractContextManager[None]:
    """Let ranks average their gradients in the last backward pass of a step alone."""
    if run.ranks.count > 1 and run.config.shard:
        run.model.set_requires_gradient_sync(is_last_of_step)  # type: ignore[operator]
        return contextlib.nullcontext()
    if run.ranks.count == 1 or is_last_of_step:
        return contextlib.nullcontext()
    return run.forward.no_sync()  # type: ignore[operator]


def steps(run: Run) -> Iterator[tuple[Batch, Part, bool, float]]:
    """Yield (batch, its part, whether an optimizer step follows, its share of that step's loss)."""
    group: list[tuple[Batch, Part]] = []
    for batch in run.train.with_parts(run.epoch):
        group.append(batch)
        if len(group) == run.config.accumulate:
            yield from shares(group)
            group = []
    yield from shares(group)


def shares(group: list[tuple[Batch, Part]]) -> Iterator[tuple[Batch, Part, bool, float]]:
    """Weigh the batches of one optimizer step by their pictures, so that each picture counts 1."""
    pictures = sum(part.total for _, part in group)
    for index, (batch, part) in enumerate(group):
        yield batch, part, index == len(group) - 1, part.total / pictures


def loss_of(
    output: Any, target_BHW: Tensor, loss: nn.Module, aux_weight: float
) -> tuple[Tensor, Tensor]:
    """Return (scalar loss, logits_BKHW) of a model's training output, a tensor or a dict."""
    if not isinstance(output, dict):
        return loss(output, target_BHW), output
    if "loss" in output:
        return own_share() * output["loss"], output["out"]
    value = loss(output["out"], target_BHW)
    if "aux" in output:
        value = value + aux_weight * loss(output["aux"], target_BHW)
    return value, output["out"]


def finite(loss: float, run: Run) -> float:
    """Return the epoch's loss, or raise SegzooError when the training has diverged."""
    if math.isfinite(loss):
        return loss
    raise SegzooError(
        f"the loss became {loss} in epoch {run.epoch + 1}",
        f"lower --lr (now {run.config.lr:g}), set --clip-grad, or use --precision fp32; the best "
        f"weights so far are in {run.folder}",
    )


@contextlib.contextmanager
def batch_norm_error() -> Iterator[None]:
    """Explain torch's complaint about a batch norm that sees a single value per channel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SegzooError(
            "a batch norm sees one value per channel: a batch of one picture, and a size that is "
            "the network's stride",
            "use a larger --size, or a --batch-size that leaves no batch of one",
        ) from error


def to_be_kept(run: Run) -> bool:
    """Say whether this epoch's weights replace those kept so far, and remember it.

    They do unless their monitored score is more than `tolerance` standard errors below the best.
    With 1 that is the one-standard-error rule (Breiman et al., Classification and Regression Trees,
    1984, section 3.4.3): among scores that some pictures cannot tell apart, what is known
    beforehand decides, here that weights of a falling learning rate get better.
    """
    values = monitored(run)
    *before, now = values
    if run.best_epoch and not now > max(before):
        top = run.history[values.index(max(values))]
        margin = run.config.tolerance * top["monitor_error"]
        if margin == 0 or now < max(values) - margin:
            return False
    run.best_score, run.best_epoch = run.chosen_scores(run.history[-1])[run.monitor], run.epoch
    return True


def top_epoch(run: Run) -> int:
    """Return the number of the first epoch with the best monitored score."""
    values = monitored(run)
    return values.index(max(values)) + 1


def monitored(run: Run) -> list[float]:
    """Return the monitored score of every epoch, of changed sign where lower is better."""
    known = run.chosen_scores(run.history[-1])
    if run.monitor not in known:
        raise SegzooError(
            f"--monitor {run.monitor}: no such score", f"there is: {', '.join(known)}"
        )
    sign = 1 if run.eval_metrics.higher_is_better.get(run.monitor, True) else -1
    return [sign * run.chosen_scores(epoch)[run.monitor] for epoch in run.history]


def fit_to_time(run: Run) -> None:
    """Set the epochs to as many as the minutes allow, by the time of those done but the first.

    The first one reads the pictures besides. Done after each epoch, because a machine that has
    other work for a while would otherwise be given too few, or the run too long.
    """
    left = run.config.minutes * 60 - run.seconds
    seconds = [record["seconds"] for record in run.history]
    more = max(0, int(left / mean(seconds[1:] or seconds)))
    run.config = dataclasses.replace(run.config, epochs=run.epoch + more)
    reschedule(run.schedule, run.config, run.steps_per_epoch)
    if run.ranks.first:
        save_config(run.folder, run.config)


def record(
    run: Run, metrics: dict[str, Scores], error: float, train_seconds: float, seconds: float
) -> None:
    """Add the epoch to the run's history; `error` is the standard error of the monitored score."""
    run.history.append(
        {
            "epoch": run.epoch,
            "lr": float(run.optimizer.param_groups[0]["lr"]),
            **metrics,
            "monitor_error": error,
            "seconds": round(seconds, 3),
            "images_per_second": round(run.images_done / train_seconds, 3),
        }
    )


def result_of(run: Run, stopped_early: bool) -> RunResult:
    """Sum the finished run up; speeds are medians over the epochs."""
    best = run.history[run.best_epoch - 1]
    middle = len(run.history) // 2
    return RunResult(
        folder=run.folder,
        weights=run.best_path,
        model=run.model.entry.identity,
        data=run.info.identity,
        parameters=run.parameters,
        monitor=run.monitor,
        best_score=float(run.best_score or 0.0),
        best_epoch=run.best_epoch,
        epochs=run.epoch,
        stopped_early=stopped_early,
        scores={split: best[split] for split in ("train", *run.evals)},
        seconds=round(run.seconds, 3),
        seconds_per_epoch=sorted(e["seconds"] for e in run.history)[middle],
        images_per_second=sorted(e["images_per_second"] for e in run.history)[middle],
        device=str(run.device),
        precision=run.precision,
        disabled_observers=tuple(run.disabled_observers),
    )
