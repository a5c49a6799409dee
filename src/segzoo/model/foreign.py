"""Taking over weights that others saved: the one door for checkpoints that segzoo did not write.

Safetensors, or what `torch.save` wrote, read with `weights_only`: tensors and plain values, and no
code. What comes out is a weights file as training writes it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.data.sample import default_palette
from segzoo.errors import SegzooError, listed, nearest
from segzoo.model.description import WeightsInfo
from segzoo.model.network import create_model, model_record, numbers_of
from segzoo.model.pickled import load_pickled
from segzoo.model.pixels import NORMALIZATIONS, normalization
from segzoo.model.tensors import load_tensors
from segzoo.model.weights import load_model, save_weights
from segzoo.plugins.isolation import one_line
from segzoo.plugins.packages import core_version
from segzoo.size import Size

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
PREFIXES = ("module.", "model.", "network.", "net.", "_orig_mod.", "backbone.", "student.")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHOWN = 6


@dataclass(frozen=True)
class Report:
    """How the tensors of a file became those of a model; names of the file in the last two."""

    tensors: int
    prefix: str
    renamed: dict[str, str]
    by_order: bool
    left_over: tuple[str, ...]
    no_tensors: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def import_weights(
    file: Path,
    out: Path,
    *,
    model: str,
    options: Mapping[str, Any] | None = None,
    classes: Sequence[str],
    in_channels: int = 3,
    size: Size = (256, 256),
    normalize: str = "imagenet",
    renames: Mapping[str, str] | None = None,
    by_order: bool = False,
) -> Report:
    """Write the weights in `file` as those of a registered model; what `segzoo import` runs.

    `renames` replaces beginnings of names; wrappers such as ``module.`` go by themselves. With
    `by_order` tensors are matched in their order, shape by shape, whatever their names. Every
    tensor of the model must be there. `classes` are the outputs' names in order; `size` and
    `normalize` (imagenet, half, unit) are those of the training. Raises SegzooError otherwise,
    saying which tensors do not fit.
    """
    if out.exists():
        raise SegzooError(f"{out} exists already", "choose another --out, or move it away")
    if normalize not in NORMALIZATIONS:
        raise SegzooError(
            f"--normalize {normalize}",
            f"{nearest(normalize, NORMALIZATIONS)}there is: {listed(NORMALIZATIONS)}",
        )
    _check_classes(classes)
    tensors, no_tensors = read_tensors(file)
    network = create_model(
        model, in_channels=in_channels, num_classes=len(classes), options=dict(options or {})
    )
    wanted = {name: tuple(value.shape) for name, value in network.network.state_dict().items()}
    named = {_renamed(name, renames or {}): name for name in tensors}
    prefix, source = "", {}
    if by_order:
        source = _by_order(wanted, tensors, file)
    else:
        prefix = _best_prefix(wanted, named)
        source = {name: named[prefix + name] for name in wanted if prefix + name in named}
        _check_names(file, wanted, source, named, tensors)
    _check_shapes(file, wanted, source, tensors)
    _check_values(file, network.network, source, tensors)
    counters = {name for name in wanted if name.endswith("num_batches_tracked")} - source.keys()
    state = {name: tensors[place] for name, place in source.items()}
    own = network.network.state_dict()
    network.network.load_state_dict({**state, **{name: own[name] for name in counters}})
    mean, std = normalization(normalize, in_channels)
    save_weights(
        out,
        network,
        WeightsInfo(
            model=model_record(network),
            classes=tuple(classes),
            palette=default_palette(len(classes)),
            target="labels",
            ignore_index=255,
            threshold=None,
            value_range=(0.0, 255.0),
            mean=mean,
            std=std,
            size=size,
            data={"identity": "imported", "version": "", "options": {}, "fingerprint": ""},
            segzoo=core_version(),
            torch=torch.__version__,
        ),
    )
    try:
        load_model(out)
    except SegzooError:
        out.unlink()  # What cannot be used is not left there.
        raise
    used = set(source.values())
    return Report(
        tensors=len(source),
        prefix=prefix,
        renamed={place: name for name, place in source.items() if prefix + name != place},
        by_order=by_order,
        left_over=tuple(name for name in tensors if name not in used),
        no_tensors=no_tensors,
    )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Read a file's tensors by name without running anything in it, and the names of other values.

    Raises SegzooError for a file that cannot be read so, and for one without tensors.
    """
    if not path.is_file():
        raise SegzooError(f"{path}: no such file", "give a .safetensors, .pth or .pt file")
    if path.suffix == ".safetensors":
        return load_tensors(path), ()
    try:
        values: Any = load_pickled(path)
    except SegzooError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    for _ in range(3):
        inner = next(
            (values[name] for name in WRAPPERS if isinstance(values, dict) and name in values
             and isinstance(values[name], Mapping)), None,
        )  # fmt: skip
        if inner is None:
            break
        values = inner
    if not isinstance(values, Mapping):
        raise SegzooError(f"{path} holds {type(values).__name__}, no tensors by name")
    tensors = {str(name): value for name, value in values.items() if isinstance(value, Tensor)}
    if not tensors:
        raise SegzooError(
            f"{path} holds no tensors by name, but {', '.join(map(str, list(values)[:SHOWN]))}",
            f"a state dict is looked for there, and under {', '.join(WRAPPERS)}",
        )
    return tensors, tuple(str(name) for name in values if name not in tensors)


