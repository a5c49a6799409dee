"""Building the model that a file names, within bounds of its own size.

A file may ask for any width, depth and number of blocks. So a model is first built without memory,
its shapes are compared with the file's, and both times what building takes is bounded: how many
tensors are made, of how many bytes, and for how long.
"""

import ctypes
import math
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segzoo.errors import SegzooError
from segzoo.model.network import SegmentationModel
from segzoo.model.offline import RefusedError, importing, sealed
from segzoo.model.tensors import Header

LEAST_SECONDS, MOST_SECONDS, SECONDS_A_TENSOR = 4.0, 30.0, 0.01
"""Of its thread's processor time that building may take without memory, by the file's tensors. A
SegFormer-B5 of 1172 takes 0.8, and smp's FPN on a MaxViT of 1224, which is tried at many sizes, 8.
"""
BYTES_A_SECOND = 20e6
"""How fast tensors are drawn at least, for networks that are built with memory."""
_TICK = 0.1


def build_for(source: str, build: Callable[[], SegmentationModel], header: Header) -> Any:
    """Return the model that `build` makes for the file `source`, with its memory.

    Raises TooMuchError where that takes far more than the file's tensors, and RefusedError for
    what `sealed` refuses.
    """
    bounded = BoundedMemory(source, header.bytes, len(header.shapes))

    def built() -> SegmentationModel:
        with sealed(source), bounded:
            return build()

    return _told(
        bounded, lambda: within(source, _seconds(header) + header.bytes / BYTES_A_SECOND, built)
    )


def outlined(
    source: str, build: Callable[[], SegmentationModel], header: Header
) -> SegmentationModel | None:
    """Build a model whose tensors have shapes and no memory; None where its code needs values."""
    bounded = BoundedMemory(source, header.bytes, len(header.shapes), memory=False)

    def built() -> SegmentationModel:
        with sealed(source), torch.device("meta"), warnings.catch_warnings(), bounded:
            warnings.simplefilter("ignore")  # Networks that fill tensors are told that it is vain.
            return build()

    try:
        return _told(bounded, lambda: within(source, _seconds(header), built))
    except (RefusedError, TooMuchError):
        raise
    except Exception:
        return None  # If something is wrong with the network, building it says so.


def _seconds(header: Header) -> float:
    return min(MOST_SECONDS, LEAST_SECONDS + SECONDS_A_TENSOR * len(header.shapes))


def _told(bounded: "BoundedMemory", call: Callable[[], Any]) -> Any:
    """Call, and tell of a bound that was met whatever a library made of it."""
    try:
        return call()
    except Exception as error:
        if bounded.met is None or error is bounded.met:
            raise
        raise bounded.met from error


class TooMuchError(SegzooError):
    """A model that a file names takes more to build than a model of the file's tensors does."""


class BoundedMemory(TorchDispatchMode):
    """Refuses tensors that are many more, or much larger, than what a file holds: TooMuchError.

    What is made anew is counted, not what operations return. Without `memory` bytes are not:
    tensors on the device `meta` have none, and their shapes are compared afterwards.
    """

    SPARE = 256 << 20  # bytes, for what a network tries or makes besides its weights
    EACH, SPARE_TENSORS = 10, 2000  # The most was 3.4 for each: encoders are built several times.

    def __init__(
        self, source: str, size: int, tensors: int | None = None, *, memory: bool = True
    ) -> None:
        super().__init__()
        self.source, self.memory = source, memory
        self.left = 4 * size + self.SPARE
        self.tensors_left = math.inf if tensors is None else self.EACH * tensors
        self.tensors_left += self.SPARE_TENSORS
        self.met: TooMuchError | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        count = _made(func, args)
        if count is not None:
            self.tensors_left -= 1
            counts = self.memory or not _is_meta(kwargs)
            self.left -= 4 * count if counts else 0
            if self.tensors_left < 0:
                raise self._too("it makes far more tensors than the file has")
            if self.left < 0:
                what = list(args[0]) if isinstance(args[0], (list, tuple)) else [count]
                raise self._too(f"it makes a tensor {what}, the file's are far smaller")
        return func(*args, **(kwargs or {}))

    def _too(self, what: str) -> TooMuchError:
        self.met = TooMuchError(f"{self.source}: its model cannot be built: {what}", DAMAGED)
        return self.met


DAMAGED = "the file is damaged, or of another version of the model's package"
_COUNTED: dict[str, Callable[..., float]] = {
    "arange": lambda first, last=None, step=1, *_: abs((last or 0) - first) / (abs(step) or 1),
    "linspace": lambda first, last, steps=100, *_: steps,
    "logspace": lambda first, last, steps=100, *_: steps,
    "randperm": lambda count, *_: count,
    "eye": lambda rows, columns=None, *_: rows * (rows if columns is None else columns),
}
"""How many elements the makers give that are not told a shape, by their numbers."""


def _made(func: Any, args: Any) -> int | None:
    """Return how many elements a call makes anew; None where it makes no tensor."""
    if args and isinstance(args[0], (list, tuple)) and all(type(v) is int for v in args[0]):
        return math.prod(args[0])
    name = str(getattr(func, "overloadpacket", "")).rpartition(".")[2]
    if name not in _COUNTED:
        return None
    numbers = [value for value in args if isinstance(value, (int, float))]
    return int(_COUNTED[name](*numbers))


def _is_meta(kwargs: dict[str, Any] | None) -> bool:
    device = (kwargs or {}).get("device")
    return device is None or torch.device(device).type == "meta"


class _OutOfTimeError(BaseException):
    """Ends what runs in a thread; no Exception, which code is free to catch."""


def within(source: str, seconds: float, call: Callable[[], Any]) -> Any:
    """Call, and raise TooMuchError where it takes this thread more seconds of processor time.

    Imports do not count. Python code is ended at its next step, a call into C when it returns.
    """
    ending, lock = threading.Event(), threading.Lock()
    thread = threading.get_ident()
    arguments = (thread, _clock(thread), seconds, ending, lock)
    threading.Thread(target=_watch, args=arguments, name="segzoo-building", daemon=True).start()
    try:
        try:
            return call()
        finally:
            _end(thread, ending, lock)
    except _OutOfTimeError:
        raise TooMuchError(
            f"{source}: its model cannot be built: it takes longer than {seconds:.0f} s", DAMAGED
        ) from None


def _end(thread: int, ending: threading.Event, lock: threading.Lock) -> None:
    """Let nothing more be sent to this thread, also where it comes while this is being done."""
    while True:
        try:
            with lock:
                ending.set()
            _send(thread, None)
            return
        except _OutOfTimeError:
            continue


def _watch(
    thread: int,
    clock: Callable[[], float],
    seconds: float,
    ending: threading.Event,
    lock: threading.Lock,
) -> None:
    used, before = 0.0, clock()
    while not ending.wait(_TICK):
        now = clock()
        if not importing(sys._current_frames().get(thread)):  # That is the packages' own time.
            used += now - before
        before = now
        if used < seconds:
            continue
        with lock:
            if not ending.is_set():
                _send(thread, _OutOfTimeError)  # Again, for a bare `except:` takes it.


def _clock(thread: int) -> Callable[[], float]:
    """Return what tells a thread's processor time; the time of day where the system does not."""
    try:
        number = time.pthread_getcpuclockid(thread)
        time.clock_gettime(number)
    except (AttributeError, OSError):
        return time.monotonic
    return lambda: time.clock_gettime(number)


def _send(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in a thread at its next step; None takes back one that is on its way."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
