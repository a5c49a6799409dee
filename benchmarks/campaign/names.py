"""Pictures whose names try to leave the folder, or to be one another's."""

import random
import shutil
from pathlib import Path
from typing import Any

from .training import trained_once


def names(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Predict pictures with hostile names, in folders and by themselves."""
    from segzoo.inference.files import predict_files

    weights, picture = trained_once(root) / "best.safetensors", root / "testing" / "00010.png"
    given, failures = folder / "given", []
    pieces = ("a", "b", "..", "...", " ", "-", "--json", "~", "$HOME", "\n", "\\", "ä", "\u202e",
              "%2e%2e%2f", "*", "'", '"', "[red]", "CON", "x" * 60, "\udcff")  # fmt: skip
    written: list[Path] = []
    while len(written) < count:
        parts = ["".join(chance.choices(pieces, k=chance.randint(1, 3))) for _ in range(3)]
        parts = [part for part in parts[: chance.randint(1, 3)] if part != ".."]
        suffix = chance.choice((".png", ".PNG", ".jpg"))  # Pictures are known by their content.
        path = given.joinpath(*parts, f"{chance.choice(pieces)}{suffix}")
        taken = path.exists() or any(parent.is_file() for parent in path.parents)
        hidden = any(part.startswith(".") for part in (*parts, path.name))
        if taken or hidden:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, path)
        written.append(path)
    (given / "away").symlink_to(folder)
    for how, pictures in (("folder", [given]), ("alone", written)):
        out = folder / how
        found = [
            Path(result["mask"]) for result in predict_files(weights, pictures, out, save="mask")
        ]
        if len(set(found)) != count or not all(path.is_file() for path in found):
            failures.append(f"{how}: {count} pictures, {len(set(found))} masks")
        failures += [f"{how}: {p!r}" for p in found if out.resolve() not in p.resolve().parents]
    return {"names": count, "failures": failures[:20]}
