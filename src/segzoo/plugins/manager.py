"""Loading plugins: one at a time, phase by phase, so that none can hurt the others.

Phases: metadata (the package says its name), gate (API major, SEGZOO_DISABLE), import, register
(signatures), check_pending (misspelt hooks), collect (the specs are asked for), validate (and are
well-formed). A plugin that fails a phase is kept in the list as broken, with the phase and the
reason, and provides nothing.

Environment, read when the manager is made: ``SEGZOO_DISABLE=a,b`` leaves plugins out (by entry
point, distribution or both), ``SEGZOO_NO_PLUGINS=1`` leaves all but the core's own out,
``SEGZOO_STRICT=1`` turns a broken plugin into an error.
"""

import functools
import inspect
import os
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pluggy

from segzoo.errors import SegzooError, listed, nearest
from segzoo.plugins import hookspecs
from segzoo.plugins.entrypoints import API_MAJOR, describe, find_plugins
from segzoo.plugins.entrypoints import Plugin as Plugin
from segzoo.plugins.isolation import PluginError, contained, one_line, traced
from segzoo.plugins.packages import CORE, CORE_PACKAGE, RENAME
from segzoo.plugins.registry import SINGULAR, Entry, Registry
from segzoo.plugins.signatures import HOOKS, spec_fault
from segzoo.plugins.signatures import signature_fault as signature_fault
from segzoo.plugins.specs import KINDS, Spec


class Manager(pluggy.PluginManager):
    """pluggy's manager plus the list of `plugins` in every state and the `registry` of specs."""

    def __init__(self) -> None:
        super().__init__("segzoo")
        self.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.registry = Registry(self.plugins)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> "pluggy.HookimplOpts | None":
        """Take functions with the prefix ``segzoo_`` as hooks, marked or not.

        Raises PluginError for one whose arguments pluggy would not or could not pass.
        """
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and name.startswith("segzoo_"):
            value = getattr(plugin, name, None)
            if inspect.isroutine(value):
                options = _unmarked()
            elif name in HOOKS and isinstance(plugin, ModuleType):
                raise PluginError(f"{name} is a {type(value).__name__}, not a function")
        hook = (options["specname"] or name) if options else ""
        if hook in HOOKS and (fault := signature_fault(getattr(plugin, name), hook)):
            raise PluginError(f"{name} {fault}")
        return options

    def check_pending(self) -> None:
        """Raise PluginError for a function with the prefix ``segzoo_`` that is no hook."""
        for hook in vars(self.hook).values():
            if isinstance(hook, pluggy.HookCaller) and not hook.has_spec():
                if all(implementation.optionalhook for implementation in hook.get_hookimpls()):
                    continue
                meant = nearest(hook.name, HOOKS).strip() or f"hooks are {listed(HOOKS)}"
                raise PluginError(f"{hook.name} is not a hook: {meant}")

    def load(self, entry_points: Iterable[EntryPoint]) -> None:
        """Load each entry point through all phases, in the order of their identities."""
        self._load((describe(entry_point), entry_point) for entry_point in entry_points)

    def load_installed(self) -> None:
        """Load the plugins of all installed packages."""
        self._load(find_plugins())

    def _load(self, found: Iterable[tuple[Plugin, EntryPoint | None]]) -> None:
        ordered = sorted(found, key=lambda pair: _order(pair[0]))
        ours = {plugin.identity for plugin, _ in ordered if plugin.api_major == API_MAJOR}
        for plugin, entry_point in ordered:
            if plugin.api_major != API_MAJOR and plugin.identity in ours:
                continue  # the package serves both, and its entry point for this API is loaded
            if self._is_core_again(plugin):
                continue
            self.plugins.append(plugin)
            if entry_point is not None and plugin.status == "ok":
                self._load_one(plugin, entry_point)
            if plugin.status == "broken" and _flag("SEGZOO_STRICT"):
                raise SegzooError(
                    f"plugin {plugin.identity} is broken ({plugin.phase}): {plugin.reason}",
                    "SEGZOO_STRICT is set; unset it to go on without this plugin",
                )
        self._warn_of_clashes()

    def _is_core_again(self, plugin: Plugin) -> bool:
        """Say whether the core is loaded already; warn of one under its former name."""
        core = next((p for p in self.plugins if p.distribution == CORE and p.status == "ok"), None)
        again = core is not None and plugin.identity == core.identity and plugin.status == "ok"
        if plugin.package == CORE and plugin.status == "ok":
            told = core if core is not None and again else plugin
            beside = f" beside {CORE_PACKAGE}" if again else ""
            told.warnings.append(f"is installed under its former name `{CORE}`{beside}: {RENAME}")
        return again

    def _load_one(self, plugin: Plugin, entry_point: EntryPoint) -> None:
        # BaseException, because a plugin that calls sys.exit() at import must not end the CLI.
        try:
            plugin.phase = "gate"
            if not _passes_gate(plugin):
                return
            plugin.phase = "import"
            with traced(plugin), contained(plugin, heavy="at the top", slow="to import"):
                implementation = _import(entry_point)
            if other := self.get_name(implementation):
                raise PluginError(f"{plugin.module} is the plugin {other} already")
            plugin.phase = "register"
            trial = Manager()
            trial.register(implementation, plugin.identity)
            callers = trial.get_hookcallers(implementation) or ()
            plugin.hooks = sorted(caller.name for caller in callers)
            plugin.phase = "check_pending"
            trial.check_pending()
            plugin.phase = "collect"
            with contained(plugin, heavy="in its hooks", slow="to say what it provides"):
                specs = list(_collect(trial))
            plugin.phase = "validate"
            for spec in specs:
                if fault := spec_fault(spec):
                    raise PluginError(fault)
            self.registry.add(plugin.distribution, plugin.version, specs)
            self.register(implementation, plugin.identity)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            plugin.status = "broken"
            plugin.reason = one_line(error)
            plugin.traceback = "".join(traceback.format_exception(error))
            return
        plugin.phase = ""
        plugin.implementation = implementation
        for spec in specs:
            plugin.provides.setdefault(spec.kind, []).append(spec.name)
        if not plugin.hooks:
            plugin.warnings.append(f"no function in {plugin.module} begins with segzoo_")

    def _warn_of_clashes(self) -> None:
        """Tell the plugins that share a short name how each part is asked for nevertheless."""
        for kind in KINDS:
            owners: dict[str, list[Entry]] = {}
            for entry in self.registry.all(kind):
                for name in {entry.spec.name, *getattr(entry.spec, "aliases", ())}:
                    owners.setdefault(name, []).append(entry)
            for name, entries in sorted(owners.items()):
                if len(entries) > 1:
                    full = " or ".join(f"`{entry.identity}`" for entry in entries)
                    self._warn(
                        kind,
                        entries,
                        f"{SINGULAR[kind]} `{name}` is another plugin's too: say {full}",
                    )

    def _warn(self, kind: str, entries: list[Entry], text: str) -> None:
        identities = {entry.identity for entry in entries}
        for plugin in self.plugins:
            own = {f"{plugin.distribution}/{name}" for name in plugin.provides.get(kind, ())}
            if own & identities and text not in plugin.warnings:
                plugin.warnings.append(text)


