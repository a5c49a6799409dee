"""Telling observers, each by itself: one that raises is named, disabled for the run, and reported.

Observers return nothing and nobody waits for their order. What they do to the process, to the run
and to the scores they are given is put back: see train/recovery/unchanged_run.py.
"""

import contextlib
import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segzoo.data.loading.readers import signalled_death
from segzoo.errors import SegzooError
from segzoo.model.description import Scores
from segzoo.plugins.isolation import PluginError, one_line, trace_of
from segzoo.plugins.manager import Manager, get_manager
from segzoo.plugins.packages import CORE
from segzoo.store import shown
from segzoo.train.recovery.crash import keep_traceback
from segzoo.train.recovery.stopping import Wish
from segzoo.train.recovery.unchanged_run import unchanged_run
from segzoo.train.recovery.unchanged_weights import WeightsChangedError, kept_weights
from segzoo.train.run import Run, RunResult

log = logging.getLogger("segzoo")

AT_THE_END = "segzoo_fit_end"


class Observers:
    """The observer hooks of all plugins, and of objects given to `segzoo.fit`."""

    def __init__(self, further: Sequence[object] = ()) -> None:
        """Raise SegzooError for an object of `further` whose methods are no hooks."""
        self.wish = Wish()  # what the training listens to
        self._managers: dict[str, Manager] = {}
        self._own: set[str] = set()
        self._told: set[str] = set()
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
        none.wish, none._managers, none._own, none._told = Wish(), {}, set(), set()
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
        self._tell(AT_THE_END, run, {"result": result, "error": error})

    def _tell(self, hook: str, run: Run, arguments: dict[str, Any]) -> None:
        for name, manager in list(self._managers.items()):
            caller = getattr(manager.hook, hook)
            if not caller.get_hookimpls():
                continue
            try:
                if name in self._own:
                    caller(run=run, **arguments)
                else:
                    with self._kept(name, hook, run), unchanged_run(run, self.wish):
                        caller(run=run, **_copied(arguments))
            except WeightsChangedError as error:
                raise _ended_by(name, hook, run, error) from error
            except KeyboardInterrupt:  # Ctrl-C ends the training,
                raise
            except BaseException as error:  # and sys.exit() in an observer the observer.
                if signalled_death(error):  # It is not the observer's, who was at work then.
                    raise
                self._disable(name, hook, run, error)

    def _kept(self, name: str, hook: str, run: Run) -> contextlib.AbstractContextManager[None]:
        """Put back weights that an observer changes, and say it once; at the end it may."""

        def tell(what: str) -> None:
            if name not in self._told:
                self._told.add(name)
                log.warning(
                    "observer %s changed weights in %s (%s): they are put back; observers look on",
                    *(name, hook, what),
                )

        return contextlib.nullcontext() if hook == AT_THE_END else kept_weights(run, tell)

    def _disable(self, name: str, hook: str, run: Run, error: BaseException) -> None:
        """Do without an observer from now on; say why, and keep its traceback."""
        del self._managers[name]
        what = one_line(error)
        where = f"{hook} of epoch {run.epoch}" if run.epoch else hook
        run.disabled_observers[name] = f"{what} (in {where})"
        log.warning(
            "observer %s raised %s in %s; it is disabled for this run",
            name,
            what,
            hook,
            exc_info=log.isEnabledFor(logging.DEBUG),
        )
        keep_traceback(run.folder, f"Observer {name} in {where}", trace_of(error))


def _ended_by(name: str, hook: str, run: Run, error: WeightsChangedError) -> WeightsChangedError:
    has_saved = run.generation > 0
    go_on = f"`segzoo train --resume {shown(run.folder)}`"
    return WeightsChangedError(
        f"observer {name}, in {hook}: {error.message}, which cannot be put back",
        "do without the observer; "
        + (f"the state of the last save stands: go on with it by {go_on}" if has_saved else
           "nothing was saved before it"),
    )  # fmt: skip


def _copied(arguments: dict[str, Any]) -> dict[str, Any]:
    """Copy the scores, which also the run's history holds."""
    shared = ("metrics", "result")
    return {k: copy.deepcopy(v) if k in shared else v for k, v in arguments.items()}
