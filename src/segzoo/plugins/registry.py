"""The registry: from a name to the one spec it means, whoever provides it.

An identity is ``distribution/name``; a short name or alias works while exactly one plugin has it.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segzoo.errors import MANY, SegzooError, listed, nearest
from segzoo.plugins.packages import FIRST_PARTY, distribution_of, install_command, reinstall_command
from segzoo.plugins.specs import KINDS, Spec, target_kinds

if TYPE_CHECKING:
    from segzoo.plugins.entrypoints import Plugin

SINGULAR = {
    "models": "model",
    "datasets": "data set",
    "losses": "loss",
    "metrics": "metric",
    "encoder_weights": "encoder weights",
    "commands": "command",
}


@dataclass(frozen=True)
class Entry:
    """A spec and the distribution that provides it."""

    spec: Any  # the Spec subclass of the kind asked for
    distribution: str
    version: str

    @property
    def identity(self) -> str:
        """``distribution/name``."""
        return f"{self.distribution}/{self.spec.name}"

    @property
    def owner(self) -> str:
        """The part in words, for messages: ``model `segzoo-unet/unet` ``."""
        return f"{SINGULAR[self.spec.kind]} `{self.identity}`"

    def resolve(self, field: str = "build") -> Any:
        """Import what the spec's reference `field` names.

        Raises SegzooError naming the plugin when the module or attribute is missing; the
        original error stays chained.
        """
        reference: str = getattr(self.spec, field)
        module_name, _, attribute = reference.partition(":")
        try:
            value: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                value = getattr(value, part)
        except (ImportError, AttributeError) as error:
            raise SegzooError(
                f"{self.owner}: cannot load {field}={reference!r}: {error}",
                f"reinstall it with {reinstall_command(self.distribution)}, or tell its authors",
            ) from error
        return value


class Registry:
    """Every spec that the loaded plugins provide, by kind."""

    def __init__(self, plugins: "Sequence[Plugin]" = ()) -> None:
        self._plugins = plugins
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}

    def add(self, distribution: str, version: str, specs: Iterable[Spec]) -> None:
        """Add one plugin's specs, all or none; raise SegzooError when an identity is taken."""
        fresh = [Entry(spec, distribution, version) for spec in specs]
        seen: set[tuple[str, str]] = set()
        for entry in fresh:
            key = (entry.spec.kind, entry.identity)
            if key in seen or entry.identity in self._entries[entry.spec.kind]:
                raise SegzooError(f"{entry.owner} is declared twice")
            seen.add(key)
        for entry in fresh:
            self._entries[entry.spec.kind][entry.identity] = entry

    def all(self, kind: str) -> list[Entry]:
        """List the entries of a kind, sorted by short name and distribution."""
        entries = self._entries[kind].values()
        return sorted(entries, key=lambda entry: (entry.spec.name, entry.distribution))

    def find(self, kind: str, name: str) -> list[Entry]:
        """List the entries that `name` (identity, short name or alias) may mean."""
        name = distribution_of(name)
        if name in self._entries[kind]:
            return [self._entries[kind][name]]
        return [
            entry
            for entry in self.all(kind)
            if name == entry.spec.name
            or any(
                name in (alias, f"{entry.distribution}/{alias}")
                for alias in getattr(entry.spec, "aliases", ())
            )
        ]

    def get(self, kind: str, name: str) -> Entry:
        """Return the one entry that `name` means.

        Raises SegzooError for an unknown name (with the nearest match, what exists, and the
        broken or disabled plugins that might have had it) and for an ambiguous one (with both
        full names).
        """
        matches = self.find(kind, name)
        if len(matches) == 1:
            return matches[0]
        what = SINGULAR[kind]
        if matches:
            owners = " and ".join(f"`{entry.identity}`" for entry in matches)
            raise SegzooError(
                f"the {what} `{name}` is provided by {len(matches)} plugins: {owners}",
                f"say which one you mean, for example `{matches[0].identity}`",
            )
        raise SegzooError(f"unknown {what} `{name}`", self._hint(kind, name))

    def get_for(self, target: str, kind: str, name: str) -> Entry:
        """Return the loss or metric that `name` means, if it takes targets of this kind.

        Raises SegzooError as `get` does, and for one of the other kind, naming those that fit.
        """
        entry = self.get(kind, name)
        kinds = target_kinds(entry.spec.targets)
        if target in kinds:
            return entry
        fitting = [e.spec.name for e in self.all(kind) if target in target_kinds(e.spec.targets)]
        raise SegzooError(
            f"{entry.owner} takes {' or '.join(kinds)} targets, the data set has {target}",
            f"{kind} for {target}: {listed(fitting)}",
        )

    def _hint(self, kind: str, name: str) -> str:
        entries = self.all(kind)
        names = [entry.spec.name for entry in entries]
        aliases = [alias for entry in entries for alias in getattr(entry.spec, "aliases", ())]
        near = nearest(name, names + aliases)
        hint = near
        prefix = name[: name.find("-") + 1]
        package = FIRST_PARTY.get(name) or FIRST_PARTY.get(prefix) or _distribution_of(name)
        if package and not any(plugin.distribution == package for plugin in self._plugins):
            hint += f"it comes with {install_command(package)}; "
        if kind == "datasets" and Path(name).is_dir():
            hint = f"`{name}` is a folder: for pictures of your own, `folder` with --root {name}; "
        all_names = f"there is: {listed(names)}"
        if near and len(names) > MANY:
            all_names = f"`segzoo list {kind}` lists all {len(names)}"
        return f"{hint}{all_names}{self.absent()}"

    def absent(self) -> str:
        """Return a line for every plugin that is installed but not loaded, and why."""
        lines = ""
        for plugin in self._plugins:
            if plugin.status != "ok":
                phase = f" ({plugin.phase})" if plugin.status == "broken" else ""
                lines += f"\nnot loaded: {plugin.identity} is {plugin.status}{phase}: "
                lines += plugin.reason
        return lines


def _distribution_of(name: str) -> str:
    """Return the distribution of a full identity if it is a plausible package name."""
    distribution, slash, _ = distribution_of(name).partition("/")
    return distribution if slash and re.fullmatch(r"[a-z0-9][a-z0-9.-]*", distribution) else ""
