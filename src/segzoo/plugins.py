"""Finding and loading plugins: one at a time, phase by phase, so that none can hurt the others.

Phases: gate (API major, SEGZOO_DISABLE), import, register (signatures), check_pending (misspelt
hooks), collect (the specs are asked for), validate (and are well-formed). A plugin that fails a
phase is kept in the list as broken, with the phase and the reason, and provides nothing.

Environment, read when the manager is made: ``SEGZOO_DISABLE=a,b`` leaves plugins out (by entry
point, distribution or both), ``SEGZOO_NO_PLUGINS=1`` leaves all but the core's own out,
``SEGZOO_STRICT=1`` turns a broken plugin into an error.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType

import pluggy

from segzoo import hookspecs
from segzoo.errors import SegzooError
from segzoo.registry import Registry
from segzoo.specs import Spec

API_MAJOR = 1
GROUP = f"segzoo.v{API_MAJOR}"
CORE = "segzoo"
_ANY_GROUP = re.compile(r"segzoo\.v(\d+)")


@dataclass
class Plugin:
    """One entry point: where it comes from, how far its loading came, what it provides."""

    name: str
    distribution: str
    version: str
    module: str
    api_major: int = API_MAJOR
    status: str = "ok"  # ok, broken, disabled or incompatible
    phase: str = ""
    reason: str = ""
    traceback: str = ""
    hooks: list[str] = field(default_factory=list)
    provides: dict[str, list[str]] = field(default_factory=dict)
    implementation: ModuleType | None = None

    @property
    def identity(self) -> str:
        """``distribution/entry-point``, unique among the installed plugins."""
        return f"{self.distribution}/{self.name}"


class _PhaseError(Exception):
    """A plugin does not conform; the text is the one-line reason."""


class Manager(pluggy.PluginManager):
    """pluggy's manager plus the list of `plugins` in every state and the `registry` of specs."""

    def __init__(self) -> None:
        super().__init__("segzoo")
        self.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self.registry = Registry(self.plugins)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> "pluggy.HookimplOpts | None":
        """Take module functions with the prefix ``segzoo_`` as hooks, marked or not."""
        options = super().parse_hookimpl_opts(plugin, name)
        is_hook = name.startswith("segzoo_") and inspect.isroutine(getattr(plugin, name, None))
        if options is None and is_hook:
            return pluggy.HookimplOpts(
                wrapper=False,
                hookwrapper=False,
                optionalhook=False,
                tryfirst=False,
                trylast=False,
                specname=None,
            )
        return options

    def load(self, entry_points: Iterable[importlib.metadata.EntryPoint]) -> None:
        """Load each entry point through all phases, in the order of their identities."""
        found = [(_describe(entry_point), entry_point) for entry_point in entry_points]
        for plugin, entry_point in sorted(found, key=lambda pair: _order(pair[0])):
            self.plugins.append(plugin)
            self._load_one(plugin, entry_point)
            if plugin.status == "broken" and _flag("SEGZOO_STRICT"):
                raise SegzooError(
                    f"plugin {plugin.identity} is broken ({plugin.phase}): {plugin.reason}",
                    "SEGZOO_STRICT is set; unset it to go on without this plugin",
                )

    def _load_one(self, plugin: Plugin, entry_point: importlib.metadata.EntryPoint) -> None:
        # BaseException, because a plugin that calls sys.exit() at import must not end the CLI.
        try:
            plugin.phase = "gate"
            if not _passes_gate(plugin):
                return
            plugin.phase = "import"
            module = entry_point.load()
            plugin.phase = "register"
            trial = Manager()
            trial.register(module, plugin.identity)
            plugin.hooks = sorted(caller.name for caller in trial.get_hookcallers(module) or ())
            plugin.phase = "check_pending"
            trial.check_pending()
            plugin.phase = "collect"
            specs = list(_collect(trial))
            plugin.phase = "validate"
            for spec in specs:
                _validate(spec)
            self.registry.add(plugin.distribution, plugin.version, specs)
            self.register(module, plugin.identity)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            plugin.status = "broken"
            plugin.reason = _one_line(error)
            plugin.traceback = "".join(traceback.format_exception(error))
            return
        plugin.phase = ""
        plugin.implementation = module
        for spec in specs:
            plugin.provides.setdefault(spec.kind, []).append(spec.name)


@functools.cache
def get_manager() -> Manager:
    """Return the process's manager, loading all installed plugins at the first call."""
    manager = Manager()
    manager.load(_installed())
    return manager


def get_registry() -> Registry:
    """Return the registry of every spec that the installed plugins provide."""
    return get_manager().registry


def _installed() -> Iterator[importlib.metadata.EntryPoint]:
    """Yield the entry points of every API major, the core's own among them."""
    entry_points = importlib.metadata.entry_points()
    for group in sorted(entry_points.groups):
        if _ANY_GROUP.fullmatch(group):
            yield from entry_points.select(group=group)


def _describe(entry_point: importlib.metadata.EntryPoint) -> Plugin:
    match = _ANY_GROUP.fullmatch(entry_point.group)
    distribution = entry_point.dist
    return Plugin(
        name=entry_point.name,
        distribution=_normalised(distribution.name) if distribution else "unknown",
        version=distribution.version if distribution else "0",
        module=entry_point.value,
        api_major=int(match.group(1)) if match else API_MAJOR,
    )


def _normalised(name: str) -> str:
    """Return a distribution's name as PEP 503 spells it, so that an identity has one form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _order(plugin: Plugin) -> tuple[bool, str, str]:
    return plugin.distribution != CORE, plugin.distribution, plugin.name


def _flag(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no")


def _passes_gate(plugin: Plugin) -> bool:
    disabled = {name.strip() for name in os.environ.get("SEGZOO_DISABLE", "").split(",")}
    own = plugin.distribution == CORE
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
                raise _PhaseError(f"{hook} must return a list of {expected.__name__}")
            for spec in specs:
                if not isinstance(spec, expected):
                    raise _PhaseError(f"{hook} returned {spec!r}, not a {expected.__name__}")
                yield spec


def _validate(spec: Spec) -> None:
    fault = spec.fault()
    if fault:
        raise _PhaseError(fault)
    for reference in spec.references:
        package = getattr(spec, reference).split(":")[0].split(".")[0]
        # Only the top-level package is looked for: finding a submodule would import its parents.
        if package and importlib.util.find_spec(package) is None:
            raise _PhaseError(
                f"{type(spec).__name__} {spec.name!r}: {reference} names the package "
                f"`{package}`, which is not installed"
            )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, (_PhaseError, SegzooError)):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
