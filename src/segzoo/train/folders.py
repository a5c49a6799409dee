"""The folder of a run: a new one, or one whose training goes on."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from segzoo.compute.ranks import Ranks, told
from segzoo.errors import SegzooError, listed
from segzoo.host import system
from segzoo.plugins.manager import get_registry
from segzoo.store import LOCK, TEMPORARY, read_config, remove_temporary, shown
from segzoo.train.config import RunConfig, make_config, with_typed_options
from segzoo.train.recovery.state import (
    check_tensors,
    has_state,
    load_state,
    read_generations,
    state_folder,
)
from segzoo.train.run import Run
from segzoo.words import number_of

log = logging.getLogger("segzoo")

HARMLESS = {
    "epochs", "patience", "device", "workers", "cache", "save_minutes", "on_bad_image",
    "on_nonfinite", "keep_state",
}  # fmt: skip
"""Settings that a resumed run may have otherwise than the run it continues."""
OPTIONS = {"model_options": "-o", "data_options": "-O"}


def resumed_config(folder: Path, settings: dict[str, Any], force: bool) -> tuple[RunConfig, Path]:
    """Return the run folder's config with what may differ in a resumed run: mainly the epochs.

    Raises SegzooError that shows other changes, unless `force` lets them be.
    """
    path = folder / "config.toml"
    if not path.is_file():
        raise SegzooError(
            f"{folder} is not a run folder: it has no config.toml",
            "give the folder that `segzoo train` named; one that was killed before it wrote "
            "anything is used again by the same command",
        )
    saved = read_config(path)
    if not {"model", "data"} <= saved.keys():
        raise SegzooError(
            f"{path} does not say what was trained: it has no model and data",
            "bring it back; best.safetensors has the run's best weights",
        )
    own = with_typed_options(make_config(saved))
    if settings.get("root") is not None:
        root = Path(settings["root"]).absolute()
        same = own.root is not None and root.resolve() == Path(own.root).resolve()
        settings = {**settings, "root": own.root if same else str(root)}
    beside = _beside(saved, own, settings)
    for name in OPTIONS:
        if name in settings:
            settings = {**settings, name: {**beside.get(name, {}), **settings[name]}}
    asked = with_typed_options(make_config({**beside, **settings}))
    harmless = HARMLESS | {"recipe", "out"}
    if "epochs" in settings and "minutes" not in settings:
        harmless |= {"minutes"}  # which the epochs take the place of
    changes = [
        change
        for field in fields(RunConfig)
        if field.name not in harmless
        for change in _changes(field.name, getattr(own, field.name), getattr(asked, field.name))
    ]
    if changes and not force:
        raise SegzooError(
            f"--resume takes the run's own settings; changed are {'; '.join(changes)}",
            "leave them out, or go on with them by --force; without it may differ "
            f"{listed(name.replace('_', '-') for name in HARMLESS)}",
        )
    refuse_finished(folder, asked.epochs)
    for change in changes:
        log.warning("going on with another setting: %s", change)
    return asked, folder


def _beside(saved: dict[str, Any], own: RunConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the saved settings but for those that what is given now takes the place of.

    A size and a crop exclude each other, and so do epochs and minutes; options are those of one
    model, and of one data set.
    """
    replaced: set[str] = set()
    cropped = str(settings.get("crop")).lower() != "none"
    if cropped:
        replaced |= {"size"}
    elif "size" in settings or "crop" in settings:
        replaced |= {"crop", "scale"}
    if "epochs" in settings:
        replaced |= {"minutes"}
    for kind, name, options in (
        ("models", "model", "model_options"),
        ("datasets", "data", "data_options"),
    ):
        registry = get_registry()
        if name in settings and registry.get(kind, settings[name]) != registry.get(
            kind, getattr(own, name)
        ):
            replaced.add(options)
    return {key: value for key, value in saved.items() if key not in replaced}


def _changes(name: str, own: Any, asked: Any) -> Iterator[str]:
    if name in OPTIONS:
        for key in sorted(own.keys() | asked.keys()):
            if own.get(key) != asked.get(key):
                flag = f"{OPTIONS[name]} {key}"
                yield f"{flag}: {own.get(key, 'its default')} -> {asked.get(key, 'its default')}"
    elif own != asked:
        yield f"{name.replace('_', '-')}: {own} -> {asked}"


def go_on(run: Run, *, force: bool) -> None:
    """Bring a run to where it was left; one killed before its first save starts anew.

    Raises SegzooError where there is nothing to do, or something is missing.
    """
    folder = run.folder
    if not has_state(folder):
        _check_anew(folder)
        log.info(
            "%s was stopped before anything was saved: it starts from the beginning", shown(folder)
        )
        return
    load_state(run, folder, force=force)
    if run.best_epoch and run.ranks.first and not run.best_path.is_file():
        if not force:
            raise SegzooError(
                f"{run.best_path} is gone: the weights of epoch {run.best_epoch}, the best so far",
                "put it back, or go on by --force, which keeps the next epoch's",
            )
        run.best_epoch, run.best_score = 0, None
    _refuse_fewer(folder, run.epoch, run.config.epochs)
    within = f", batch {run.partial.batches} of the next" if run.partial.batches else ""
    log.info("resuming %s after epoch %d%s", shown(folder), run.epoch, within)


