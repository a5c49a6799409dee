"""One optimizer step: its batches through the network and back, and the weights changed once.

Shapes: B batch, C channels, K classes, H height, W width.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.compute.device import autocast, device_target, memory_format
from segzoo.compute.ranks import one_batch, own_share
from segzoo.compute.sharding import local
from segzoo.data.loading.batches import Part
from segzoo.data.sample import Batch
from segzoo.errors import SegzooError
from segzoo.host.memory import asked, is_out_of_memory, smaller_size
from segzoo.train.augment import Draws, augmented
from segzoo.train.recovery.finite import FiniteWatch
from segzoo.train.recovery.stopping import Wish
from segzoo.train.recovery.undo import Undo
from segzoo.train.run import Run

log = logging.getLogger("segzoo")

Group = list[tuple[Batch, Part]]
"""The batches of one optimizer step, each with its place in the epoch."""


def take_step(run: Run, group: Group, watch: FiniteWatch, undo: Undo, wish: Wish) -> None:
    """Take an optimizer step, and count its pictures in the epoch's loss and scores.

    Where the device's memory does not suffice for a batch, it goes through in twice as many pieces
    from then on, whose gradients add up to the batch's; norms see a piece at a time. A step that
    `undo` remembers the beginning of can be left, by an error or as `wish` has it, until the
    weights change.
    """
    watch.begin(run.step + 1, [key for batch, _ in group for key in batch.keys])
    with wish.interruptible() if undo.possible else contextlib.nullcontext():
        add_gradients(run, group, watch)
    change_weights(run, watch, undo)
    run.partial.batches += len(group)
    run.partial.pictures = run.images_done
    undo.finished()


def add_gradients(run: Run, group: Group, watch: FiniteWatch) -> None:
    """Take the batches of a step forward and back, in as many pieces as memory asks for."""
    random = run.partial.random
    assert random is not None
    drawn, counted = random.get_state(), 0
    while True:
        try:
            for index, one in enumerate(weighed(group)):
                backward(run, one, watch, count=index >= counted)
                counted = max(counted, index + 1)
            break
        except RuntimeError as error:  # A CPU has no error of its own for it.
            if not is_out_of_memory(error):
                raise
            _take_smaller_pieces(run, group, error)
            random.set_state(drawn)


def weighed(group: Group) -> Iterator[tuple[Batch, Part, bool, float]]:
    """Yield (batch, its place, whether it is the last one, its share of the step's loss).

    Batches weigh by their pictures, so that each picture counts 1.
    """
    pictures = sum(place.total for _, place in group)
    for index, (batch, place) in enumerate(group):
        yield batch, place, index == len(group) - 1, place.total / pictures


def backward(
    run: Run, one: tuple[Batch, Part, bool, float], watch: FiniteWatch, *, count: bool
) -> None:
    """Take a batch forward and back, in `run.pieces`; `count` it in the epoch's loss and scores."""
    batch, place, is_last, share = one
    config, part = run.config, run.partial
    assert part.random is not None
    assert part.loss is not None
    layout = memory_format(config.channels_last)
    images_BCHW = run.preprocess(batch.images_BCHW.to(run.device, non_blocking=True))
    target_BHW = device_target(batch.target_BHW, run.info.target, run.device)
    draws = Draws(part.random, place.first, place.total)
    images_BCHW, target_BHW = augmented(config.augment, images_BCHW, target_BHW, draws)
    pieces = min(run.pieces, len(images_BCHW))
    pairs = zip(images_BCHW.chunk(pieces), target_BHW.chunk(pieces), strict=True)
    with one_batch(len(batch.keys) / place.total), together(run, is_last):
        for piece_BCHW, truth_BHW in pairs:
            weight = len(piece_BCHW) / len(images_BCHW)
            with autocast(run.device, run.precision), batch_norm_error():
                output = run.forward(piece_BCHW.contiguous(memory_format=layout), truth_BHW)
            loss, logits_BKHW = loss_of(output, truth_BHW, run.loss, config.aux_weight)
            run.scaler.scale(loss * (share * weight)).backward()
            watch.note(loss, run.step + 1)
            if count:
                run.metrics.update(logits_BKHW.detach(), truth_BHW)
                counts = place.total * weight
                part.loss = part.loss + loss.detach().nan_to_num(0, 0, 0) * counts
    if count:
        run.images_done += place.total


def change_weights(run: Run, watch: FiniteWatch, undo: Undo) -> None:
    """Let the optimizer use the gradients that have been added up, if they are finite."""
    if run.config.clip_grad > 0:
        run.scaler.unscale_(run.optimizer)
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), run.config.clip_grad)
    else:
        gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
    if not run.scaler.is_enabled():  # It leaves steps out by itself.
        watch.note(local(norm), run.step + 1)
    if watch.to_be_skipped(run.step + 1):
        run.skipped.append(watch.skipped[-1])
        undo.statistics()
        undo.change()
    else:
        undo.change()
        run.scaler.step(run.optimizer)
        run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    if run.steps_per_epoch:
        run.schedule.step()
    run.step += 1
    if run.average:
        run.average.update(run.model)


def _take_smaller_pieces(run: Run, group: Group, error: BaseException) -> None:
    largest = max(len(batch.keys) for batch, _ in group)
    if run.ranks.count > 1 or run.pieces >= largest:
        size = f"{run.config.size[0]}x{run.config.size[1]}"
        what = "one picture" if run.ranks.count == 1 else f"{largest} pictures a process"
        raise SegzooError(
            f"{run.device} is out of memory with {what} of {size} at once{asked(error)}",
            f"give a smaller --size, {smaller_size(run.config.size, error)} may fit, or a smaller "
            "network, --precision bf16, or of several processes a smaller --batch-size with "
            "--accumulate",
        ) from error
    run.pieces *= 2
    log.warning(
        "%s is out of memory with a batch of %d: going on with it in %d pieces, whose gradients "
        "are added up; batch norms see a piece at a time",
        *(run.device, largest, min(run.pieces, largest)),
    )
    run.optimizer.zero_grad(set_to_none=True)
    if run.device.type == "cuda":
        torch.cuda.empty_cache()


def together(run: Run, is_last_of_step: bool) -> contextlib.AbstractContextManager[None]:
    """Let ranks average their gradients in the last backward pass of a step alone."""
    if run.ranks.count > 1 and run.config.shard:
        run.model.set_requires_gradient_sync(is_last_of_step)  # type: ignore[operator]
        return contextlib.nullcontext()
    if run.ranks.count == 1 or is_last_of_step:
        return contextlib.nullcontext()
    return run.forward.no_sync()  # type: ignore[operator]


def loss_of(
    output: Any, target_BHW: Tensor, loss: nn.Module, aux_weight: float
) -> tuple[Tensor, Tensor]:
    """Return (scalar loss, logits_BKHW) of a model's training output, a tensor or a dict."""
    if not isinstance(output, dict):
        return loss(output, target_BHW), output
    if "loss" in output:
        return own_share() * output["loss"], output["out"]
    value = loss(output["out"], target_BHW)
    if "aux" in output:
        value = value + aux_weight * loss(output["aux"], target_BHW)
    return value, output["out"]


@contextlib.contextmanager
def batch_norm_error() -> Iterator[None]:
    """Explain torch's complaint about a batch norm that sees a single value per channel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SegzooError(
            "a batch norm sees one value per channel: a batch of one picture, and a size that is "
            "the network's stride",
            "use a larger --size, or a --batch-size that leaves no batch of one",
        ) from error
