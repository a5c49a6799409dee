"""The fault campaign: kills, damaged files and a long soak, counted.

Prints its counts and writes them into benchmarks/faults.json::

    python benchmarks/faults.py                          # the long form, about half an hour
    python benchmarks/faults.py --parts kills --kills 20

- kills: a small training is ended at a random moment by SIGKILL or SIGTERM, again and again until
  it finishes, and must have written, to the bit, what the same training writes undisturbed.
- flips: a bit is turned over somewhere in a state file, which must be noticed and named.
- headers: weights files whose header is hostile or damaged, made by chance and by atheris (where it
  is installed), which looks for inputs that take new paths through the code. Each must be refused
  by name, or mean what the format's own reader finds in it.
- pictures: damaged ones of every format. Each must be refused by name, or be the whole picture;
  what a format has no checksum for may come out changed, at the size that it had.
- names: pictures whose names try to leave the folder, or to be one another's. Each must be written
  once, below the output folder.
- configs: settings files of which something is changed. Each must be refused, or be read.
- soak: very many steps of a tiny network; memory, open files and threads must not grow.
"""

import argparse
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from records import machine

PARTS = ("kills", "flips", "headers", "pictures", "names", "configs", "soak")
FILE = Path(__file__).with_name("faults.json")
MUCH_MEMORY = 1_200_000_000  # Of a picture of 179 million pixels, which are let through, 540 MB.
TRAINING: dict[str, Any] = {
    "model": "linknet", "model_options": {"width": 4}, "data": "hk", "size": 32, "batch_size": 2,
    "augment": "strong", "precision": "fp32", "progress": False, "save_minutes": 0.005,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--headers", type=int, default=10_000)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--names", type=int, default=200)
    parser.add_argument("--configs", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FILE, help="where the counts are written")
    parser.add_argument("--atheris", type=int, default=20_000, help="headers that it makes")
    parser.add_argument("--fuzz", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--fuzzed-file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fuzz:
        fuzz(given.fuzz, given.fuzzed_file)
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    chance = random.Random(given.seed)
    parts: dict[str, tuple[Callable[..., dict[str, Any]], int]] = {
        "kills": (kills, given.kills),
        "flips": (flips, given.flips),
        "headers": (functools.partial(headers, more=given.atheris), given.headers),
        "pictures": (pictures, given.pictures),
        "names": (names, given.names),
        "configs": (configs, given.configs),
        "soak": (soak, given.steps),
    }
    results = json.loads(given.out.read_text()) if given.out.is_file() else {}
    failed = False
    with TemporaryDirectory() as folder:
        os.environ["SEGZOO_CACHE"] = f"{folder}/cache"
        root = Path(folder, "HK")
        write_pictures(root)
        for part in given.parts.split(","):
            call, count = parts[part]
            Path(folder, part).mkdir()
            found = call(root, Path(folder, part), count, chance)
            results[part] = {**machine(), **found}
            print(part, json.dumps(found), flush=True)
            failed |= bool(found["failures"])
            given.out.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(int(failed))


def write_pictures(root: Path) -> None:
    """Write 12 pairs in the layout of `hk`."""
    from segzoo.data.standin import figure

    for split, numbers in (("training", range(10)), ("testing", range(10, 12))):
        (root / split).mkdir(parents=True)
        for number in numbers:
            image, matte = figure(number)
            image.save(root / split / f"{number:05d}.png")
            matte.save(root / split / f"{number:05d}_matte.png")


def train(folder: Path, root: Path, **changes: Any) -> None:
    """Train in this process, or go on with what is there, unless it has come to its end."""
    from segzoo.train.fit import fit

    if (folder / "summary.json").is_file():
        return  # Killed after its last file.
    if (folder / "config.toml").is_file():
        fit(resume=folder, progress=False)
    else:
        fit(**{**TRAINING, "root": str(root), "out": str(folder), **changes})


def in_a_child(call: Callable[[], None], log: Path) -> int:
    """Call something in a fork of this process, which has imported all it needs; return its pid.

    What it says goes to `log`.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        call()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def kills(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """End trainings at random moments until each has finished, and compare."""
    ways: list[dict[str, Any]] = [
        {"epochs": 4, "workers": 0},
        {"epochs": 3, "workers": 2, "accumulate": 2, "cache": "none"},
        {"epochs": 3, "workers": 0, "precision": "bf16", "metrics": "boundary"},
    ]
    done, failures = {"SIGKILL": 0, "SIGTERM": 0}, []
    wholes: list[tuple[str, float]] = []
    log = folder / "log"
    for number, way in enumerate(ways):
        where = folder / f"whole-{number}"
        start = time.monotonic()
        os.waitpid(in_a_child(lambda where=where, way=way: train(where, root, **way), log), 0)
        wholes.append((digest(where), time.monotonic() - start))
    runs = 0
    while sum(done.values()) < count:
        number = runs % len(ways)
        way, (expected, seconds) = ways[number], wholes[number]
        where = folder / f"killed-{runs}"
        runs += 1
        ended = False
        while not ended:
            pid = in_a_child(lambda where=where, way=way: train(where, root, **way), log)
            kill = chance.random() < 0.8 and sum(done.values()) < count
            if kill:
                name = chance.choice(("SIGKILL", "SIGTERM"))
                time.sleep(chance.uniform(0, seconds))
                os.kill(pid, getattr(signal, name))
            _, status = os.waitpid(pid, 0)
            ended = status == 0
            if kill and not ended:
                done[name] += 1
            elif not kill and not ended:
                failures.append(f"{where.name}: not resumed: {log.read_text()[-300:]}")
                break
        if ended and digest(where) != expected:
            failures.append(f"{where.name}: other weights than undisturbed")
        shutil.rmtree(where, ignore_errors=True)
        print(f"{sum(done.values())} kills, {runs} runs; failures: {failures}", flush=True)
    return {"kills": done, "runs": runs, "failures": failures}


def digest(folder: Path) -> str:
    """Return a digest of the best weights and of all tensors of the newest state."""
    from safetensors.torch import load_file

    from segzoo.train.state import read_generations

    found = hashlib.blake2b()
    for path in (
        folder / "best.safetensors",
        read_generations(folder)[0].path.with_suffix(".safetensors"),
    ):
        for name, value in sorted(load_file(path).items()):
            found.update(name.encode() + value.numpy().tobytes())
    return found.hexdigest()


def flips(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Turn bits over in the files of a state, one at a time."""
    from segzoo.errors import SegzooError
    from segzoo.train import state

    train(folder / "run", root, epochs=1, workers=0)
    files = [path for path in state.state_folder(folder / "run").iterdir() if path.stat().st_size]
    newest = state.read_generations(folder / "run")[0].path
    files = [newest, newest.with_suffix(".safetensors")]
    for path in state.state_folder(folder / "run").glob("state-*"):
        if path not in files:
            path.unlink()
    whole = {path: path.read_bytes() for path in files}
    noticed, failures = 0, []
    for _ in range(count):
        path = chance.choice(files)
        data, place = bytearray(whole[path]), chance.randrange(len(whole[path]))
        data[place] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            state._newest(folder / "run")
            failures.append(f"{path.name}, byte {place}: not noticed")
        except SegzooError as error:
            noticed += str(path) in str(error)
        path.write_bytes(whole[path])
    return {"flips": count, "noticed_and_named": noticed, "failures": failures}


def headers(
    root: Path, folder: Path, count: int, chance: random.Random, *, more: int
) -> dict[str, Any]:
    """Open files with hostile headers, half of them by `segzoo.load`'s way through; then `more`
    that atheris makes.
    """
    train(folder / "run", root, epochs=1, workers=0)
    whole = (folder / "run" / "best.safetensors").read_bytes()
    path = folder / "hostile.safetensors"
    refused, failures = 0, []
    for number in range(count):
        path.write_bytes(hostile(whole, chance))
        with watched(path, failures):
            refused += opened(path, models=number % 2 == 0)
    found = {"headers": count, "refused": refused, "let_through": count - refused}
    found["by_atheris"] = fuzzed(path, more, failures)
    return {**found, "failures": failures[:20]}


def hostile(whole: bytes, chance: random.Random) -> bytes:
    """Return a weights file of which something has been changed."""
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    kind = chance.choice(("bytes", "cut", "length", "value", "description", "nested", "twice"))
    if kind == "bytes":
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(8 + length)] = chance.randrange(256)
        return bytes(changed)
    if kind == "cut":
        return whole[: chance.randrange(len(whole))]
    if kind == "length":
        return chance.getrandbits(chance.choice((8, 20, 33, 64))).to_bytes(8, "little") + whole[8:]
    odd = (
        -1,
        0,
        1,
        2**31,
        2**62,
        2**64,
        1.5,
        True,
        None,
        "",
        "F32",
        [],
        {},
        [2**40, 2**40],
        "x" * 99,
    )
    name = chance.choice([key for key in header if key != "__metadata__"])
    if kind == "value":
        key = chance.choice(("dtype", "shape", "data_offsets"))
        if isinstance(header[name][key], list) and header[name][key] and chance.random() < 0.7:
            header[name][key][chance.randrange(len(header[name][key]))] = chance.choice(odd)
        else:
            header[name][key] = chance.choice(odd)
    elif kind == "description":
        info = json.loads(header["__metadata__"]["segzoo"])
        part = info["model"] if chance.random() < 0.5 else info
        part[chance.choice(list(part))] = chance.choice(odd)
        header["__metadata__"]["segzoo"] = json.dumps(info)
    text = json.dumps(header)
    if kind == "nested":
        text = text.replace("{", "[" * chance.choice((1, 20, 100_000)), 1)
    elif kind == "twice":
        text = text[:-1] + f', "{name}": {json.dumps(header[name])}}}'
    return len(text.encode()).to_bytes(8, "little") + text.encode() + data


