"""`segzoo.evaluate`, and what it returns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from segzoo.inference.evaluation import evaluate_weights
from segzoo.inference.keywords import InferenceSettings, takes_settings
from segzoo.inference.segmenter import Segmenter
from segzoo.inference.settings import Inference, with_settings
from segzoo.words import named


class Evaluation(dict[str, Any]):
    """Scores of a model on a split: what ``segzoo evaluate --json`` prints, as a dict.

    The entries that are nearly always wanted are attributes, too. `scores` are those of all
    pictures by name, `intervals` their 95 % confidence intervals, `worst` the scores of the worst
    pictures by `worst_by`, each with its name, `unscored` the pictures without a scored pixel.
    """

    @property
    def scores(self) -> dict[str, float]:
        """The scores by name, such as ``mean_iou`` and ``iou/person``."""
        return self["scores"]

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each score that has one."""
        return self["intervals"]

    @property
    def worst(self) -> list[dict[str, Any]]:
        """The scores of the worst pictures, the worst one first."""
        return self["worst"]

    @property
    def unscored(self) -> list[str]:
        """The names of pictures in which no pixel counts."""
        return self["unscored"]

    @property
    def pictures(self) -> int | None:
        """How many pictures were scored; None of a stream, which does not say."""
        return self["pictures"]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dict(self)

    def __repr__(self) -> str:
        scores = named([f"{name} {value:.4f}" for name, value in self.scores.items()])
        return (
            f"Evaluation({self['model']} on {self['data']}, {self['split']}: "
            f"{self.pictures} pictures, {scores})"
        )


@takes_settings(InferenceSettings, Inference)
def evaluate(
    weights: str | Path | Segmenter,
    *,
    data: str | None = None,
    root: str | Path | None = None,
    split: str | None = None,
    data_options: Mapping[str, Any] | None = None,
    sample: bool = False,
    full_size: bool = False,
    metrics: str = "",
    worst: int = 5,
    per_picture: str | Path | None = None,
    confusion: bool = False,
    device: str = "auto",
    precision: str = "auto",
    **settings: Unpack[InferenceSettings],
) -> Evaluation:
    """Score a model on a split of a data set; what `segzoo evaluate` runs.

    `weights` is a weights file, the folder of a run, or what `segzoo.load` returned. By default
    the data set, its root, its options and the size are those of the training, and `split` is
    `test`, or where the data set has none `val`. `metrics` are
    further ones, comma separated. With `full_size`, with windows and with the size "full" pictures
    are scored at their own size, against the untouched masks. The scores of the `worst` pictures
    are listed, those of all written to `per_picture`, a .csv or .json file; with `confusion` the
    entry `confusion` counts pixels by true and predicted class. `settings` say how pictures go
    through the network, as for `predict`. Raises SegzooError for whatever a user can mend, so
    where the data set's classes are not the model's.
    """
    return Evaluation(
        evaluate_weights(
            weights,
            data=data,
            root=None if root is None else str(root),
            split=split,
            options=data_options,
            sample=sample,
            how=with_settings(None, settings),
            full_size=full_size,
            metrics=metrics,
            worst=worst,
            per_picture=None if per_picture is None else Path(per_picture),
            confusion=confusion,
            device=device,
            precision=precision,
        )
    )
