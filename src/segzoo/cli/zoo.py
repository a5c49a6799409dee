"""``segzoo list``, ``show`` and ``plugins``: what there is, without importing any of it."""

from typing import Annotated, Any

import typer

from segzoo.cli.console import JSON_HELP, make_console, print_json, print_table, say
from segzoo.cli.plugin import COMMANDS
from segzoo.errors import SegzooError, choices, listed, nearest
from segzoo.plugins.manager import Plugin, get_manager, get_registry
from segzoo.plugins.options import option_infos
from segzoo.plugins.packages import distribution_of, package_of
from segzoo.plugins.registry import SINGULAR, Entry
from segzoo.plugins.specs import KINDS, target_kinds
from segzoo.words import visible

AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


def list_command(
    kind: Annotated[str | None, typer.Argument(help=f"only this kind: {', '.join(KINDS)}")] = None,
    json: AsJson = False,
) -> None:
    """List every model, data set, loss, metric, encoder weights and command."""
    kind = kind.replace("-", "_") if kind else None
    if kind and kind not in KINDS:
        raise SegzooError(
            f"unknown kind `{kind}`", f"{nearest(kind, KINDS)}there is: {listed(KINDS)}"
        )
    registry = get_registry()
    kinds = [kind] if kind else list(KINDS)
    found = {kind: registry.all(kind) for kind in kinds}
    if json:
        print_json({kind: [_short(entry) for entry in entries] for kind, entries in found.items()})
        return
    if make_console().is_terminal:
        for kind, entries in found.items():
            _print_group(kind, entries)
    else:
        rows = [
            (SINGULAR[kind], entry.spec.name, entry.identity, entry.spec.summary)
            for kind, entries in found.items()
            for entry in entries
        ]
        _print_lines([("kind", "name", "identity", "what it is"), *rows])
    if absent := registry.absent():
        say(absent.strip())


def _print_lines(rows: list[tuple[str, ...]]) -> None:
    """Print a line a part for other programs: columns of one width, the last as long as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


def _print_group(kind: str, entries: list[Entry]) -> None:
    """Print the parts of a kind for a person: names and summaries have all of the width.

    An identity stands there where the name alone would be another plugin's too.
    """
    from rich.table import Table

    if not entries:
        return
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for entry in entries:
        alone = len(get_registry().find(kind, entry.spec.name)) == 1
        name = entry.spec.name if alone else entry.identity
        table.add_row(name, visible(entry.spec.summary))
    console = make_console()
    console.print(f"\n{SINGULAR[kind]}")
    console.print(table)


def show_command(
    name: Annotated[str, typer.Argument(help="a model, data set, loss, metric or command")],
    json: AsJson = False,
) -> None:
    """Show one part of the zoo: what it is, its options, where it comes from."""
    registry = get_registry()
    entries = [entry for kind in KINDS for entry in registry.find(kind, name)]
    if not entries:
        names = [entry.spec.name for kind in KINDS for entry in registry.all(kind)]
        hint = f"{nearest(name, names)}see `segzoo list`{registry.absent()}"
        raise SegzooError(f"nothing is called `{name}`", hint)
    if json:
        details = [_details(entry) for entry in entries]
        print_json(details[0] if len(details) == 1 else details)
        return
    for entry in entries:
        _print_entry(entry)


def plugins_command(
    why: Annotated[
        str | None, typer.Option("--why", help="print the traceback of this broken plugin")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the installed plugins, what they provide, and which are broken and why."""
    plugins = get_manager().plugins
    if why is not None:
        _explain(plugins, why)
        return
    if json:
        print_json([_plugin_record(plugin) for plugin in plugins])
        return
    rows = [
        (plugin.identity, plugin.version, plugin.status, "\n".join(_told(plugin)))
        for plugin in plugins
    ]
    print_table(("plugin", "version", "status", "provides, or why not"), rows)


