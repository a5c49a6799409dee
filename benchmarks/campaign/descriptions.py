"""Weights files that ask for more than their tensors, and those of which a bit is rotten."""

import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .headers import ODD, packed, parts, places
from .watching import forget_most_memory, limit_memory, most_memory

MOST_SECONDS, MOST_MEMORY = 10, 1_000_000_000
TINY_CONFIGS = Path(__file__).parents[2] / "plugins/segzoo-transformers/tests/tiny.json"
ARCHITECTURE = {"upernet-convnext": "upernet", "upernet-swin": "upernet"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"width": 2, "depth": 2}),
    "unet over timm": ("unet", {"width": 2, "encoder": "mobilenetv3_small_050"}),
    "linknet": ("linknet", {"width": 4}),
    "linknet over timm": ("linknet", {"encoder": "mobilenetv3_small_050"}),
    "fcn": ("fcn32s", {"width": 1, "fc_channels": 4}),
    "fcn over timm": ("fcn8s", {"encoder": "mobilenetv3_small_050", "fc_channels": 4}),
    "smp-unet": ("smp-unet", {"encoder": "mobileone_s0"}),
    "smp-fpn": ("smp-fpn", {"encoder": "mobilenet_v2"}),
    "smp-deeplabv3": ("smp-deeplabv3", {"encoder": "mobilenet_v2", "decoder_channels": 8}),
    "smp-pan over timm": ("smp-pan", {"encoder": "tu-mobilenetv3_small_050", "output_stride": 32}),
    "torchvision": ("tv-lraspp-mobilenet-v3-large", {}),
}
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    7,
    64,
    300,
    512,
    4096,
    65536,
    10**6,
    10**9,
    2**31,
    2**63,
    1e9,
    1e308,
    -0.5,
)
TEXTS = (
    *("evil_module", "evil_module:run", "evil_module.Act", "org/kernel", "org/kernel@main:layer"),
    *("flash_attention_2", "sdpa", "kernels-community/flash-attn3", "hf-hub:org/model", "gelu"),
    *(
        "tu-hf-hub:org/model",
        "local-dir:{trap}",
        "resnet18.local-dir:{trap}",
        "imagenet",
        "DEFAULT",
    ),
    *(
        "{trap}/canary",
        "{trap}/pipe",
        "{trap}",
        "/dev/zero",
        "/dev/stdin",
        "/etc/passwd",
        "file:///x",
    ),
    *("http://127.0.0.1:9/x.pth", "tu-vit_giant_patch14_clip_224", "resnet152", "x" * 100_000, ""),
    *("convnext_xxlarge", "../../etc/passwd", "~/x", "\x1b[2J", "\u202e", "{{}}", "[" * 5000),
)
FIELDS = (
    *("attn_implementation", "_attn_implementation", "auto_map", "use_kernels", "backbone"),
    *("_name_or_path", "use_pretrained_backbone", "use_timm_backbone", "backbone_config", "dtype"),
    *("hidden_act", "quantization_config", "kernel_config", "num_hidden_layers", "encoder"),
    *("encoder_weights", "weights", "pretrained", "config", "trust_remote_code", "model_type"),
)


