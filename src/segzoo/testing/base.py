"""What all conformance classes share: finding the part, declared exceptions, the plugin's checks.

A check is a method `test_NAME` that raises ConformanceError with what came and what to do. pytest
collects the checks of a subclass; `segzoo check` runs the same ones without pytest.
"""

import functools
import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar
from unittest import SkipTest

from segzoo.errors import SegzooError, listed, nearest
from segzoo.plugins import hookspecs
from segzoo.plugins.manager import Plugin, get_manager, get_registry
from segzoo.plugins.options import make_options, option_infos, options_dict, options_fault
from segzoo.plugins.registry import Entry
from segzoo.plugins.signatures import signature_fault
from segzoo.testing.state import kept_state
from segzoo.train.config import config_toml, make_config

HEAVY = ("torch", "torchvision", "timm", "numpy", "PIL", "scipy", "transformers", "matplotlib")
SLOW_IMPORT = 0.3  # seconds beyond segzoo's own that every command would wait for

Check = TypeVar("Check", bound=Callable[[Any], None])


class ConformanceError(AssertionError):
    """A part breaks its contract; the text says what came, what the contract is and what to do."""


def check(method: Check) -> Check:
    """Make a method a check that the part's spec may declare as an exception.

    A declared exception is run all the same: where it fails it is skipped with its reason, and
    where it passes it is an error, so that declarations do not outlive what they declare.
    """

    @functools.wraps(method)
    def run(self: "Conformance") -> None:
        name = check_name(method)
        reason = self.entry.spec.exceptions.get(name)
        if reason is None:
            with kept_state():
                method(self)
            return
        try:
            with kept_state():
                method(self)
        except SkipTest:
            raise
        except Exception:
            raise SkipTest(f"declared exception `{name}`: {reason}") from None
        raise self.fault(
            f"declares the exception `{name}` ({reason}), but passes that check",
            f"take `{name}` out of the spec's exceptions",
        )

    run.is_check = True  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]


def check_name(method: Callable[..., Any]) -> str:
    """Return a check's name as specs and tables spell it: `test_export` is `export`."""
    return method.__name__.removeprefix("test_")