def _explain(plugins: list[Plugin], name: str) -> None:
    name = distribution_of(name)
    matches = [p for p in plugins if name in (p.name, p.distribution, p.identity)]
    if not matches:
        known = [plugin.identity for plugin in plugins]
        raise SegzooError(
            f"no plugin `{name}`", choices(name, known, how="`segzoo plugins` lists all")
        )
    for plugin in matches:
        say(f"{plugin.identity} {plugin.version}: {plugin.status}")
        if plugin.reason:
            where = f" in phase {plugin.phase}" if plugin.phase else ""
            say(f"{plugin.reason}{where}")
        for warning in _warnings(plugin):
            say(f"warning: {warning}")
        if plugin.traceback:
            say(plugin.traceback)


def _told(plugin: Plugin) -> list[str]:
    """Return what is said of a plugin in lines: what it provides or why not, and the warnings."""
    lines = [_provides(plugin), *(f"warning: {warning}" for warning in _warnings(plugin))]
    return [line for line in lines if line]


def _warnings(plugin: Plugin) -> list[str]:
    hidden = [name for name in plugin.provides.get("commands", ()) if name in COMMANDS]
    return plugin.warnings + [
        f"`segzoo {name}` is the core's command; this one is `segzoo {plugin.distribution}/{name}`"
        for name in hidden
    ]


def _provides(plugin: Plugin) -> str:
    if plugin.status != "ok":
        phase = f"{plugin.phase}: " if plugin.status == "broken" else ""
        return f"{phase}{plugin.reason}"
    parts = [f"{kind}: {', '.join(names)}" for kind, names in plugin.provides.items()]
    observers = [
        hook for hook in plugin.hooks if hook.rsplit("_", 1)[-1] in ("start", "end", "saved")
    ]
    if observers:
        parts.append(f"observes: {', '.join(hook.removeprefix('segzoo_') for hook in observers)}")
    return "; ".join(parts)


def _plugin_record(plugin: Plugin) -> dict[str, Any]:
    return {
        "identity": plugin.identity,
        "package": plugin.package,
        "version": plugin.version,
        "module": plugin.module,
        "api": plugin.api_major,
        "status": plugin.status,
        "phase": plugin.phase,
        "reason": plugin.reason,
        "hooks": plugin.hooks,
        "provides": plugin.provides,
        "seconds": round(plugin.seconds, 4),
        "warnings": _warnings(plugin),
    }


def _short(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.spec.name,
        "identity": entry.identity,
        "version": entry.version,
        "summary": entry.spec.summary,
    }


def _details(entry: Entry) -> dict[str, Any]:
    spec = entry.spec
    record: dict[str, Any] = {"kind": SINGULAR[spec.kind], **_short(entry)}
    record["package"] = package_of(entry.distribution)
    for name in (
        *("aliases", "classes", "target", "targets", "ignore_index", "stride", "higher_is_better"),
        *("encoder", "tag", "mean", "std", "paper", "homepage", "licence"),
    ):
        value = getattr(spec, name, None)
        if value not in (None, "", ()):
            record[name] = target_kinds(value) if name in ("target", "targets") else value
    if spec.exceptions:
        record["exceptions"] = dict(spec.exceptions)
    record["options"] = [
        {
            "name": info.name,
            "default": info.default,
            "takes": info.takes,
            "help": info.help,
        }
        for info in option_infos(getattr(spec, "options", None))
    ]
    return record


def _print_entry(entry: Entry) -> None:
    record = _details(entry)
    options = record.pop("options")
    say(f"{record.pop('kind')} {record.pop('name')}: {record.pop('summary')}")
    for name, value in record.items():
        if isinstance(value, dict):
            value = [f"{key}: {text}" for key, text in value.items()]
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        say(f"  {name:<13}{text}")
    if not options:
        say("  no options")
        return
    flag = {"models": "-o", "datasets": "-O"}.get(entry.spec.kind, "")
    title = f"options{f', given as {flag} NAME=VALUE' if flag else ''}"
    rows = [(o["name"], o["takes"], o["default"], o["help"]) for o in options]
    print_table(("option", "takes", "default", "what it does"), rows, title=title)