@functools.cache
def get_manager() -> Manager:
    """Return the process's manager, loading all installed plugins at the first call."""
    manager = Manager()
    manager.load_installed()
    return manager


def get_registry() -> Registry:
    """Return the registry of every spec that the installed plugins provide."""
    return get_manager().registry


def _unmarked() -> pluggy.HookimplOpts:
    """Return what a bare ``@hookimpl`` would mark a function with."""
    return pluggy.HookimplOpts(
        wrapper=False,
        hookwrapper=False,
        optionalhook=False,
        tryfirst=False,
        trylast=False,
        specname=None,
    )


def _import(entry_point: EntryPoint) -> Any:
    if EntryPoint.pattern.match(entry_point.value) is None:
        raise PluginError(f"its entry point is {entry_point.value!r}, not the name of a module")
    return entry_point.load()


def _order(plugin: Plugin) -> tuple[bool, bool, str, str]:
    core = plugin.distribution == CORE
    # The core first, and first of all from the package that is called as it should be.
    return not core, core and plugin.package == CORE, plugin.distribution, plugin.name


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no")


def _passes_gate(plugin: Plugin) -> bool:
    disabled = {name.strip() for name in os.environ.get("SEGZOO_DISABLE", "").split(",")}
    own = plugin.distribution == CORE  # another package of this name is broken already
    if plugin.api_major != API_MAJOR:
        plugin.status = "incompatible"
        plugin.reason = (
            f"written for plugin API {plugin.api_major}; this segzoo has API {API_MAJOR}"
        )
    elif not own and _flag("SEGZOO_NO_PLUGINS"):
        plugin.status, plugin.reason = "disabled", "SEGZOO_NO_PLUGINS is set"
    elif not own and disabled & {plugin.name, plugin.distribution, plugin.identity}:
        plugin.status, plugin.reason = "disabled", "named in SEGZOO_DISABLE"
    return plugin.status == "ok"


def _collect(trial: Manager) -> Iterator[Spec]:
    """Yield the specs of the one plugin registered in `trial`."""
    for hook, expected in hookspecs.DISCOVERY_HOOKS.items():
        for specs in getattr(trial.hook, hook)():
            if isinstance(specs, Spec) or not isinstance(specs, Iterable):
                raise PluginError(f"{hook} must return a list of {expected.__name__}")
            for spec in specs:
                if not isinstance(spec, expected):
                    raise PluginError(f"{hook} returned {spec!r}, not a {expected.__name__}")
                yield spec