def _unreadable(path: Path, error: Exception) -> SegzooError:
    """Tell a file that holds code or classes from one that torch.save did not write, or damage."""
    hint = "save its state dict alone, torch.save(model.state_dict(), FILE), where it was made"
    text = str(error)
    # torch's text ends in advice to load without this protection, which is no advice here.
    found = re.search(r"Unsupported (?:global|class|operand)[^\n]*?:? ?(?:GLOBAL )?([\w.]+)", text)
    if "TorchScript" in text:
        return SegzooError(f"{path} is a TorchScript archive, which is a program", hint)
    if type(error).__name__ == "UnpicklingError" and "weights_only" in text.lower():
        what = f": it needs `{found[1]}`" if found else ""
        return SegzooError(f"{path} cannot be read without running what is in it{what}", hint)
    return SegzooError(
        f"{path} is damaged, or no file of torch.save: {one_line(error)[:120]}",
        "copy it again; .safetensors, .pth and .pt files are read",
    )


def _check_classes(classes: Sequence[str]) -> None:
    if not all(classes) or len(set(classes)) < len(classes):
        raise SegzooError(
            f"--classes {','.join(classes)}", "name each output once: --classes background,person"
        )


def _check_values(
    file: Path,
    network: nn.Module,
    source: Mapping[str, str],
    tensors: Mapping[str, Tensor],
) -> None:
    """Refuse tensors that cannot be those of the network, however well their shapes fit."""
    own = network.state_dict()
    numbers = {name for name, _ in numbers_of(network)}  # Other buffers may hold anything.
    for name, place in source.items():
        value = tensors[place]
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise SegzooError(
                f"{file}: `{place}` is a sparse, quantized or empty tensor",
                "save ordinary tensors: .to_dense(), .dequantize()",
            )
        if own[name].is_floating_point() and value.dtype not in FLOATS:
            raise SegzooError(
                f"{file}: `{place}` holds {str(value.dtype).removeprefix('torch.')}, no weights",
                "weights are float64, float32, float16 or bfloat16",
            )
        if name in numbers and not bool(torch.isfinite(value).all()):
            raise SegzooError(
                f"{file}: the values of `{place}` are not all finite numbers",
                "it comes from a training that had diverged, or is damaged",
            )


def _renamed(name: str, renames: Mapping[str, str]) -> str:
    for old, new in renames.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


def _best_prefix(wanted: Mapping[str, Any], named: Mapping[str, str]) -> str:
    """Return what stands before the most names: nothing, or wrappers one in another."""
    candidates = [""]
    for _ in range(3):
        candidates += [
            known + prefix
            for known in candidates
            for prefix in PREFIXES
            if any(name.startswith(known + prefix) for name in named)
            and known + prefix not in candidates
        ]
    return max(candidates, key=lambda prefix: sum(prefix + name in named for name in wanted))


def _by_order(
    wanted: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], file: Path
) -> dict[str, str]:
    own = [name for name in wanted if not name.endswith("num_batches_tracked")]
    theirs = [name for name in tensors if not name.endswith("num_batches_tracked")]
    if len(own) != len(theirs):
        raise SegzooError(
            f"{file} has {len(theirs)} tensors, the model {len(own)}: they do not match in order",
            "check --model and its options",
        )
    return dict(zip(own, theirs, strict=True))


def _check_names(
    file: Path,
    wanted: Mapping[str, Any],
    source: Mapping[str, str],
    named: Mapping[str, str],
    tensors: Mapping[str, Tensor],
) -> None:
    missing = [
        name for name in wanted if name not in source and not name.endswith("num_batches_tracked")
    ]
    if not missing:
        return
    used = set(source.values())
    over = [name for name in named.values() if name not in used]
    own, theirs = (
        [shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")]
        for shapes in (wanted, {name: tuple(value.shape) for name, value in tensors.items()})
    )
    raise SegzooError(
        f"{file} has {len(source)} of the model's {len(wanted)} tensors; missing are "
        f"{_some(missing)}" + (f"; it has besides {_some(over)}" if over else ""),
        "shape by shape they match in order: try --by-order"
        if own == theirs
        else "name what stands otherwise by --rename OLD=NEW, or check --model and its options",
    )


def _check_shapes(
    file: Path,
    wanted: Mapping[str, tuple[int, ...]],
    source: Mapping[str, str],
    tensors: Mapping[str, Tensor],
) -> None:
    unlike = [
        f"{place} is {list(tensors[place].shape)}, {name} {list(wanted[name])}"
        for name, place in source.items()
        if tuple(tensors[place].shape) != wanted[name]
    ]
    if unlike:
        raise SegzooError(
            f"{file}: {len(unlike)} tensors have other shapes: {'; '.join(unlike[:SHOWN])}",
            "check --model, its options, --in-channels and the number of --classes",
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" * (len(names) > SHOWN))
