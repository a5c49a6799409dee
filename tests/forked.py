"""`segzoo` in processes that begin with everything imported, as ranks or alone."""

import multiprocessing
import os
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SEGZOO = ("segzoo.cli", "segzoo.train.fit", "segzoo.evaluation", "segzoo.predict_files")
SERVER.set_forkserver_preload([*SEGZOO, "torch.distributed.fsdp", "torch.distributed.tensor"])


@dataclass
class Done:
    """What the processes returned and printed: stdout of all, stderr of all."""

    returncode: int
    stdout: str
    stderr: str


def segzoo(words: list[str], count: int, seconds: float = 300) -> Done:
    """Run a command of segzoo in `count` processes; the return code is the largest of them.

    In the words {RANK} is the number of the process.
    """
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("localhost", 0))
        told = {"OMP_NUM_THREADS": "1"}
        if count > 1:
            told |= {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost"}
            told |= {"MASTER_PORT": str(free.getsockname()[1])}
        free.close()
        paths = [Path(folder, str(rank)) for rank in range(count)]
        running = [
            SERVER.Process(target=_one, args=(words, {**os.environ, **told}, rank, str(path)))
            for rank, path in enumerate(paths)
        ]
        for process in running:
            process.start()
        for process in running:
            process.join(seconds)
            assert process.exitcode is not None, f"{words} is not done after {seconds} s"
        out, err = (
            "".join(Path(f"{p}.{end}").read_text() for p in paths) for end in ("out", "err")
        )
        return Done(max(abs(process.exitcode or 0) for process in running), out, err)


def _one(words: list[str], environment: dict[str, str], rank: int, path: str) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    if "WORLD_SIZE" in environment:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    for descriptor, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{path}.{end}", os.O_WRONLY | os.O_CREAT), descriptor)
    torch.set_num_threads(1)
    from segzoo.cli import main

    sys.argv = ["segzoo", *(word.replace("{RANK}", str(rank)) for word in words)]
    main()
