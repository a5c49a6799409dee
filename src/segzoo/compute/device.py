"""Choosing the device and the precision, and doing with the memory that it has."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from segzoo.compute.ranks import asked_for
from segzoo.errors import SegzooError
from segzoo.host.memory import asked, is_out_of_memory, smaller_size

log = logging.getLogger("segzoo")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """Return the device for ``auto`` (cuda, mps, then cpu) or a name such as ``cuda:1``.

    Of several ranks on a machine each has a GPU of its own: ``auto`` and ``cuda`` are that one.
    Raises SegzooError for a device that this machine or this torch does not have.
    """
    if name == "auto" and not torch.cuda.is_available():
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name in ("auto", "cuda"):
        ranks = asked_for()
        name = "cuda" if ranks.count == 1 else f"cuda:{ranks.local}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SegzooError(
            f"device `{name}` is unknown", "use auto, cpu, cuda, cuda:1 or mps"
        ) from (error)
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= count:
        raise SegzooError(
            f"device `{name}`: torch sees {count} {device.type} devices here",
            "use --device auto or cpu",
        )
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """Return fp32, bf16 or fp16; ``auto`` is bf16 where the device computes it fast, else fp32.

    Fast are CUDA from Ampere (8.0) on, and CPUs with AVX512-BF16 or AMX; elsewhere a CPU emulates
    bf16 and is slower with it than with fp32.
    """
    if name == "fp16" and device.type == "cpu":
        raise SegzooError("precision fp16 is not for the CPU", "use --precision bf16 or fp32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "fp32"


def _cpu_has_bf16() -> bool:
    # torch has no public question for this; the private ones come and go between releases.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    checks = [getattr(torch.cpu, name, None) for name in names]
    return any(check() for check in checks if check is not None)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the autocast context of a precision, which does nothing for fp32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")  # type: ignore[return-value]


class InPieces:
    """Puts batches through a network whose outputs do not depend on the batch, in as many pieces
    as the device's memory asks for.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.pieces = device, 1

    def __call__(self, forward: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> Tensor:
        """Return what `forward` makes of the images. Raises SegzooError where one is too much."""
        while True:
            try:
                if self.pieces == 1:
                    return forward(images_BCHW)
                return torch.cat([forward(some) for some in images_BCHW.chunk(self.pieces)])
            except (RuntimeError, MemoryError) as error:  # A CPU has no error of its own for it.
                if not is_out_of_memory(error):
                    raise
                if self.pieces >= len(images_BCHW):
                    height, width = images_BCHW.shape[-2:]
                    other = "" if self.device.type == "cpu" else ", or --device cpu"
                    raise SegzooError(
                        f"{self.device} is out of memory with one picture of {height}x{width} at "
                        f"once{asked(error)}",
                        f"give a smaller --size, {smaller_size((height, width), error)} may fit, "
                        f"or a --window{other}",
                    ) from error
            self.pieces *= 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            log.warning("%s is out of memory: batches go through in pieces", self.device)


def device_target(target_BHW: Tensor, kind: str, device: torch.device) -> Tensor:
    """Bring a stored target to the device: labels as int64, alpha 0..255 as float32 0..1."""
    target_BHW = target_BHW.to(device, non_blocking=True)
    return target_BHW.float() / 255 if kind == "alpha" else target_BHW.long()


def memory_format(channels_last: bool) -> torch.memory_format:
    """Return torch's name for the layout."""
    return torch.channels_last if channels_last else torch.contiguous_format
