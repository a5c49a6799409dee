"""Progress of a training: a live bar on a terminal, one plain line an epoch anywhere else."""

import textwrap
from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn

from segzoo.model.description import Scores
from segzoo.train.run import Run
from segzoo.words import visible

NO_BREAK = "\xa0"
TEXT_OF_BAR = 66
"""The width of what stands beside the bar of a long training of very many pictures."""


class _LiveBar(Progress):
    """A bar that reads the run's counters when it is redrawn, so that no step has to tell it."""

    run: Run

    def get_renderables(self) -> Iterable[RenderableType]:
        for task in self.tasks:
            done, epochs = self.run.images_done, self.run.config.epochs
            self.update(
                task.id,
                completed=done,
                description=f"epoch {min(self.run.epoch + 1, epochs)}/{epochs}",
                speed=self._speed(task.speed, done),
            )
        yield self.make_tasks_table(self.tasks)

    def _speed(self, rate: float | None, done: int) -> str:
        if not rate:
            return ""
        left = (self.run.config.epochs - self.run.epoch) * max(self.run.train.count, 0) - done
        return f", {rate:.1f} img/s, {_clock(left / rate)} left" if left >= 0 else ""


class Screen:
    """What a person watching sees of a run."""

    def __init__(self, run: Run, stream: TextIO) -> None:
        self.run = run
        self.console = Console(file=stream, highlight=False)
        self.bar: _LiveBar | None = None

    def start(self) -> None:
        """Say what is trained on what, and show the bar where there is a terminal."""
        run = self.run
        sizes = ", ".join(
            f"{name} {'stream' if batches.stream else batches.count}"
            for name, batches in (("train", run.train), *run.evals.items())
        )
        height, width = run.config.size
        self._line(
            f"{run.model.entry.identity} ({run.parameters:,} parameters) on {run.info.identity} "
            f"({sizes}; {len(run.info.classes)} classes, {run.info.target}), "
            f"{height}x{width}, {run.device} {run.precision}"
        )
        self.console.print(f"run folder: {visible(str(run.folder))}", soft_wrap=True, markup=False)
        self._line(
            f"the weights of an epoch with * are kept in place of earlier ones: {_rule(run)}"
        )
        if self.console.is_terminal:
            spare = self.console.width - TEXT_OF_BAR
            self.bar = _LiveBar(
                TextColumn("{task.description}"),
                *([BarColumn(min(spare, 40))] if spare > 3 else []),
                TextColumn("{task.completed}/{task.total} pictures{task.fields[speed]}"),
                console=self.console,
                transient=True,
            )
            self.bar.run = run
            self.bar.add_task("", total=max(run.train.count, 0) or None, speed="")
            self.bar.start()

    def epoch_end(self, metrics: dict[str, Scores]) -> None:
        """Print the epoch's line: scores, speed, time left, and a star for new best weights."""
        run = self.run
        record = run.history[-1]
        recent = [epoch["seconds"] for epoch in run.history[-3:]]
        left = (run.config.epochs - run.epoch) * sum(recent) / len(recent)
        parts = [f"{split}{NO_BREAK}{_scores(scores)}" for split, scores in metrics.items()]
        best = f"{NO_BREAK}*" if run.best_epoch == run.epoch else ""
        epoch = f"epoch {run.epoch:>3}/{run.config.epochs}".replace(" ", NO_BREAK)
        self._line(
            f"{epoch}  {' | '.join(parts)}  "
            f"{record['images_per_second']:.1f}{NO_BREAK}img/s, {_clock(left)}{NO_BREAK}left{best}"
        )

    def stop(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()

    def _line(self, text: str) -> None:
        """Print a line, on a terminal broken between scores; in a log file it stays one line."""
        text = visible(text)
        if self.console.is_terminal:
            text = textwrap.fill(
                text,
                max(self.console.width, 20),
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        self.console.print(text.replace(NO_BREAK, " "), soft_wrap=True, markup=False)


def _rule(run: Run) -> str:
    """Say which epoch's weights are kept: see `to_be_kept` in train/loop.py."""
    best = f"its {run.choosing_split} {run.monitor} is the best so far"
    if not run.config.tolerance:
        return best
    return f"{best}, or within {run.config.tolerance:g} standard errors of it (--tolerance)"


def _scores(scores: Scores) -> str:
    shown = {"loss": "loss", "pixel_accuracy": "acc", "mean_iou": "mIoU", "mad": "MAD"}
    words = [
        f"{short}{NO_BREAK}{scores[name]:.4f}" for name, short in shown.items() if name in scores
    ]
    per_class = [name for name in scores if name.startswith("iou/")]
    if len(per_class) == 2:  # the foreground's; more classes are in metrics.jsonl
        words.append(f"{per_class[1][4:]}{NO_BREAK}{scores[per_class[1]]:.4f}")
    return " ".join(words)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
