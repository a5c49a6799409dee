"""Telling observers, each by itself: one that raises is named, disabled for the run, and reported.

Observers return nothing and nobody waits for their order.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pluggy

from segzoo import hookspecs
from segzoo.plugins import Manager, get_manager
from segzoo.train.run import Run, RunResult, Scores

log = logging.getLogger("segzoo")


class Observers:
    """The observer hooks of all plugins, and of objects given to `segzoo.fit`."""

    def __init__(self, further: Sequence[object] = ()) -> None:
        self._managers: dict[str, pluggy.PluginManager] = {}
        for plugin in get_manager().plugins:
            if plugin.implementation is not None:
                self._add(plugin.identity, plugin.implementation)
        for index, observer in enumerate(further):
            self._add(f"{type(observer).__name__} (observers[{index}])", observer)

    def _add(self, name: str, observer: object) -> None:
        manager = Manager()
        manager.register(observer, name)
        manager.check_pending()
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
        assert hasattr(hookspecs, hook)
        for name, manager in list(self._managers.items()):
            try:
                getattr(manager.hook, hook)(run=run, **arguments)
            except Exception as error:
                del self._managers[name]
                run.disabled_observers.append(name)
                log.warning(
                    "observer %s raised %s: %s in %s; it is disabled for this run",
                    name,
                    type(error).__name__,
                    error,
                    hook,
                    exc_info=log.isEnabledFor(logging.DEBUG),
                )