class Conformance:
    """Base of the conformance classes; `kind` is the registry's, `attribute` names the part."""

    kind: ClassVar[str] = ""
    attribute: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def checks(cls) -> list[str]:
        """List the methods that are checks, in the order of their definition, base class first."""
        names: dict[str, None] = {}
        for owner in reversed(cls.__mro__):
            names |= {n: None for n, value in vars(owner).items() if hasattr(value, "is_check")}
        return list(names)

    @property
    def entry(self) -> Entry:
        """The part under test; raises ConformanceError saying why it cannot be found."""
        name = getattr(self, self.attribute, "")
        if not isinstance(name, str) or not name:
            raise ConformanceError(
                f"{type(self).__name__} does not say what it tests: give it the class attribute "
                f'`{self.attribute} = "distribution/name"`'
            )
        try:
            return get_registry().get(self.kind, name)
        except SegzooError as error:
            raise ConformanceError(
                f"{error}\nIs the package installed (`pip install -e .`), and does `segzoo "
                "plugins` show it as ok? Names are `distribution/name`."
            ) from error

    @property
    def plugin(self) -> Plugin:
        """The plugin that provides the part."""
        entry = self.entry
        return next(
            plugin
            for plugin in get_manager().plugins
            if plugin.distribution == entry.distribution
            and entry.spec.name in plugin.provides.get(self.kind, ())
        )

    def fault(self, came: str, advice: str) -> ConformanceError:
        """Return the error of this part: what came, and on a second line what to do."""
        return ConformanceError(f"{self.entry.owner} {came}.\nTo mend it: {advice}.")

    def made_options(self, **further: Any) -> Any:
        """Return the options instance of this class's `options`."""
        entry = self.entry
        options = getattr(entry.spec, "options", None)  # commands and weights have none
        return make_options(options, {**self.options, **further}, entry.owner)

    @check
    def test_found(self) -> None:
        """The part is found under its full name, and the name says which package has it."""
        name, entry = getattr(self, self.attribute), self.entry
        if "/" not in name:
            raise self.fault(
                f"is tested by its short name `{name}`",
                f"write `{self.attribute} = {entry.identity!r}`, which stays unique",
            )

    @check
    def test_light(self) -> None:
        """The plugin module imports nothing heavy and imports fast, since every command does it."""
        module = self.plugin.module.partition(":")[0]
        loaded, seconds = import_cost(module, os.environ.get("PYTHONPATH", ""))
        if loaded:
            raise self.fault(
                f"has a plugin module `{module}` that imports {', '.join(loaded)}; every `segzoo` "
                "command waits for that",
                "move the code that needs it to another module and name it in the spec by "
                'reference, "module:attr"',
            )
        if seconds > SLOW_IMPORT:
            raise self.fault(
                f"has a plugin module `{module}` that takes {seconds:.1f} s to import",
                "do that work when the part is built, not at import",
            )

    @check
    def test_hooks(self) -> None:
        """Hooks have arguments that pluggy passes: no defaults, no keyword-only, no *args."""
        for name, function in hook_functions(self.plugin.implementation):
            fault = signature_fault(function)
            if fault:
                raise self.fault(f"comes from a plugin whose hook {name} {fault}", "change it so")

    @check
    def test_references(self) -> None:
        """Every reference of the spec leads to something callable."""
        spec = self.entry.spec
        for field in spec.references:
            if not getattr(spec, field):
                continue
            try:
                target = self.entry.resolve(field)
            except SegzooError as error:
                raise self.fault(
                    f"names code that is not there: {error.message}",
                    "correct the reference, or add the module to the package",
                ) from error
            if not callable(target):
                raise self.fault(
                    f"has {field}={getattr(spec, field)!r}, which is not callable",
                    "let it name a function or class",
                )

    @check
    def test_options(self) -> None:
        """Options are documented, build without arguments, and survive a trip through strings."""
        options = getattr(self.entry.spec, "options", None)
        if options is None:
            return
        if fault := options_fault(options):
            raise self.fault(f"has options that do not conform: {fault}", "see the author's guide")
        made = self._default_options(options)
        self._same_after(made, {n: _as_text(v) for n, v in options_dict(made).items()}, "strings")
        for info in option_infos(options):
            for choice in info.choices:
                try:
                    changed = make_options(options, {info.name: str(choice)}, self.entry.owner)
                except SegzooError:
                    continue  # choices may exclude one another: __post_init__ says so
                if getattr(changed, info.name) != choice:
                    raise self.fault(
                        f"turns option {info.name}={choice} into {getattr(changed, info.name)!r}",
                        "keep the value in the field as it was given",
                    )

    def _default_options(self, options: type) -> Any:
        try:
            return options()
        except Exception as error:
            raise self.fault(
                f"has options whose defaults do not build: {type(error).__name__}: {error}",
                f"let {options.__name__}() work without arguments",
            ) from error

    def _same_after(self, made: Any, values: Mapping[str, Any], what: str) -> None:
        try:
            again = make_options(type(made), values, self.entry.owner)
        except SegzooError as error:
            raise self.fault(
                f"has default options that cannot be given as {what}: {error.message}",
                "choose defaults within the options' own types and limits",
            ) from error
        if again != made:
            raise self.fault(
                f"has options that change on a trip through {what}: {made} became {again}",
                "keep fields as they were given; compute derived values in properties",
            )

    @check
    def test_config(self) -> None:
        """The options survive the run folder's config.toml."""
        values = options_dict(self.made_options())
        config = make_config({"model_options": values})
        again = tomllib.loads(config_toml(config)).get("model_options", {})
        kept = {name: value for name, value in values.items() if value is not None}
        if again != kept:
            raise self.fault(f"has options {kept} that TOML gives back as {again}", "use scalars")

    @check
    def test_exceptions(self) -> None:
        """Declared exceptions name checks that there are."""
        known = [name.removeprefix("test_") for name in self.checks()]
        for name in self.entry.spec.exceptions:
            if name not in known:
                raise self.fault(
                    f"declares an exception for `{name}`, which is not a check",
                    f"{nearest(name, known)}checks are: {listed(known)}",
                )


def hook_functions(module: object) -> Iterator[tuple[str, Any]]:
    """Yield the hooks that a plugin module defines, by name."""
    for name, value in inspect.getmembers(module, inspect.isroutine):
        if name.startswith("segzoo_") and hasattr(hookspecs, name):
            yield name, value


@functools.cache
def import_cost(module: str, path: str) -> tuple[tuple[str, ...], float]:
    """Import a module in a new process after segzoo: (heavy modules it brought, seconds).

    `path` is PYTHONPATH, which the result depends on.
    """
    code = (
        "import json, sys, time, segzoo\n"
        "before = set(sys.modules); start = time.perf_counter()\n"
        f"import {module}\n"
        "seconds = time.perf_counter() - start\n"
        f"heavy = [n for n in {HEAVY!r} if n in sys.modules and n not in before]\n"
        "print('\\n' + json.dumps([heavy, seconds]))"
    )
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    if result.returncode:
        last = result.stderr.strip().splitlines()[-1:]
        raise ConformanceError(f"`import {module}` fails in a new process: {' '.join(last)}")
    heavy, seconds = json.loads(result.stdout.splitlines()[-1])
    return tuple(heavy), seconds


def _as_text(value: Any) -> str:
    return "none" if value is None else str(value)
