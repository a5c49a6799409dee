"""What segzoo-faulty provides: specs that load, of parts that break their contract."""

from dataclasses import dataclass

from segzoo import (
    CommandSpec,
    DatasetSpec,
    EncoderWeightsSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    option,
)

MODELS = (
    *("half-size", "three-channels", "two-classes", "squeezes", "batch-statistics"),
    *("always-dropout", "unused-layer", "detached", "sets-dtype", "reseeds", "stops-gradients"),
    *("hidden-state", "extra-state", "no-autocast", "storage-order", "branches-on-data"),
    *("holds-a-lock", "prints", "dict-in-eval", "needs-32", "python-random", "says-no-loss"),
    *("not-finite", "shares-state", "downloads", "softmax", "in-place", "reseeds-in-training"),
)
DATASETS = (
    *("label-too-high", "random-item", "holds-a-lambda", "shuffled", "same-key", "sizes-differ"),
    *("float64", "leaks", "random-sample", "file-not-found", "seeds-numpy", "wrong-keys"),
    *("endless", "one-split", "numpy-target", "writes-beside", "only-background", "no-sample"),
    *("names-one-file", "names-no-file", "shuffles-twice", "shuffles-anew"),
)
LOSSES = (
    *("log-of-softmax", "counts-ignored", "nan-unlabelled", "linear-dice", "detached-weight"),
    *(
        "per-pixel",
        "wrong-sign",
        "writes-target",
        "needs-ignore",
        "no-gradient",
        "means-all",
        "soft-focal",
        "remembers",
    ),
)
METRICS = (
    *("mean-of-batches", "wrong-direction", "counts-ignored", "fails-empty", "last-batch"),
    *("some-names", "called-loss", "off-by-one", "shared-counts"),
    *("sums-of-batches", "other-pictures", "one-for-all"),
)


@dataclass(frozen=True, kw_only=True)
class Doubling:
    """Options that do not stay as they were given."""

    width: int = option(4, "channels")

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", 2 * self.width)


@dataclass(frozen=True, kw_only=True)
class BeyondLimits:
    """Options whose default is outside the option's own limits."""

    width: int = option(0, "channels", minimum=1)


def segzoo_models() -> list[ModelSpec]:
    """Return a model a fault."""
    kinds = [
        ModelSpec(
            name=name, summary=name, build=f"segzoo_faulty.models:{_function(name)}", stride=8
        )
        for name in MODELS
    ]
    sound = {"summary": "a sound network", "build": "segzoo_faulty.models:sound", "stride": 8}
    return [
        *kinds,
        ModelSpec(name="sound", **sound),
        ModelSpec(name="doubling", options=Doubling, **sound),
        ModelSpec(name="beyond-limits", options=BeyondLimits, **sound),
        ModelSpec(name="stale-exception", exceptions={"export": "it once failed"}, **sound),
        ModelSpec(name="unknown-exception", exceptions={"exprot": "why"}, **sound),
        ModelSpec(name="nowhere", summary="s", build="segzoo_faulty.models:nothing"),
        ModelSpec(name="no-function", summary="s", build="segzoo_faulty.models:NUMBER"),
    ]


def segzoo_datasets() -> list[DatasetSpec]:
    """Return a data set a fault."""
    return [
        DatasetSpec(
            name=name,
            summary=name,
            build=f"segzoo_faulty.datasets:{_function(name)}",
            classes=("ground", "thing"),
            sample={
                "no-sample": "",
                "random-sample": "segzoo_faulty.datasets:write_random",
                "writes-beside": "segzoo_faulty.datasets:write_beside",
            }.get(name, "segzoo_faulty.datasets:write_sample"),
        )
        for name in (*DATASETS, "sound-data")
    ]


def segzoo_losses() -> list[LossSpec]:
    """Return a loss a fault."""
    return [
        LossSpec(
            name=name,
            summary=name,
            build=f"segzoo_faulty.scores:{_function(name)}",
            targets="alpha" if name in ("linear-dice", "soft-focal") else "labels",
        )
        for name in LOSSES
    ]


def segzoo_metrics() -> list[MetricSpec]:
    """Return a metric a fault."""
    return [
        MetricSpec(
            name=f"m-{name}",
            summary=name,
            build=f"segzoo_faulty.scores:{_function(name)}_metric",
            higher_is_better=name != "wrong-direction",
        )
        for name in METRICS
    ]


def segzoo_encoder_weights() -> list[EncoderWeightsSpec]:
    """Return whole weights, weights that fit no network, and weights of another scale."""
    half = (0.5, 0.5, 0.5)
    load = "segzoo_faulty.others:load"
    return [
        EncoderWeightsSpec(encoder="resnet10t", tag="short", load=load, mean=half, std=half),
        EncoderWeightsSpec(encoder="resnet10x", tag="none", load=load, mean=half, std=half),
        EncoderWeightsSpec(
            encoder="resnet10t", tag="bytes", load=load, mean=(127.5,) * 3, std=(127.5,) * 3
        ),
        EncoderWeightsSpec(
            encoder="resnet10t", tag="whole", load="segzoo_faulty.others:whole", mean=half, std=half
        ),
        EncoderWeightsSpec(
            encoder="resnet10t", tag="drawn", load="segzoo_faulty.others:draw", mean=half, std=half
        ),
    ]


def segzoo_commands() -> list[CommandSpec]:
    """Return a sound command, some that break their contract, and one with the core's name."""
    return [
        CommandSpec(name="undocumented", summary="s", target="segzoo_faulty.others:undocumented"),
        CommandSpec(name="untyped", summary="s", target="segzoo_faulty.others:untyped"),
        CommandSpec(name="count", summary="Count.", target="segzoo_faulty.others:count"),
        CommandSpec(name="train", summary="s", target="segzoo_faulty.others:undocumented"),
    ]


def _function(name: str) -> str:
    return name.replace("-", "_")
