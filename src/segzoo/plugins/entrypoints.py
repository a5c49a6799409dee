"""Finding the entry points of plugins, whatever state the installed packages' metadata is in."""

import contextlib
import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint
from typing import Any, NamedTuple

from segzoo.plugins.packages import CORE, CORE_ENTRY, CORE_PACKAGE, reinstall_command

API_MAJOR = 1
GROUP = f"segzoo.v{API_MAJOR}"
_ANY_GROUP = re.compile(r"segzoo\.v(\d+)")
_MENTION = "segzoo.v"


@dataclass
class Plugin:
    """One entry point: where it comes from, how far its loading came, what it provides.

    `distribution` is what its parts' identities begin with, `package` what pip calls it: two names
    for the core alone. `seconds` is what its loading took, `warnings` what is wrong with it though
    it works.
    """

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
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    implementation: Any = None
    package: str = ""

    @property
    def identity(self) -> str:
        """``distribution/entry-point``, unique among the installed plugins."""
        return f"{self.distribution}/{self.name}"


class Package(NamedTuple):
    """What a distribution's metadata say; `fault` is what is wrong with them."""

    name: str
    version: str
    fault: str


def find_plugins() -> Iterator[tuple[Plugin, EntryPoint | None]]:
    """Yield the installed plugins of every API major, the core's own among them.

    `importlib.metadata.entry_points` reads all distributions at once, so that a single damaged
    one would take every plugin down. A damaged one is yielded here as broken, without entry point.
    """
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        folder = _folder(distribution)
        if folder and folder in seen:
            continue  # a second copy further down sys.path, which imports do not find
        seen.add(folder)
        try:
            if _MENTION not in (distribution.read_text("entry_points.txt") or ""):
                continue
            package = _identify(distribution)
            if package.name != folder and _is_elsewhere(package.name, distribution):
                continue
            for entry_point in distribution.entry_points:
                if _ANY_GROUP.fullmatch(entry_point.group):
                    yield describe(entry_point, package), entry_point
        except Exception as error:
            if _mentions_us(distribution):
                yield _unreadable(_identify(distribution), error), None


def describe(entry_point: EntryPoint, package: Package | None = None) -> Plugin:
    """Return the Plugin of an entry point, broken already where its package has no metadata."""
    if package is None:
        dist = entry_point.dist
        package = _identify(dist) if dist is not None else Package("unknown", "0", "")
    match = _ANY_GROUP.fullmatch(entry_point.group)
    distribution, package = _claimed(entry_point, package)
    return Plugin(
        name=entry_point.name,
        distribution=distribution,
        package=package.name,
        version=package.version,
        module=entry_point.value,
        api_major=int(match.group(1)) if match else API_MAJOR,
        status="broken" if package.fault else "ok",
        phase="metadata" if package.fault else "",
        reason=package.fault,
    )


def _claimed(entry_point: EntryPoint, package: Package) -> tuple[str, Package]:
    """Return what a package's identities begin with; ``segzoo/`` is for the core alone."""
    if package.name == CORE_PACKAGE:
        return CORE, package
    if package.name == CORE and (entry_point.name, entry_point.value) != CORE_ENTRY:
        fault = f"`{CORE}/` belongs to the core, which is the package {CORE_PACKAGE}"
        return CORE, package._replace(fault=f"the package `{CORE}` is another project: {fault}")
    return package.name, package


def _unreadable(package: Package, error: Exception) -> Plugin:
    return Plugin(
        name="?",
        distribution=package.name,
        package=package.name,
        version=package.version,
        module="",
        status="broken",
        phase="metadata",
        reason=f"its entry_points.txt cannot be read ({' '.join(str(error).split())}): "
        + reinstall_command(package.name),
    )


def _identify(distribution: Distribution) -> Package:
    """Read a package's metadata, once: that takes a millisecond."""
    name, version, fault = None, None, ""
    # Without a METADATA file, importlib raises what its version pleases.
    with contextlib.suppress(Exception):
        metadata = distribution.metadata
        name, version = metadata["Name"], metadata["Version"]
    if not name or not version:
        name = _folder(distribution) or "unknown"
        version, fault = "?", f"its METADATA is missing or damaged: {reinstall_command(name)}"
    return Package(_normalised(name), version, fault)


def _is_elsewhere(name: str, distribution: Distribution) -> bool:
    """Say whether the package of this name is another than this one.

    Then this is the ``~name`` folder that an interrupted pip leaves behind.
    """
    try:
        return _path(importlib.metadata.distribution(name)) != _path(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False


def _folder(distribution: Distribution) -> str:
    """Return the name in ``name-version.dist-info``; ``""`` for any other name."""
    stem, _, ending = str(getattr(_path(distribution), "name", "")).rpartition(".")
    return _normalised(stem.partition("-")[0]) if ending in ("dist-info", "egg-info") else ""


def _path(distribution: Distribution) -> Any:
    return getattr(distribution, "_path", None)


def _normalised(name: str) -> str:
    """Return a name as PEP 503 spells it, so that an identity has one form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _mentions_us(distribution: Distribution) -> bool:
    with contextlib.suppress(Exception):
        return _MENTION.encode() in (_path(distribution) / "entry_points.txt").read_bytes()
    return False
