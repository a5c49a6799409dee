"""Before the first step: whether what is to be saved can be read, and gone on with."""

import json
import warnings
from typing import Any

from segzoo.compute.process_state import unchanged_process
from segzoo.compute.randomness import kept_random
from segzoo.errors import SegzooError
from segzoo.model.building import outlined
from segzoo.model.description import description_fault
from segzoo.model.network import SegmentationModel, create_model, saved_options
from segzoo.model.tensors import Header, tensors_fault
from segzoo.plugins.isolation import one_line
from segzoo.train.best_weights import described
from segzoo.train.recovery.optimizer_state import packed
from segzoo.train.run import Run


def rehearse(run: Run) -> None:
    """Raise SegzooError, naming the plugin, for what could not be saved, read or gone on with.

    Nothing is written and nothing in the run changes. It takes as long as building the network
    without memory, a fraction of a second.
    """
    model = run.model
    with kept_random(run.device), unchanged_process():
        fault = _weights_fault(run) or _state_fault(run) or _reading_fault(run.deployed)
    if fault:
        raise SegzooError(
            f"{model.entry.owner} could be trained, but not kept: {fault}",
            f"its state dict and options are the network's: tell the authors of "
            f"`{model.entry.distribution}`; nothing has been trained yet",
        )


def _weights_fault(run: Run) -> str:
    """Say what keeps the weights file from being written as one that can be read, or ""."""
    try:
        values = described(run, {}).as_dict()
        return (
            tensors_fault(run.model.network.state_dict())
            or description_fault(values)
            or description_fault(json.loads(json.dumps(values)))
        )
    except SegzooError:
        raise
    except Exception as error:
        return one_line(error)[:300]


def _state_fault(run: Run) -> str:
    """Say what keeps a state from being saved and loaded again, or ""."""
    if run.config.shard:
        return ""  # Its tensors are whole only when they are saved.
    try:
        state = run.model.state_dict()
        if fault := tensors_fault(state):
            return fault
        packed(run.optimizer, run.model)
        run.model.load_state_dict(state)  # Each value onto itself.
    except (Exception, SystemExit) as error:
        return f"its state dict cannot be loaded again: {one_line(error)[:300]}"
    return ""


def _reading_fault(model: SegmentationModel) -> str:
    """Say how the network, built from its saved options, would not take its weights, or ""."""
    options = saved_options(model)

    def build() -> SegmentationModel:
        return create_model(
            model.entry.identity,
            in_channels=model.in_channels,
            num_classes=model.num_classes,
            options=options,
        )

    own = model.network.state_dict()
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    header = Header({}, shapes, {}, sum(value.nbytes for value in own.values()))
    try:
        again: Any = outlined("its weights file", build, header)
    except SegzooError as error:
        return one_line(error)
    if again is None:
        return ""  # Its code needs values: it cannot be built without memory.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Copying into tensors without memory does nothing.
            again.network.load_state_dict(own)
    except Exception as error:
        reason = (str(error).splitlines()[1:2] or [one_line(error)])[0].strip()[:300]
        shown = ", ".join(f"{name}={value}" for name, value in options.items()) or "none"
        return f"built anew with its options ({shown}) it takes other tensors: {reason}"
    return ""
