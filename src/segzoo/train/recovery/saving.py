"""When the state is saved: after epochs, within them, on a signal, and before an error."""

import contextlib
import logging
from collections.abc import Iterator
from typing import NoReturn

import torch

from segzoo.compute.ranks import told
from segzoo.compute.rendezvous import again
from segzoo.errors import Overdue, PluginCodeError, StoppedError
from segzoo.host import system
from segzoo.plugins.isolation import one_line
from segzoo.store import shown
from segzoo.train.recovery.crash import crash_of, free_locals
from segzoo.train.recovery.finite import FiniteWatch
from segzoo.train.recovery.state import save_state
from segzoo.train.recovery.stopping import Wish, stopped
from segzoo.train.recovery.unchanged_weights import WeightsChangedError
from segzoo.train.recovery.undo import Undo
from segzoo.train.run import Run

log = logging.getLogger("segzoo")

LAST_SAVE = "the state is that of the last save"
MOST_TIME_SAVING = 0.1
SECONDS_TO_AGREE, MOST_STEPS_TO_AGREE = 1.0, 10
"""Ranks ask the first one so often whether to save: asking is a message to all."""
SLOW = 1.0
"""Seconds from which on a step may have to be left in the middle: see stopping.py."""


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
        self._saved_at = self._step_began = system.monotonic()
        self._step_seconds = SLOW  # The first one may be compiled, or be slow.
        self._stops = False
        self._agree_at = 0

    @contextlib.contextmanager
    def keeping(self, run: Run) -> Iterator[None]:
        """Save what was done before whatever leaves the block, but for an unfinished step.

        So the run goes on from there once the cause is mended. Overdue becomes StoppedError, and
        an error of a plugin's own code PluginCodeError; a bug of the core's stays what it is.
        """
        try:
            yield
        except (StoppedError, WeightsChangedError):
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.wish.signal:
                raise  # The second Ctrl-C: at once.
            crash = crash_of(run, error, self._pictures(run))
            if isinstance(error, MemoryError):
                free_locals(error)
            if run.ranks.count > 1:
                _raise(run, error, crash, self._saved_together(run))
            if isinstance(error, Overdue):
                self.undo.undo(run)
                self._stop(run)
            _raise(run, error, crash, self._saved_anyhow(run))

    def _pictures(self, run: Run) -> list[str]:
        """Return the pictures of the step that is under way."""
        under_way = self.undo.possible or self.undo.half_changed
        return self.watch.pictures(run.step + 1) if self.watch and under_way else []

    def _saved_anyhow(self, run: Run) -> str:
        """Go back to before the step and save, if that can be; return what there is to go on with.

        Nothing that goes wrong with it hides the error that it is about.
        """
        try:
            self.undo.undo(run)
            if run.step == 0:
                return "nothing was trained before it"
            if not self.undo.half_changed and not (self.watch and self.watch.taken_a_bad_one):
                self.save(run)
                return "the state before it is saved"
        except Exception as error:  # The disk may be full, memory too, a GPU's context be lost.
            log.warning("the state could not be saved: %s", one_line(error))
        return LAST_SAVE

    def _saved_together(self, run: Run) -> str:
        """Let all ranks, which an error of one of them has parted, go back to before the step and
        save, if that can be; return what there is to go on with.

        It cannot where one of them has finished the step meanwhile, or does not come.
        """
        part = run.partial
        # What NCCL does on a GPU, and parts of a network on ranks that are gone, do not come back.
        if run.device.type != "cpu" or run.config.shard:
            return LAST_SAVE
        possible = not self.undo.half_changed and not (self.watch and self.watch.taken_a_bad_one)
        possible &= not part.trained or part.scores is not None
        try:
            with again() as all_here:
                there = told([possible, run.step, part.batches, part.trained]) if all_here else []
                if not there or not run.step or any(one != [True, *there[0][1:]] for one in there):
                    return LAST_SAVE if run.step else "nothing was trained before it"
                self.undo.undo(run)
                self.save(run)
                return "the state before it is saved"
        except Exception as error:  # Another one may end meanwhile.
            log.warning("the state could not be saved: %s", one_line(error))
        return LAST_SAVE

    def before_scoring(self, run: Run) -> None:
        """Remember the beginning of a scoring, to which whatever leaves it goes back."""
        self.undo.remember(run)

    def before_step(self, run: Run) -> None:
        """Remember the beginning of a step, which may have to be undone; next to nothing."""
        self._step_began = system.monotonic()
        self.wish.rearm()
        slow = self._step_seconds >= SLOW
        if slow and not self._stops and not (run.config.compile or run.ranks.count > 1):
            _let_backward_stop(run.model)
            self._stops = True
        self.undo.remember(run)

    def after_step(self, run: Run) -> None:
        """Save now if the last save was `minutes` ago, or if somebody wants the training to end.

        Raises StoppedError then.
        """
        now = system.monotonic()
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
        since = system.monotonic() - self._saved_at
        due = last or since * MOST_TIME_SAVING >= self._cost
        said = told([due, self.wish.signal])
        wish = max(number for _, number in said)
        if said[0][0] or wish:
            self.save(run)
        if wish and not last:
            raise stopped(wish, f"after epoch {run.epoch}", str(shown(run.folder)))

    def save(self, run: Run) -> None:
        """Save now."""
        start = system.monotonic()
        save_state(run)
        self._saved_at = system.monotonic()
        self._cost = self._saved_at - start

    def _stop(self, run: Run, number: int = 0) -> None:
        """Save, and raise StoppedError that says where; a bad step is told instead."""
        self.wish.settle()
        where = f"in epoch {run.epoch + 1}, after step {run.step}"
        if run.partial.trained:
            self.undo.undo(run)
            where = f"in the scoring of epoch {run.epoch + 1}"
        elif self.watch is not None:
            self.watch.ask(run.step, now=run.device.type != "cpu")
        self.save(run)
        raise stopped(number or self.wish.signal, where, str(shown(run.folder)))


def _raise(run: Run, error: BaseException, crash: PluginCodeError | None, state: str) -> NoReturn:
    """Raise an error that ends a training, or, of a plugin, what is said of it and of the state."""
    if crash is None:
        raise error
    go_on = f"segzoo train --resume {shown(run.folder)}"
    hint = f"{crash.hint}{state}; correct it, and go on with `{go_on}`"
    raise PluginCodeError(crash.message, hint, crash.trace) from error


def _let_backward_stop(model: torch.nn.Module) -> None:
    """Let signals be heard in the middle of a backward pass.

    Python hears them between its own instructions, of which a backward pass has none, but for such
    hooks: one a parameter, when its gradient is there.
    """
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _: None)
