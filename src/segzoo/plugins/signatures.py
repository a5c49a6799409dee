"""Whether a plugin's hook functions and specs conform, each fault in one line."""

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

from segzoo.plugins import hookspecs
from segzoo.plugins.specs import Spec

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("segzoo_"))
"""The names of all hooks."""


def signature_fault(function: Callable[..., Any], hook: str = "") -> str:
    """Say what is wrong with a hook function's arguments; ``""`` when pluggy can pass them all.

    The text reads on after the function's name: "takes `colour`, which ...". `hook` is the hook
    that it implements, by default the function's own name.
    """
    hook = hook or getattr(function, "__name__", "")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return "is an `async def`, and nobody awaits it: write a plain function"
    observes = hook in HOOKS and hook not in hookspecs.DISCOVERY_HOOKS
    if observes and inspect.isgeneratorfunction(function) and not hasattr(function, "segzoo_impl"):
        return "has a `yield`, and nobody iterates over it: write a plain function"
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ""
    known = list(inspect.signature(getattr(hookspecs, hook)).parameters) if hook in HOOKS else None
    fewer = ", or fewer of these" if known else ""
    way = f"write `{hook}({', '.join(known)})`{fewer}" if known is not None else "name plain ones"
    for parameter in parameters:
        what = _parameter_fault(parameter, known)
        if what:
            return f"{what}: {way}"
    return ""


def _parameter_fault(parameter: inspect.Parameter, known: list[str] | None) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"takes `*{parameter.name}`, which would stay empty"
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"takes `**{parameter.name}`, which would stay empty"
    if known is not None and parameter.name not in known:
        return f"takes `{parameter.name}`, which this hook does not have"
    if parameter.kind is parameter.KEYWORD_ONLY:
        return f"takes `{parameter.name}` by keyword only, and hooks are called by position"
    if parameter.default is not parameter.empty:
        return f"gives `{parameter.name}` a default, and would never get another value"
    return ""


def spec_fault(spec: Spec) -> str:
    """Say what is wrong with a spec, also where it would hurt other plugins; ``""`` if nothing."""
    fault = spec.fault()
    if fault:
        return fault
    for reference in spec.references:
        package = getattr(spec, reference).split(":")[0].split(".")[0]
        # Only the top-level package is looked for: finding a submodule would import its parents.
        if package and importlib.util.find_spec(package) is None:
            return (
                f"{type(spec).__name__} {spec.name!r}: {reference} names the package "
                f"`{package}`, which is not installed"
            )
    return ""