def opened(path: Path, *, models: bool) -> bool:
    """Open a weights file; return whether it is refused by name. Raises for anything else."""
    from safetensors.torch import load_file

    from segzoo.errors import SegzooError
    from segzoo.tensors import read_header
    from segzoo.weights import load_model

    try:
        header = read_header(path)
        if models:
            load_model(path)
    except SegzooError as error:
        if str(path) not in str(error):
            raise RuntimeError(f"does not name the file: {error}") from error
        return True
    if {name: tuple(value.shape) for name, value in load_file(path).items()} != header.shapes:
        raise RuntimeError("let through, with other tensors than the format's reader finds")
    return False


@contextlib.contextmanager
def watched(path: Path, failures: list[str], seconds: int = 20) -> Iterator[None]:
    """Note what is raised in the block, hangs, or takes a lot of memory; keep the file then."""

    def hangs(*_: Any) -> None:
        raise TimeoutError(f"not done in {seconds} s")

    signal.signal(signal.SIGALRM, hangs)
    signal.alarm(seconds)
    before, fault = most_memory(), ""
    try:
        yield
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if most_memory() - before > MUCH_MEMORY:
        fault = fault or f"took {(most_memory() - before) / 1e6:.0f} MB"
    if fault:
        kept = Path(f"fault-{len(failures)}{path.suffix}").absolute()
        shutil.copy(path, kept)
        failures.append(f"{kept.name}: {fault[:300]}")


