"""Scoring a model on batches: its loss and its metrics."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segzoo.compute.device import InPieces, autocast, device_target
from segzoo.compute.ranks import gathered
from segzoo.data.loading.batches import Batches
from segzoo.errors import SegzooError
from segzoo.metrics.selection import MetricSet


@torch.inference_mode()
def score(
    model: nn.Module,
    batches: Batches,
    *,
    preprocess: nn.Module,
    loss: nn.Module | None,
    metrics: MetricSet,
    target: str,
    device: torch.device,
    precision: str,
    layout: torch.memory_format = torch.channels_last,
    watch: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the loss (mean over pictures) and all scores of a model in eval mode.

    The model is put into eval mode and left there. Logits are scored at the batches' own size.
    `watch` is called after each batch, and may raise.
    Several ranks score their own batches, and all return the scores of all.
    """
    model.eval()
    metrics.start()
    firsts: list[int] = []
    counts: list[int] = []
    losses: list[Tensor] = []
    no_numbers: list[tuple[Tensor, list[str]]] = []
    in_pieces = InPieces(device)

    def forward(some_BCHW: Tensor) -> Tensor:
        with autocast(device, precision):
            output: Any = model(some_BCHW.contiguous(memory_format=layout))
        return output["out"] if isinstance(output, dict) else output

    for batch, part in batches.with_parts(0):
        images_BCHW = preprocess(batch.images_BCHW.to(device, non_blocking=True))
        target_BHW = device_target(batch.target_BHW, target, device)
        logits_BKHW = in_pieces(forward, images_BCHW)
        no_numbers.append((logits_BKHW.isnan().any(), batch.keys))
        metrics.update(logits_BKHW, target_BHW, batch.keys, part.first)
        if loss is not None:
            losses.append(loss(logits_BKHW, target_BHW))
            firsts.append(part.first)
            counts.append(len(batch.keys))
        watch()
    for found, keys in no_numbers:  # At the end: asking a GPU makes the host wait.
        if bool(found):
            raise SegzooError(
                f"the network gives no numbers for one of {', '.join(keys[:8])}, in {precision}",
                "use --precision fp32; else the weights have diverged or are damaged",
            )
    scores = {} if loss is None else {"loss": _mean_loss(losses, counts, firsts)}
    return {**scores, **metrics.compute()}


def _mean_loss(losses: list[Tensor], counts: list[int], firsts: list[int]) -> float:
    """Return the mean over the pictures of all ranks' batches, added up in the pictures' order."""
    own = torch.tensor([firsts, counts], dtype=torch.float64).reshape(2, -1)
    losses_N = torch.stack(losses).cpu().double() if losses else own.new_zeros(0)
    rows_N3 = torch.cat(gathered(torch.cat([own, losses_N[None]]).T))
    _, counts_N, losses_N = rows_N3[rows_N3[:, 0].argsort()].T
    return float((losses_N * counts_N).sum() / counts_N.sum())
