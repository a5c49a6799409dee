"""When the state is saved: after epochs, within them, on a signal, and before an error."""

import contextlib
import time
from collections.abc import Iterator

import torch

from segzoo.errors import SegzooError, StoppedError
from segzoo.ranks import told
from segzoo.train.finite import FiniteWatch
from segzoo.train.run import Run
from segzoo.train.state import save_state
from segzoo.train.stopping import Overdue, Wish, stopped
from segzoo.train.undo import Undo

MOST_TIME_SAVING = 0.1
SECONDS_TO_AGREE, MOST_STEPS_TO_AGREE = 1.0, 10
"""Ranks ask the first one so often whether to save: asking is a message to all."""
SLOW = 1.0
"""Seconds from which on a step may have to be left in the middle: see train/stopping.py."""


class StateKeeper:
    """Saves the state: after epochs, unless that would take over a tenth of the time, and within
    them every `minutes`; where somebody wishes the training to end; and before an error.

    The first rank decides, and writes.
    """

    def __init__(self, minutes: float, wish: Wish | None = None) -> None:
        self.minutes = minutes
        self.wish = Wish() if wish is None else wish
        self.undo = Undo()
        self.watch: FiniteWatch | None = None
        self._cost = 0.0
        self._saved_at = self._step_began = time.monotonic()
        self._step_seconds = SLOW  # The first one may be compiled, or be slow.
        self._stops = False
        self._agree_at = 0

    @contextlib.contextmanager
    def keeping(self, run: Run) -> Iterator[None]:
        """Save what was done before an error that leaves the block, but for an unfinished step.

        So the run goes on from there once the cause is mended. Overdue becomes StoppedError.
        """
        try:
            yield
        except StoppedError:
            raise
        except (SegzooError, Overdue) as error:
            if run.ranks.count > 1:  # The others do not know, and saving takes all of them.
                raise
            self.undo.undo(run)
            if isinstance(error, Overdue):
                self._stop(run)
            if run.step and not (self.watch and self.watch.taken_a_bad_one):
                with contextlib.suppress(SegzooError):  # It may be that the disk is full.
                    self.save(run)
            raise

    def before_step(self, run: Run) -> None:
        """Remember the beginning of a step, where it may have to be undone.

        On a CPU that costs next to nothing. A GPU would be asked to copy in every step, for steps
        that come to their end soon enough.
        """
        self._step_began = time.monotonic()
        slow = self._step_seconds >= SLOW
        if slow and not self._stops and not (run.config.compile or run.ranks.count > 1):
            _let_backward_stop(run.model)
            self._stops = True
        if run.ranks.count > 1 and run.config.on_nonfinite != "skip":
            return
        if slow or run.device.type == "cpu" or run.config.on_nonfinite == "skip":
            self.undo.remember(run)

    def after_step(self, run: Run) -> None:
        """Save now if the last save was `minutes` ago, or if somebody wants the training to end.

        Raises StoppedError then.
        """
        now = time.monotonic()
        self._step_seconds = now - self._step_began
        if run.ranks.count > 1 and run.step < self._agree_at:
            return
        due = 0 < 60 * self.minutes <= now - self._saved_at
        steps = int(SECONDS_TO_AGREE / max(self._step_seconds, 1e-3))
        said = told([due, self.wish.signal, min(max(steps, 1), MOST_STEPS_TO_AGREE)])
        self._agree_at = run.step + said[0][2]
        wish = max(number for _, number, _ in said)
        if wish:
            self._stop(run, wish)
        if said[0][0]:
            assert self.watch is not None
            self.watch.ask(run.step, now=True)
            self.save(run)

    def while_scoring(self, run: Run) -> None:
        """Save the state before the scores, if somebody wants the training to end.

        Ranks score differently many batches, and hear it afterwards.
        """
        if self.wish.signal and run.ranks.count == 1:
            self._stop(run)

    def after_epoch(self, run: Run, *, last: bool) -> None:
        """Save now if the last save was long enough ago, and always at the `last` epoch."""
        since = time.monotonic() - self._saved_at
        due = last or since * MOST_TIME_SAVING >= self._cost
        said = told([due, self.wish.signal])
        wish = max(number for _, number in said)
        if said[0][0] or wish:
            self.save(run)
        if wish and not last:
            raise stopped(wish, f"after epoch {run.epoch}", str(run.folder))

    def save(self, run: Run) -> None:
        """Save now."""
        start = time.monotonic()
        save_state(run)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - start

    def _stop(self, run: Run, number: int = 0) -> None:
        """Save, and raise StoppedError that says where; a bad step is told instead."""
        self.wish.settle()
        where = f"in epoch {run.epoch + 1}, after step {run.step}"
        if run.partial.trained:
            where = f"in the scoring of epoch {run.epoch + 1}"
        elif self.watch is not None:
            self.watch.ask(run.step, now=run.device.type != "cpu")
        self.save(run)
        raise stopped(number or self.wish.signal, where, str(run.folder))


def _let_backward_stop(model: torch.nn.Module) -> None:
    """Let signals be heard in the middle of a backward pass.

    Python hears them between its own instructions, of which a backward pass has none, but for such
    hooks: one a parameter, when its gradient is there.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _: None)