def fuzzed(path: Path, runs: int, failures: list[str]) -> int:
    """Let atheris look for headers that are let through wrongly or crash; return how many it tried.

    0 where it is not installed.
    """
    if not runs or importlib.util.find_spec("atheris") is None:
        return 0
    command = [sys.executable, __file__, "--fuzz", str(runs), "--fuzzed-file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    if done.returncode:
        failures.append(f"atheris: {done.stderr[-1000:]}")
    return runs


def fuzz(runs: int, path: Path) -> None:
    """Run atheris in this process, which it ends."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports():
        import segzoo.tensors  # noqa: F401

    def one(data: bytes) -> None:
        path.write_bytes(len(data).to_bytes(8, "little") + data)
        opened(path, models=False)

    corpus = path.parent / "corpus"
    corpus.mkdir(exist_ok=True)
    tensor = {"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    (corpus / "sound").write_text(json.dumps(tensor))
    atheris.Setup(
        [sys.argv[0], f"-runs={runs}", "-max_len=400", "-rss_limit_mb=4096", str(corpus)], one
    )
    atheris.Fuzz()


def pictures(_root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Read damaged pictures as photographs, mattes and masks."""
    from segzoo.data.images import read_image, read_mask, read_matte
    from segzoo.errors import SegzooError

    wholes = whole_pictures()
    refused, failures = 0, []
    kinds: dict[str, int] = {}
    for number in range(count):
        name, whole = chance.choice(list(wholes.items()))
        how, damaged = damage(whole, chance)
        path = folder / f"{number}-{name}"
        path.write_bytes(damaged)
        kinds[how] = kinds.get(how, 0) + 1
        for read in (read_image, read_matte, read_mask):
            with watched(path, failures):
                try:
                    found = read(path)
                except SegzooError as error:
                    refused += 1
                    if str(path) not in str(error):
                        raise RuntimeError(f"does not name the file: {error}") from error
                    continue
                path.write_bytes(whole)
                true = read(path)
                path.write_bytes(damaged)
                checked = path.suffix == ".png" or how == "cut"
                if found.shape != true.shape or (checked and not found.equal(true)):
                    raise RuntimeError(f"{read.__name__} takes a picture that is damaged ({how})")
        path.unlink()
    return {"pictures": count, "readings": 3 * count, "refused": refused, "damage": kinds,
            "failures": failures[:20]}  # fmt: skip


def whole_pictures() -> dict[str, bytes]:
    """Return sound pictures of every format, by name."""
    import io

    from PIL import Image

    from segzoo.data.standin import figure

    image, matte = figure(3)
    ways: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "rgb.png": (image, {}),
        "grey.png": (matte, {}),
        "palette.png": (image.convert("P"), {}),
        "deep.png": (matte.convert("I;16"), {}),
        "rgb.jpg": (image, {"quality": 90}),
        "progressive.jpg": (image, {"progressive": True}),
        "grey.jpeg": (matte, {}),
        "rgb.webp": (image, {}),
        "lossless.webp": (image, {"lossless": True}),
        "rgb.bmp": (image, {}),
        "rgb.tif": (image, {}),
        "packed.tiff": (image, {"compression": "tiff_lzw"}),
        "rgb.gif": (image, {}),
    }
    found: dict[str, bytes] = {}
    for name, (picture, how) in ways.items():
        data = io.BytesIO()
        suffix = name.rsplit(".", 1)[1]
        kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
        picture.save(data, kind, **how)
        found[name] = data.getvalue()
    return found