def refuse_finished(folder: Path, epochs: int) -> None:
    """Refuse a finished run of which no more epochs are asked, before its data is looked for."""
    if not (folder / "summary.json").is_file():
        return
    if not has_state(folder):
        _check_anew(folder)
        return
    done = read_generations(folder)[0].values.get("epoch")
    if isinstance(done, int):
        _refuse_fewer(folder, done, epochs)


def _refuse_fewer(folder: Path, done: int, epochs: int) -> None:
    if epochs > done or not (folder / "summary.json").is_file():
        return
    fewer = f"; --epochs {epochs} is fewer" if epochs < done else ""
    raise SegzooError(
        f"{folder} has already been trained for {number_of(done, 'epoch')}{fewer}",
        f"give more with --epochs, {done + 1} or above",
    )


def _check_anew(folder: Path) -> None:
    """Refuse a run that has come further than its first save, whose state is gone."""
    lines = folder / "metrics.jsonl"
    epochs = len(system.read(lines, Path.read_bytes).splitlines()) if lines.is_file() else 0
    finished = (folder / "summary.json").is_file()
    if finished and read_config(folder / "config.toml").get("keep_state") is False:
        raise SegzooError(
            f"{folder} is finished after {epochs} epochs, and its state was not kept "
            "(--no-keep-state): it cannot go on",
            "train anew with another --out; best.safetensors has its best weights",
        )
    if epochs > 1 or finished:
        raise SegzooError(
            f"{state_folder(folder)} has no state, but {folder} was trained for {epochs} epochs",
            "put its state back; or begin anew with another --out",
        )


def drop_needless_state(folder: Path, *, keep: bool) -> None:
    """Leave of a finished run's state what further epochs need, the newer generation, or nothing.

    The older one is for a training that ends in the middle of writing. Where the newer one is not
    whole, both stay.
    """
    try:
        newest, *older = read_generations(folder)
        if keep:
            check_tensors(newest)
        for saved in older if keep else [newest, *older]:
            # Its JSON first: a kill leaves no generation without tensors.
            for path in (saved.path, saved.path.with_name(saved.tensors["name"])):
                system.unlink(path)
    except (SegzooError, ValueError, OSError) as error:
        log.warning("all of %s is left as it is: %s", state_folder(folder), error)


def whole_root(root: str) -> str:
    """Return the root as the saved settings need it, to be found from any working directory."""
    path = Path(root).absolute()
    try:
        str(path).encode("utf-8")
        path.exists()
    except UnicodeEncodeError as error:
        raise SegzooError(
            f"--root {path!a}: its name is not UTF-8, as settings are saved",
            "rename it, or link it",
        ) from error
    except OSError as error:
        raise SegzooError(f"--root {root[:80]}: {error.strerror}", "give a folder") from error
    return str(path)


def new_folder(config: RunConfig, ranks: Ranks) -> Path:
    """Return the run folder, which the first rank chooses, or refuses, for all."""
    said: dict[str, str] = {}
    if ranks.first:
        folder = Path(config.out) if config.out else _next_folder(config)
        try:
            _refuse_used(folder)
            said = {"folder": str(folder)}
        except SegzooError as error:
            said = {"message": error.message, "hint": error.hint}
        except OSError as error:
            said = {"message": f"--out {folder}: {error.strerror}", "hint": "give another --out"}
    said = told(said)[0]
    if "folder" not in said:
        raise SegzooError(said["message"], said["hint"])
    return Path(said["folder"])


def _next_folder(config: RunConfig) -> Path:
    """Return runs/MODEL-DATA, or the first free runs/MODEL-DATA-2, -3, ..."""
    names = [name.rsplit("/", 1)[-1] for name in (config.model, config.data)]
    base = Path("runs") / "-".join(names)
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _left_behind(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder but for what a run leaves that was killed before it began: the
    lock, the beginnings of files, and its settings beside the lock.
    """
    locked = (state_folder(folder) / LOCK).is_file()
    for path in folder.iterdir():
        if locked and path.name == "config.toml":
            continue
        inside = path.iterdir() if path == state_folder(folder) and path.is_dir() else [path]
        yield from (p for p in inside if p.name != LOCK and not p.name.startswith(TEMPORARY))


def remove_unused(folder: Path) -> None:
    """Remove a run folder in which there is nothing but the lock and settings, if that can be.

    It is left where it cannot: the same command takes it, and the error that it is about is told.
    """
    with contextlib.suppress(OSError):
        if any(_left_behind(folder)):
            return
        for place in (folder, state_folder(folder)):
            remove_temporary(place)
        for path in (folder / "config.toml", state_folder(folder) / LOCK):
            system.unlink(path)
        system.remove_folder(state_folder(folder))
        system.remove_folder(folder)


def _refuse_used(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SegzooError(f"--out {folder} is a file", "give a new folder")
    if folder.exists() and any(_left_behind(folder)):
        raise SegzooError(
            f"the run folder {folder} exists already",
            f"choose another --out, or continue it with --resume {folder}",
        )
