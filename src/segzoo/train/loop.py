"""All of the training: epochs in `fit_run`, steps in `train_epoch`.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import dataclasses
import logging
import time
from collections.abc import Iterator
from statistics import mean

import torch

from segzoo.compute.device import memory_format
from segzoo.compute.ranks import summed, told
from segzoo.errors import SegzooError
from segzoo.inference.score import score
from segzoo.model.description import Scores
from segzoo.train.best_weights import save_run_weights
from segzoo.train.layers import keep_statistics
from segzoo.train.notify import Observers
from segzoo.train.optim import hold_pretrained, pretrained_module, reschedule
from segzoo.train.recovery.finite import FiniteWatch
from segzoo.train.recovery.saving import StateKeeper
from segzoo.train.run import Partial, Run, RunResult, save_config
from segzoo.train.scored import save_picture_sums
from segzoo.train.step import Group, take_step
from segzoo.train.windowed import as_scored

log = logging.getLogger("segzoo")


def fit_run(run: Run, observers: Observers, keeper: StateKeeper) -> RunResult:
    """Train a prepared run to its last epoch, or until it has stopped getting better."""
    stopped_early = False
    observers.fit_start(run)
    while run.epoch < run.config.epochs and not stopped_early:
        start = time.perf_counter() - run.partial.seconds
        with keeper.keeping(run):
            metrics = {"train": train_epoch(run, keeper, start)}
            train_seconds = agreed_seconds(start)
            scores, error = score_epoch(run, keeper)
        metrics |= scores
        run.epoch += 1
        run.partial = Partial()
        seconds = agreed_seconds(start)
        run.seconds += seconds
        record(run, metrics, error, train_seconds, seconds)
        if run.config.minutes > 0:
            fit_to_time(run)
        kept = to_be_kept(run) and run.ranks.first
        if kept:
            save_run_weights(run, metrics)
            save_picture_sums(run)
        with keeper.keeping(run):
            if kept:
                observers.checkpoint_saved(run, run.epoch, run.best_path)
            observers.epoch_end(run, run.epoch, metrics)
        patience = run.config.patience
        stopped_early = 0 < patience <= run.epoch - top_epoch(run)
        keeper.after_epoch(run, last=stopped_early or run.epoch == run.config.epochs)
    return result_of(run, stopped_early)


def score_epoch(run: Run, keeper: StateKeeper) -> tuple[dict[str, Scores], float]:
    """Return the scores of each split, and the standard error of the score that chooses."""
    if run.average:
        run.average.gather()
    scores: dict[str, Scores] = {}
    error = 0.0
    keeper.before_scoring(run)
    for split, batches in run.evals.items():
        with keeper.wish.interruptible():
            scores[split] = score(
                as_scored(run.deployed, run),
                batches,
                preprocess=run.preprocess,
                loss=run.loss,
                metrics=run.eval_metrics,
                target=run.info.target,
                device=run.device,
                precision=run.precision,
                layout=memory_format(run.config.channels_last),
                watch=lambda: keeper.while_scoring(run),
            )
        run.picture_sums[split] = run.eval_metrics.sums()
        if split == run.choosing_split:
            error = run.eval_metrics.standard_error(run.monitor)
    keeper.undo.finished()
    return scores, error


def agreed_seconds(start: float) -> float:
    """Return the seconds since `start` by the clock of the first rank: what is timed decides."""
    return told(time.perf_counter() - start)[0]


def train_epoch(run: Run, keeper: StateKeeper, start: float) -> Scores:
    """Take one pass over the training pictures, or what is left of it; return their running loss
    and scores. It began, as far as its time is counted, at `start`.

    Several ranks step together: what order and augmentation draw is drawn for the batch of all of
    them, and its gradient and loss are those of that batch. What the network itself draws, as in
    dropout, is drawn by each.
    """
    config, device, ranks, part = run.config, run.device, run.ranks, run.partial
    if ranks.count > 1 and not part.batches:
        torch.manual_seed((config.seed * 1_000_003 + run.epoch) * ranks.count + ranks.rank)
    if part.random is None:
        part.random = torch.Generator().manual_seed(config.seed * 1_000_003 + run.epoch)
    if part.loss is None:
        part.loss = torch.zeros((), device=device)
    run.model.train()
    hold_pretrained(run.model, run.optimizer, held=run.epoch < config.freeze_epochs)
    if config.freeze_norms and (encoder := pretrained_module(run.model)):
        keep_statistics(encoder)
    run.metrics.start()
    run.metrics.load_state(part.metrics)
    run.images_done = part.pictures
    watch = keeper.watch = FiniteWatch(config.on_nonfinite, device)
    taken = 0
    for group in () if part.trained else keeper.wish.waiting_for(steps(run)):
        keeper.before_step(run)
        take_step(run, group, watch, keeper.undo, keeper.wish)
        taken += 1
        part.seconds = time.perf_counter() - start
        watch.ask(run.step)
        keeper.after_step(run)
    if not run.steps_per_epoch and not part.trained:
        run.schedule.step()
    part.trained = True
    watch.ask(run.step, now=True)
    report_skipped(watch, taken)
    # The only place where the host waits for the device, but for what `watch` asks it.
    mean_loss = float(summed(part.loss)) / ranks.count / max(run.images_done, 1)
    if part.scores is None:  # Not those of a run that was left while it was scored.
        part.scores = {"loss": mean_loss, **run.metrics.compute()}
    return part.scores


def report_skipped(watch: FiniteWatch, taken: int) -> None:
    """Say which of the steps `taken` were left out; raise SegzooError where all of them were."""
    if taken and len(watch.skipped) == taken:
        raise watch.diverged(watch.skipped[0][0])
    if watch.skipped:
        steps_out = "; ".join(f"{step} ({', '.join(keys)})" for step, keys in watch.skipped[:5])
        log.warning(
            "%d steps left out, whose loss or gradient was not finite: %s%s",
            len(watch.skipped),
            steps_out,
            "; ..." if len(watch.skipped) > 5 else "",
        )


def steps(run: Run) -> Iterator[Group]:
    """Yield the batches that each optimizer step takes together, those done before left out."""
    group: Group = []
    for batch in run.train.with_parts(run.epoch, run.partial.batches):
        group.append(batch)
        if len(group) == run.config.accumulate:
            yield group
            group = []
    if group:
        yield group


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
        chosen_on=run.choosing_split,
        tolerance=run.config.tolerance,
    )
