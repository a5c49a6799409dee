"""`segzoo` in processes that begin with everything imported, as ranks or alone."""

import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SEGZOO = ("segzoo.cli", "segzoo.train.fit", "segzoo.inference.evaluation", "segzoo.inference.files")
SERVER.set_forkserver_preload([*SEGZOO, "torch.distributed.fsdp", "torch.distributed.tensor"])


@dataclass
class Done:
    """What the processes returned and printed: stdout of all, stderr of all."""

    returncode: int
    stdout: str
    stderr: str


class Started:
    """A process of the server's that does `work`, with arguments as those of a command."""

    def __init__(self, work: "Work", words: Sequence[str], **environment: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        told = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self.process = SERVER.Process(target=_begin, args=(work, words, told, self.folder.name))
        self.process.start()

    def done(self, seconds: float = 300) -> Done:
        """Wait for its end; return what came of it."""
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, f"it is not done after {seconds} s"
        out, err = (Path(self.folder.name, end).read_text() for end in ("out", "err"))
        self.folder.cleanup()
        return Done(abs(code), out, err)


Work = Callable[[Sequence[str]], None]


def command(words: Sequence[str], **environment: str) -> Started:
    """Start a command of segzoo in a process."""
    return Started(_segzoo, words, **environment)


def python(code: str, *words: str) -> Started:
    """Start source code in a process, as `python -c` does but for what is imported already."""
    return Started(_run_code, [code, *words])


def segzoo(words: list[str], count: int, seconds: float = 300) -> Done:
    """Run a command of segzoo in `count` processes; the return code is the largest of them.

    In the words {RANK} is the number of the process.
    """
    told = {}
    if count > 1:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            told = {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost"}
            told["MASTER_PORT"] = str(free.getsockname()[1])
    running = []
    for rank in map(str, range(count)):
        own = told and {"RANK": rank, "LOCAL_RANK": rank}
        running.append(command([word.replace("{RANK}", rank) for word in words], **told, **own))
    done = [process.done(seconds) for process in running]
    code = max(each.returncode for each in done)
    return Done(code, "".join(d.stdout for d in done), "".join(d.stderr for d in done))


def _begin(work: Work, words: Sequence[str], environment: dict[str, str], folder: str) -> None:
    import torch

    os.environ.clear()
    os.environ.update(environment)
    for descriptor, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder, end), os.O_WRONLY | os.O_CREAT), descriptor)
    torch.set_num_threads(1)
    # Processes of its own begin as they do in one from a shell, and not from a further server.
    multiprocessing.set_start_method(None, force=True)
    work(words)


def _segzoo(words: Sequence[str]) -> None:
    from segzoo.cli import main

    sys.argv = ["segzoo", *words]
    main()


def _run_code(words: Sequence[str]) -> None:
    sys.argv = ["-c", *words[1:]]
    exec(compile(words[0], "<code>", "exec"), {"__name__": "__main__"})
