"""Telling observers, each by itself: one that raises is named, disabled for the run, and reported.

Observers return nothing and nobody waits for their order. What they do to random states, to the
gradient mode and to the scores they are given changes nothing in the training.
"""

import contextlib
import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from segzoo.data.batches import signalled_death
from segzoo.errors import SegzooError
from segzoo.isolation import PluginError, one_line
from segzoo.packages import CORE
from segzoo.plugins import Manager, get_manager
from segzoo.randomness import kept_random
from segzoo.train.run import Run, RunResult, Scores

log = logging.getLogger("segzoo")


class Observers:
    """The observer hooks of all plugins, and of objects given to `segzoo.fit`."""

    def __init__(self, further: Sequence[object] = ()) -> None:
        """Raise SegzooError for an object of `further` whose methods are no hooks."""
        self._managers: dict[str, Manager] = {}
        self._own: set[str] = set()
        for plugin in get_manager().plugins:
            if plugin.implementation is not None:
                self._add(plugin.identity, plugin.implementation)
                if plugin.distribution == CORE:
                    self._own.add(plugin.identity)
        for index, observer in enumerate(further):
            self._add(f"{type(observer).__name__} (observers[{index}])", observer)

    @classmethod
    def nobody(cls) -> "Observers":
        """Return the observers of a rank that is not the first: none."""
        none = cls.__new__(cls)
        none._managers, none._own = {}, set()
        return none

    def _add(self, name: str, observer: object) -> None:
        manager = Manager()
        try:
            manager.register(observer, name)
            manager.check_pending()
        except PluginError as error:
            raise SegzooError(f"observer {name}: {error}", "see docs/hooks.md") from error
        self._managers[name] = manager

    def fit_start(self, run: Run) -> None:
        """Tell that training begins."""
        self._tell("segzoo_fit_start", run, {})

    def epoch_end(self, run: Run, epoch: int, metrics: dict[str, Scores]) -> None:
        """Tell the scores of an epoch."""
        self._tell("segzoo_epoch_end", run, {"epoch": epoch, "metrics": metrics})

    def checkpoint_saved(self, run: Run, epoch: int, path: Path) -> None:
        """Tell that new best weights were written."""
        self._tell("segzoo_checkpoint_saved", run, {"epoch": epoch, "path": path})

    def fit_end(self, run: Run, result: RunResult | None, error: BaseException | None) -> None:
        """Tell that training ended, well or not."""
        self._tell("segzoo_fit_end", run, {"result": result, "error": error})

    def _tell(self, hook: str, run: Run, arguments: dict[str, Any]) -> None:
        for name, manager in list(self._managers.items()):
            caller = getattr(manager.hook, hook)
            if not caller.get_hookimpls():
                continue
            try:
                if name in self._own:
                    caller(run=run, **arguments)
                else:
                    with kept_state(run):
                        caller(run=run, **_copied(arguments))
            # sys.exit() in an observer ends the observer; Ctrl-C ends the training.
            except (Exception, SystemExit, GeneratorExit) as error:
                if signalled_death(error):  # It is not the observer's, who was at work then.
                    raise
                del self._managers[name]
                what = one_line(error)
                epoch = f" of epoch {run.epoch}" if run.epoch else ""
                run.disabled_observers[name] = f"{what} (in {hook}{epoch})"
                log.warning(
                    "observer %s raised %s in %s; it is disabled for this run",
                    name,
                    what,
                    hook,
                    exc_info=log.isEnabledFor(logging.DEBUG),
                )


@contextlib.contextmanager
def kept_state(run: Run) -> Iterator[None]:
    """Put back what an observer may change without meaning it: random states, grad mode, threads,
    torch's default type and device, and what the network's norms remember.

    Takes 0.3 ms, once per hook and observer: an observer that draws numbers, or runs the network,
    leaves the training bit for bit as it is without it.
    """
    threads, dtype, device = (
        torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()
    )  # fmt: skip
    buffers = [(buffer, buffer.clone()) for buffer in run.model.buffers()]
    try:
        with kept_random(run.device), torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        for buffer, before in buffers:
            buffer.copy_(before)


def _copied(arguments: dict[str, Any]) -> dict[str, Any]:
    """Copy the scores, which also the run's history holds."""
    shared = ("metrics", "result")
    return {k: copy.deepcopy(v) if k in shared else v for k, v in arguments.items()}
