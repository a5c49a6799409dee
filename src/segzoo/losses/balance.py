"""Class weights counted in the training pictures: `weight=median` becomes `weight=0.21:1.9:6.4`.

The core writes the numbers into the run's `loss` before the loss is built, so that a builder gets
numbers alone, config.toml holds them, and a resumed run has the same ones without counting again.
N pictures, K classes, B batch, H height, W width.
"""

import logging
import math
from collections.abc import Iterable
from statistics import median

import torch
from torch import Tensor

from segzoo.compute.ranks import gathered
from segzoo.data.loading.batches import Batches
from segzoo.data.sample import DataInfo
from segzoo.errors import SegzooError
from segzoo.losses.plugin import COUNTED_WEIGHTS, ClassWeightOptions
from segzoo.plugins.manager import get_registry
from segzoo.plugins.terms import Term, parse_terms, write_terms

log = logging.getLogger("segzoo")


def with_counted_weights(expression: str, train: Batches) -> str:
    """Return a loss expression with numbers where it says `weight=auto`, `median` or `enet`.

    Only then are the training pictures counted, as they are trained on but for augmentation: one
    pass, which also fills the cache. Anything else comes back unchanged. Raises SegzooError for
    an expression or loss that make_loss refuses too, and for a stream, which may have no end.
    """
    info = train.info
    terms = parse_terms(expression, "+", "loss")
    asking = [term for term in terms if _asks(term, info.target)]
    if not asking:
        return expression
    if train.stream:
        raise SegzooError(
            f"--loss: weight={asking[0].options['weight']}: {info.identity} is a stream, whose "
            "pixels cannot be counted beforehand",
            "give a number for each class; `segzoo data stats` prints their shares",
        )
    own_NK = pixel_counts((batch.target_BHW for batch in train.epoch(0)), info)
    counts_NK = torch.cat(gathered(own_NK))
    for term in asking:
        weights = class_weights(term.options["weight"], counts_NK)
        term.options["weight"] = ":".join(f"{weight:.4g}" for weight in weights)
    resolved = write_terms(terms)
    log.info("class weights counted in %d pictures: --loss '%s'", len(counts_NK), resolved)
    return resolved


def pixel_counts(targets: Iterable[Tensor], info: DataInfo) -> Tensor:
    """Return counts_NK (float64): each picture's pixels of each class, ignored ones left out.

    `targets` are target_BHW as Batches has them: labels, or alpha 0..255, of which a pixel counts
    alpha for the foreground and 1 - alpha for the background.
    """
    count = _alpha_counts if info.target == "alpha" else _label_counts
    return torch.cat([count(target_BHW, info) for target_BHW in targets])


def class_weights(formula: str, counts_NK: Tensor) -> list[float]:
    """Return a weight for each class, 1 for a class that no picture has.

    median (and auto): median(f) / f_k, where f_k is the share of class k in the pictures that have
    it, and the median is over the classes there are. Eigen and Fergus, "Predicting Depth, Surface
    Normals and Semantic Labels", ICCV 2015, https://arxiv.org/abs/1411.4734; as in
    SegNet on CamVid.
    enet: 1 / ln(1.02 + p_k), where p_k is the share of class k in all pictures; between 1.4 and
    50. Paszke et al., "ENet", 2016, https://arxiv.org/abs/1606.02147.
    Raises SegzooError where no pixel has a class.
    """
    total_K = counts_NK.sum(0)
    if not total_K.any():
        raise SegzooError(
            f"--loss: weight={formula}: no pixel of the training pictures has a class",
            "check the masks with `segzoo data check`",
        )
    among_K = total_K.sum()
    if formula != "enet":
        among_K = (counts_NK.sum(1, keepdim=True) * (counts_NK > 0)).sum(0)
    shares = (total_K / among_K).tolist()
    present = [share for share in shares if share > 0]
    if formula == "enet":
        return [1 / math.log(1.02 + share) if share > 0 else 1.0 for share in shares]
    return [median(present) / share if share > 0 else 1.0 for share in shares]


def _asks(term: Term, target: str) -> bool:
    options = get_registry().get_for(target, "losses", term.name).spec.options
    weighs = options is not None and issubclass(options, ClassWeightOptions)
    return weighs and term.options.get("weight") in COUNTED_WEIGHTS


def _label_counts(labels_BHW: Tensor, info: DataInfo) -> Tensor:
    """Count with one bincount: a picture's classes are numbered after the picture before it."""
    ids_BHW, places = labels_BHW.long(), len(info.classes) + 1
    if info.ignore_index is not None:
        ids_BHW = ids_BHW.where(ids_BHW != info.ignore_index, len(info.classes))
    first_B = places * torch.arange(len(ids_BHW))
    flat = (ids_BHW + first_B[:, None, None]).flatten()
    return flat.bincount(minlength=places * len(ids_BHW)).view(-1, places)[:, :-1].double()


def _alpha_counts(alpha_BHW: Tensor, info: DataInfo) -> Tensor:
    foreground_B = alpha_BHW.double().sum((1, 2)) / 255
    return torch.stack([alpha_BHW[0].numel() - foreground_B, foreground_B], dim=1)
