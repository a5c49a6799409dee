"""Imports the heavy libraries and computes on the device, for `segzoo doctor`, in a new process.

``python -m segzoo.devtools.probe torch timm`` prints one line of JSON at the end of its output.
"""

import importlib
import json
import sys
import time
from typing import Any


def import_all(names: list[str]) -> dict[str, tuple[str, float, str]]:
    """Import each module: name -> (version, seconds, what went wrong; `absent` if not installed).

    One that imports another includes its time only where that one was not imported before.
    """
    found = {}
    for name in names:
        start = time.perf_counter()
        try:
            module = importlib.import_module(name)
            version, error = str(getattr(module, "__version__", "?")), ""
        except ModuleNotFoundError as fault:
            version, error = "", "absent" if fault.name == name else str(fault)
        except BaseException as fault:
            version, error = "", f"{type(fault).__name__}: {fault}"
        found[name] = (version, time.perf_counter() - start, error)
    return found


def try_device() -> dict[str, Any]:
    """Run torchvision's compiled code, and a convolution forward and backward on the device."""
    try:
        import torch
        import torchvision

        from segzoo.compute.device import pick_device, pick_precision

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
        device = pick_device("auto")
        layer = torch.nn.Conv2d(3, 4, 3).to(device)
        layer(torch.ones(1, 3, 8, 8, device=device)).sum().backward()
        cuda = device.type == "cuda"
        return {
            "name": torch.cuda.get_device_name(device) if cuda else device.type,
            "precision": pick_precision("auto", device),
            "cuda": torch.version.cuda,
            "threads": torch.get_num_threads(),
            "available": torch.cuda.is_available(),
        }
    except BaseException as fault:
        return {"error": f"{type(fault).__name__}: {fault}"}


if __name__ == "__main__":
    imports = import_all(sys.argv[1:])
    print("\n" + json.dumps({"imports": imports, "device": try_device()}))
