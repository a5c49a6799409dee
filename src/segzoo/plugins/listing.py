"""`segzoo.list_models()` and `segzoo.list_datasets()`: the names of what is installed."""

import fnmatch

from segzoo.plugins.manager import get_registry


def list_models(pattern: str = "") -> list[str]:
    """List the names that `fit` and `create_model` take, sorted.

    `pattern` keeps those that contain it, or with ``*``, ``?`` or ``[`` match it: ``smp-*``. A name
    that several plugins have is given in full, as ``distribution/name``.
    """
    return _names("models", pattern)


def list_datasets(pattern: str = "") -> list[str]:
    """List the names that `fit`, `evaluate` and `DataSource` take, sorted, as `list_models`."""
    return _names("datasets", pattern)


def _names(kind: str, pattern: str) -> list[str]:
    registry = get_registry()
    names = []
    for entry in registry.all(kind):
        alone = len(registry.find(kind, entry.spec.name)) == 1
        names.append(entry.spec.name if alone else entry.identity)
    if not any(sign in pattern for sign in "*?["):
        return [name for name in names if pattern in name]
    return fnmatch.filter(names, pattern)