def damage(whole: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return how a picture was damaged, and what came of it."""
    how = chance.choice(("cut", "bytes", "block", "empty", "noise", "large"))
    changed = bytearray(whole)
    place = chance.randrange(len(whole))
    if how == "cut":
        return how, whole[:place]
    if how == "bytes":
        for _ in range(chance.randint(1, 10)):
            changed[chance.randrange(len(whole))] = chance.randrange(256)
    elif how == "block":
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    elif how == "empty":
        changed = bytearray()
    elif how == "noise":
        changed = bytearray(chance.randbytes(len(whole)))
    elif whole.startswith(b"\x89PNG"):  # a header that claims to be very large, with its checksum
        size = struct.pack(
            ">II", chance.choice((20_000, 2**31 - 1)), chance.choice((20_000, 2**30))
        )
        changed[16:24] = size
        changed[29:33] = struct.pack(">I", zlib.crc32(bytes(changed[12:29])))
    elif (start := whole.find(b"\xff\xc0")) >= 0:
        changed[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    else:
        changed = changed[: len(changed) // 2]
        how = "cut"
    return how, bytes(changed)


def names(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Predict pictures with hostile names, in folders and by themselves."""
    from segzoo.predict_files import predict_files

    train(folder / "run", root, epochs=1, workers=0)
    weights, picture = folder / "run" / "best.safetensors", root / "testing" / "00010.png"
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
        if taken or path.name.startswith("."):  # The latter is hidden.
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


def configs(_root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Read settings files of which something has been changed."""
    from segzoo.config import RunConfig, config_toml, make_config, read_config
    from segzoo.errors import SegzooError

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


def soak(root: Path, folder: Path, steps: int, _chance: random.Random) -> dict[str, Any]:
    """Take very many steps, and compare what the process has early and at the end."""
    from segzoo.train.fit import fit

    per_epoch = 5
    epochs = -(-steps // per_epoch)
    seen: list[dict[str, int]] = []

    class Look:
        def segzoo_epoch_end(self, run: Any, epoch: int) -> None:
            if epoch % max(1, epochs // 50) == 0:
                seen.append({"step": run.step, **taken()})

    fit(
        **{**TRAINING, "size": 16, "save_minutes": 0.05, "augment": "light"},
        root=str(root), epochs=epochs, workers=0, eval_splits=("test",), observers=[Look()],
        out=str(folder / "run"), minutes=0,
    )  # fmt: skip
    early, late = seen[len(seen) // 5], seen[-1]
    growth = late["bytes"] / early["bytes"] - 1
    failures = [
        f"{name} grew from {early[name]} to {late[name]}"
        for name in ("files", "threads")
        if late[name] > early[name]
    ]
    if growth >= 0.01:
        failures.append(f"memory grew by {growth:.1%}")
    return {"steps": late["step"], "memory_growth": growth, "early": early, "late": late,
            "failures": failures}  # fmt: skip


def most_memory() -> int:
    """Return the most bytes of memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def taken() -> dict[str, int]:
    """Return the memory, open files and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    main()
