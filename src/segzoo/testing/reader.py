"""A second process without network that rebuilds models from weights files, for `round_trip`.

It is started once and reads file after file, because importing torch takes longer than the rest.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from segzoo.model.description import WeightsInfo
from segzoo.model.network import SegmentationModel, model_record
from segzoo.model.pixels import normalization
from segzoo.model.weights import load_model, save_weights
from segzoo.testing.base import ConformanceError

_readers: dict[str, "subprocess.Popen[str]"] = {}


def logits_of_new_process(model: SegmentationModel, images_BCHW: Tensor) -> Tensor:
    """Save a model, load the file in another process, and return its logits_BKHW there.

    Raises ConformanceError with the reason where that process could not build or run it.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_weights(folder / "weights.safetensors", model, _describe(model))
        save_file({"images": images_BCHW}, folder / "images.safetensors")
        answer = _ask({"folder": str(folder), "threads": torch.get_num_threads()})
        if answer:
            raise ConformanceError(answer)
        return load_file(folder / "logits.safetensors")["logits"]


def _describe(model: SegmentationModel) -> WeightsInfo:
    mean, std = normalization("half", model.in_channels)
    return WeightsInfo(
        model=model_record(model),
        classes=tuple(f"class_{index}" for index in range(model.num_classes)),
        palette=tuple((index, index, index) for index in range(model.num_classes)),
        target="labels",
        ignore_index=255,
        threshold=None,
        value_range=(0.0, 255.0),
        mean=mean,
        std=std,
        size=(64, 64),
        data={"identity": "segzoo/folder", "version": "0", "options": {}, "fingerprint": ""},
    )


def _ask(question: dict[str, Any]) -> str:
    path = os.environ.get("PYTHONPATH", "")
    reader = _readers.get(path)
    if reader is None or reader.poll() is not None:
        reader = subprocess.Popen(
            [sys.executable, "-c", "from segzoo.testing.reader import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        _readers[path] = reader
        atexit.register(reader.kill)
    assert reader.stdin is not None and reader.stdout is not None
    try:
        reader.stdin.write(json.dumps(question) + "\n")
        reader.stdin.flush()
        line = reader.stdout.readline()
    except BrokenPipeError:
        line = ""
    if not line:
        return f"the process that loads it ended with status {reader.wait()}"
    return json.loads(line)["error"]


def serve() -> None:
    """Answer questions on stdin until it is closed; what a plugin prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    _cut_network()
    for line in sys.stdin:
        question = json.loads(line)
        try:
            _load_and_run(Path(question["folder"]), question["threads"])
            error = ""
        except BaseException as fault:
            error = f"{type(fault).__name__}: {fault}"
        print(json.dumps({"error": error}), file=answers, flush=True)


def _load_and_run(folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    model, _ = load_model(folder / "weights.safetensors")
    images_BCHW = load_file(folder / "images.safetensors")["images"]
    with torch.inference_mode():
        logits_BKHW = model(images_BCHW)
    save_file({"logits": logits_BKHW.contiguous()}, folder / "logits.safetensors")


def _cut_network() -> None:
    import socket

    def refuse(*_: Any) -> Any:
        raise OSError("loading a weights file must not use the network")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.getaddrinfo = refuse