def descriptions(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Load weights files of every bridge whose options ask for what they should not, and count what
    is opened, connected to, imported or run by it, and what takes long or much.
    """
    trap = folder / "trap"
    trap.mkdir()
    (trap / "canary").write_text("0 a\n1 b\n")
    os.mkfifo(trap / "pipe")
    (trap / "evil_module.py").write_text("import sys\nsys.evil = True\nrun = Act = print\n")
    sys.path.append(str(trap))
    models = list(all_models().items())
    few = min(len(models), max(4, count // 8))  # Of the short form, which is a test.
    files = write_models(folder, dict(chance.sample(models, few)))
    failures: list[str] = []
    for name, path in files.items():
        if (found := loaded(path)) != "loaded":  # Also imports all that there is.
            failures.append(f"the sound file of {name}: {found}")
    limit_memory(16 << 30)
    seen = watch(trap)
    outcomes, slowest, most = Counter[str](), 0.0, 0
    for number in range(count):
        name = chance.choice(list(files))
        path = folder / "hostile.safetensors"
        path.write_bytes(asking(files[name].read_bytes(), str(trap), chance))
        forget_most_memory()
        before, begin, clock = most_memory(), time.monotonic(), time.process_time()
        found = loaded(path)
        seconds = time.process_time() - clock
        outcomes[found if found in ("loaded", "refused") else "failed"] += 1
        slowest, most = max(slowest, seconds), max(most, most_memory() - before)
        faults = [found] if found not in ("loaded", "refused") else []
        faults += seen[:]
        seen.clear()
        if seconds > MOST_SECONDS:
            faults.append(f"{seconds:.0f} s of the processor, {time.monotonic() - begin:.0f} s")
        if most_memory() - before > MOST_MEMORY:
            faults.append(f"{(most_memory() - before) / 1e6:.0f} MB")
        if hasattr(sys, "evil"):
            faults.append("a module that the file names was imported")
        if faults:
            kept = Path(f"fault-description-{number}.safetensors").absolute()
            kept.write_bytes(path.read_bytes())
            failures.append(f"{kept.name}: {name}: {'; '.join(faults)[:300]}")
    return {
        "descriptions": count, "models": len(files), "refused": outcomes["refused"],
        "loaded": outcomes["loaded"], "slowest_seconds": round(slowest, 1),
        "most_megabytes": round(most / 1e6), "failures": failures[:20],
        "failures_in_all": len(failures),
    }  # fmt: skip


def rotten(root: Path, folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Turn a bit of a weights file over, anywhere in it, which must be refused by its name."""
    write = {name: MODELS[name] for name in ("unet", "linknet")}
    files = list(write_models(folder, write).values())
    path = folder / "rotten.safetensors"
    outcomes, failures = Counter[str](), []
    for number in range(count):
        changed = bytearray(chance.choice(files).read_bytes())
        length = 8 + int.from_bytes(changed[:8], "little")
        in_header = number % 2 == 0
        place = chance.randrange(length) if in_header else chance.randrange(length, len(changed))
        bit = chance.randrange(8)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        found = loaded(path)
        outcomes["in the header" if in_header else "in the tensors"] += found == "refused"
        if found != "refused":
            failures.append(f"bit {bit} of byte {place}: {found}")
    return {"rotten": count, "noticed": dict(outcomes), "failures": failures[:20]}


def all_models() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return names and options of small models of every bridge, those of transformers too."""
    models = dict(MODELS)
    for name, values in json.loads(TINY_CONFIGS.read_text()).items():
        models[name] = (f"hf-{ARCHITECTURE.get(name, name)}", {"config": json.dumps(values)})
    return models


def write_models(folder: Path, models: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Path]:
    """Write a weights file of each model, untrained, and return them by name."""
    import torch

    import segzoo
    from segzoo.model.foreign import import_weights

    written = {}
    for number, (name, (model, options)) in enumerate(models.items()):
        if "encoder" in options:
            options = options | {"encoder_weights": None}
        network = segzoo.create_model(model, options=options)
        torch.save(network.network.state_dict(), folder / "state.pth")
        written[name] = folder / f"{number}.safetensors"
        import_weights(
            folder / "state.pth", written[name], model=model, options=options,
            classes=["background", "thing"], size=(32, 32),
        )  # fmt: skip
    return written


def loaded(path: Path) -> str:
    """Load a weights file; return loaded, refused (by its name), or what else was raised."""
    from segzoo.errors import SegzooError
    from segzoo.model.weights import load_model

    try:
        load_model(path)
    except SegzooError as error:
        return "refused" if str(path) in str(error) else f"does not name the file: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def watch(trap: Path) -> list[str]:
    """Return a list in which it is noted what this process opens, connects to and starts."""
    seen: list[str] = []
    main = threading.get_ident()
    started = (
        "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
        "socket.connect", "socket.sendto", "socket.bind", "socket.getaddrinfo",
    )  # fmt: skip
    traps = (str(trap), "/dev/zero", "/dev/stdin", "/etc/passwd")

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if threading.get_ident() != main:
            return
        opens = event == "open" and isinstance(arguments[0], (str, bytes))
        if event in started or (opens and os.fsdecode(arguments[0]).startswith(traps)):
            seen.append(f"{event} {arguments[0]!r:.100}")

    sys.addaudithook(note)
    return seen


def asking(whole: bytes, trap: str, chance: random.Random) -> bytes:
    """Return a weights file whose options, or whose configuration, ask for something else."""
    header, data = parts(whole)
    info = json.loads(header["__metadata__"]["segzoo"]) | {"checksum": None}
    header["__metadata__"].pop("checksum", None)
    options = info["model"]["options"]
    config = json.loads(options["config"]) if options.get("config") else None
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        inside = options if config is None or chance.random() < 0.15 else config
        change(inside, trap, chance)
    if config is not None and options.get("config"):
        options["config"] = json.dumps(config)
    info["model"]["options"] = {k: v for k, v in options.items() if not isinstance(v, (list, dict))}
    header["__metadata__"]["segzoo"] = json.dumps(info)
    return packed(header, data)


def change(inside: dict[str, Any], trap: str, chance: random.Random) -> None:
    """Change, add or repeat one value at any depth."""

    def value() -> Any:
        kind = chance.choice(("number", "number", "text", "text", "list", "odd", "nested"))
        if kind == "number":
            return chance.choice(NUMBERS)
        if kind == "text":
            return chance.choice(TEXTS).replace("{trap}", trap)
        if kind == "list":
            return [chance.choice(NUMBERS)] * chance.choice((1, 4, 5, 65, 1000))
        if kind == "odd":
            return chance.choice(ODD)
        return {"model_type": chance.choice(("timm_backbone", "swin", "resnet", "llama", "detr")),
                chance.choice(FIELDS): chance.choice(TEXTS).replace("{trap}", trap)}  # fmt: skip

    where: list[tuple[Any, Any]] = list(places(inside))
    if chance.random() < 0.3 or not where:
        inside[chance.choice(FIELDS)] = value()
        return
    holder, key = chance.choice(where)
    holder[key] = value()
