"""What ``segzoo compare`` prints: runs in rows, a group of runs after the other."""

import itertools
from typing import Any

from segzoo.cli.tables import interval_text, number, print_pieces, print_text, score_text
from segzoo.train.provenance import setting_text

FACTS = {
    "parameters": "parameters", "best_epoch": "best epoch", "epochs": "epochs",
    "seconds_per_epoch": "s/epoch", "images_per_second": "images/s",
}  # fmt: skip


def print_comparison(records: list[dict[str, Any]]) -> None:
    """Print the records of `comparison.compare_runs`: those of each group, which compare."""
    groups = [list(g) for _, g in itertools.groupby(records, key=lambda record: record["group"])]
    _print_settings(records)
    if len(groups) > 1:
        print_text(
            f"These runs were scored on {len(groups)} different sets of data: compare scores "
            "only within a group."
        )
        print()
    for group in groups:
        first = group[0]
        where = f"group {first['group']}: " if len(groups) > 1 else ""
        named = first["unlike"].startswith("another data set")  # The name itself says it.
        why = f" ({first['unlike']})" if first["unlike"] and not named else ""
        size = f", scored at {setting_text(first['size'])}" if first["size"] else ""
        size = "" if first["unlike"].startswith("scored at") else size
        print_text(f"{where}{first['data']}{size}{why}")
        print()
        _print_scores(group)
        _print_differences(group)
    for record in records:
        for note in record["notes"]:
            print_text(f"{record['run']}: {note}")


def _print_settings(records: list[dict[str, Any]]) -> None:
    """Print what each run is: the settings that differ, and how long and fast it was."""
    names = [name for name in records[0]["settings"] if name not in FACTS]
    if len({record["model"] for record in records}) > 1 or "model" not in names:
        names = ["model", *(name for name in names if name != "model")]
    columns = ["run", *(name.removeprefix("model_options.") for name in names), *FACTS.values()]
    rows = [
        [
            record["run"],
            *(_setting(record["settings"].get(name, record.get(name))) for name in names),
            *(number(record[name]) for name in FACTS),
        ]
        for record in records
    ]
    print_pieces(columns, rows)


def _setting(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else setting_text(value)


def _print_scores(group: list[dict[str, Any]]) -> None:
    """Print the scores of each split with their intervals, without those of single classes."""
    splits = dict.fromkeys(split for record in group for split in record["scores"])
    for split in splits:
        if split == "train" and len(splits) > 1:
            continue  # Taken while the weights changed; the curves have them.
        scores = [record["scores"].get(split, {}) for record in group]
        names = dict.fromkeys(n for own in scores for n in own if "/" not in n and n != "loss")
        rows = [
            [record["run"], *(_score(record, split, name) for name in names)] for record in group
        ]
        pictures = next((r["pictures"][split] for r in group if split in r["pictures"]), None)
        title = split if pictures is None else f"{split}, {pictures:,} pictures"
        print_pieces(["run", *names], rows, title=title)


def _score(record: dict[str, Any], split: str, name: str) -> str:
    interval = record["intervals"].get(split, {}).get(name, ())
    return score_text(record["scores"].get(split, {}).get(name), interval)


def _print_differences(group: list[dict[str, Any]]) -> None:
    """Print how the scores differ from those of the group's first run."""
    rows = [
        [
            f"{record['run']}: {split} {name}",
            f"{found['difference']:+.4f}",
            interval_text((found["low"], found["high"]), signed=True),
            f"{found['p']:.4f}",
        ]
        for record in group
        for split, differences in record["differences"].items()
        for name, found in differences.items()
        if "/" not in name
    ]
    if not rows:
        return
    title = f"difference from {group[0]['run']}, over the same pictures"
    print_pieces(["run, score", "difference", "95 % interval", "p"], rows, title=title, least=30)
    print_text(
        "p: approximate randomization over pictures, unadjusted. It knows nothing of chance in "
        "training: another seed may differ by as much."
    )
    print()
