"""What ``segzoo inspect`` prints: a weights file's description in groups, for 80 columns."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from segzoo.cli.tables import cell_width, number, print_pieces, printable

WIDTH, INDENT, LABEL = 80, 2, 12
AGAIN = "again"
MOST_LISTED = 40
"""So many classes are named; more are counted."""


def print_description(path: str, info: dict[str, Any]) -> None:
    """Print a weights file's description (`WeightsInfo.as_dict`)."""
    print(printable(path))
    for title, facts in _groups(info):
        print(f"\n{title}")
        for label, text in facts:
            _print_fact(label, text)
    _print_metrics(info["metrics"])


def _groups(info: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    model, data = info["model"], info["data"]
    yield (
        "Model",
        [
            ("identity", f"{model['identity']} {model['version']}"),
            ("options", _pairs(_applying(model["options"]))),
            ("written by", f"segzoo {info['segzoo']}, torch {info['torch']}, {_format(info)}"),
            ("checksum", info["checksum"] or "none: of an older segzoo; damage may go unnoticed"),
        ],
    )
    yield (
        "Input",
        [
            ("size", f"{_by(info['size'])} (height x width), {model['in_channels']} channels"),
            ("scale", _scale(info["shown"])),
            ("values", "{:g}..{:g}, scaled to 0..1".format(*info["value_range"])),
            ("mean", _numbers(info["mean"])),
            ("std", _numbers(info["std"])),
        ],
    )
    yield (
        "Output",
        [
            ("target", _target(info)),
            ("classes", _classes(info["classes"])),
            ("colours", _colours(info)),
        ],
    )
    yield (
        "Data",
        [
            ("identity", f"{data['identity']} {data['version']}"),
            ("options", _pairs(data["options"])),
            ("fingerprint", data["fingerprint"]),
        ],
    )
    yield "Training", list(_training(info))


def _scale(shown: dict[str, Any] | None) -> str:
    if shown is None:
        return "unknown: not said"
    part = "" if abs(shown["scale"] - 1) < 0.005 else f"{shown['scale']:.3g} times "
    how = "in crops" if shown["crops"] else "whole"
    return f"pictures of about {_by(shown['pictures'])}, {how}, at {part}their own size"


def _training(info: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from segzoo.train.provenance import training_command

    training = info["training"]
    if training is None:
        kept = f"epoch {info['epoch']}, {info['precision']}" if info["epoch"] else ""
        yield "weights of", kept
        yield "settings", "not said: imported, or of an older segzoo"
        return
    settings = training["settings"]
    epochs = f" of {settings['epochs']}" if "epochs" in settings else ""
    yield "recipe", training["recipe"]
    yield "weights of", f"epoch {info['epoch']}{epochs}, {info['precision']}"
    unused = {"encoder_lr"} if _has_no_encoder(info["model"]["options"]) else set()
    for label, names in TOLD.items():
        yield (
            label,
            ", ".join(
                _setting(settings, name, label)
                for name in names
                if name in settings.keys() - unused
            ),
        )
    yield (
        "changed",
        "\n".join(
            _setting(settings, name)
            for name in training["changed"]
            if name not in ("model", "data") and not isinstance(settings[name], dict)
        ),
    )
    yield AGAIN, training_command(training)


TOLD = {
    "optimizer": ("optimizer", "lr", "encoder_lr", "weight_decay", "schedule"),
    "batch": ("batch_size", "accumulate", "augment", "seed"),
    "loss": ("loss",),
}


def _has_no_encoder(options: dict[str, Any]) -> bool:
    """Whether a network may have an encoder of another's, by its options, and has its own."""
    return "encoder" in options and options["encoder"] is None


def _applying(options: dict[str, Any]) -> dict[str, Any]:
    """Return a network's options without those of an encoder that it does not have."""
    none = _has_no_encoder(options)
    return {k: v for k, v in options.items() if not (none and k.startswith("encoder_"))}


def _setting(settings: dict[str, Any], name: str, label: str = "") -> str:
    from segzoo.train.provenance import setting_text

    text = setting_text(settings[name])
    if name == "encoder_lr" and isinstance(settings.get("lr"), float):
        # It is saved as a factor, and beside `lr 0.001` would be read as a rate.
        text = f"{settings['lr'] * settings[name]:.3g} ({text} x lr)"
    return text if name == label else f"{name.replace('_', ' ')} {text}"


def _target(info: dict[str, Any]) -> str:
    text = "alpha mattes" if info["target"] == "alpha" else "class ids"
    if info["ignore_index"] is not None:
        text += f", {info['ignore_index']} is not scored"
    return text + (f", masks > {info['threshold']}" if info["threshold"] is not None else "")


def _classes(names: Sequence[str]) -> str:
    shown = "\n".join(f"{place} {name}" for place, name in enumerate(names[:MOST_LISTED]))
    return shown + (f"\n... ({len(names)} in all)" if len(names) > MOST_LISTED else "")


def _colours(info: dict[str, Any]) -> str:
    colours = ["#" + "".join(f"{part:02x}" for part in colour) for colour in info["palette"]]
    return " ".join(colours[:MOST_LISTED]) + (" ..." if len(colours) > MOST_LISTED else "")


def _format(info: dict[str, Any]) -> str:
    return f"format {info['format_version']}"


def _pairs(options: dict[str, Any]) -> str:
    return "\n".join(f"{key}={value}" for key, value in options.items() if value is not None)


def _numbers(values: Sequence[float]) -> str:
    shown = " ".join(f"{value:.4g}" for value in values[:8])
    return shown + (f" ... ({len(values)})" if len(values) > 8 else "")


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _print_fact(label: str, text: str) -> None:
    """Print a label and its text, lines of at most 80 characters, broken between words."""
    if not text:
        return
    room = WIDTH - INDENT - LABEL
    if label == AGAIN:
        lines = _broken([shlex.quote(word) for word in shlex.split(text)], room - 2)
        lines = [*(f"{line} \\" for line in lines[:-1]), lines[-1]]  # A shell takes it as one.
    elif "\n" in text:
        lines = _broken(text.split("\n"), room, between="  ")
    else:
        lines = _broken(text.split(" "), room)
    for place, line in enumerate(lines):
        print(f"{'':{INDENT}}{label if place == 0 else '':{LABEL}}{printable(line)}")


def _broken(items: Sequence[str], room: int, between: str = " ") -> list[str]:
    """Return lines of items, broken between items; a longer one has a line of its own."""
    lines: list[str] = []
    for item in items:
        if lines and cell_width(lines[-1]) + len(between) + cell_width(item) <= room:
            lines[-1] += between + item
        else:
            lines.append(item)
    return lines


def _print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    """Print the scores, splits in columns; those of single classes are in --json."""
    names = dict.fromkeys(name for scores in metrics.values() for name in scores)
    overall = [name for name in names if "/" not in name]
    rows = [[name, *(number(own.get(name)) for own in metrics.values())] for name in overall]
    if rows:
        print()
        print_pieces(("score", *metrics), rows)
    if len(overall) < len(names):
        print(f"{len(names) - len(overall)} more scores, of single classes, with --json")
