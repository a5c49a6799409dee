"""Settings files of which something has been changed."""

import random
from pathlib import Path
from typing import Any

from .watching import watched


def configs(_root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Read settings files of which something has been changed."""
    from segzoo.errors import SegzooError
    from segzoo.store import read_config
    from segzoo.train.config import RunConfig, config_toml, make_config

    whole = config_toml(RunConfig(model="linknet", data="hk", model_options={"width": 4}))
    lines, refused, failures = whole.splitlines(), 0, []
    odd = ("[" * 5000, "{" * 300, "nan", "-1", "1e999", '"', "'" * 3, "[[x]]", "\0", "é", "= =",
           "9" * 5000, "1979-05-27", "true", "''", "[]", "{}", "[model_options]")  # fmt: skip
    path = folder / "config.toml"
    for _ in range(count):
        changed = list(lines)
        place = chance.randrange(len(changed))
        how = chance.choice(("value", "line", "bytes", "twice", "cut"))
        if how == "value":
            changed[place] = f"{changed[place].partition('=')[0]}= {chance.choice(odd)}"
        elif how == "line":
            changed.insert(place, chance.choice(odd))
        elif how == "twice":
            changed.insert(place, changed[place])
        data = bytearray("\n".join(changed).encode())
        if how == "cut":
            del data[chance.randrange(len(data)) :]
        elif how == "bytes":
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        with watched(path, failures):
            try:
                make_config(read_config(path))
            except SegzooError:
                refused += 1
    return {"configs": count, "refused": refused, "failures": failures[:20]}
