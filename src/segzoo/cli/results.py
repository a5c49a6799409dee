"""``segzoo evaluate``, ``predict``, ``inspect`` and ``compare``: what to do with weights."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from segzoo.cli.comparing import print_comparison
from segzoo.cli.console import JSON_HELP, print_json, say, working
from segzoo.cli.inspecting import print_description
from segzoo.cli.scoring import check_drawn, print_evaluation
from segzoo.cli.training import parse_pairs
from segzoo.inference.settings import AUTO, HELP, Inference, saved_kinds
from segzoo.plugins.early import check_metrics, check_split
from segzoo.words import number_of

Weights = Annotated[Path, typer.Argument(help="weights file, best.safetensors of a run")]
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Device = Annotated[str, typer.Option(help="auto (cuda, mps, then cpu), or cpu, cuda:1, mps")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16")]
Size = Annotated[str | None, typer.Option(help=HELP["size"])]
Flip = Annotated[bool, typer.Option("--flip", help=HELP["flip"])]
Scales = Annotated[str, typer.Option(help=HELP["scales"])]
Window = Annotated[str | None, typer.Option(help=HELP["window"])]
Overlap = Annotated[float, typer.Option(help=HELP["overlap"])]
Refine = Annotated[str, typer.Option(help=HELP["refine"])]
BatchSize = Annotated[int, typer.Option(min=1, help=HELP["batch_size"])]
Range = Annotated[str | None, typer.Option(help=HELP["range"])]
MaxPixels = Annotated[int | None, typer.Option(min=1, help=HELP["max_pixels"])]


def evaluate_command(
    weights: Weights,
    data: Annotated[str | None, typer.Option(help="data set; default: the one trained on")] = None,
    root: Annotated[str | None, typer.Option(help="folder of the data set")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, val or test; default: test, or val where there is no test"),
    ] = None,
    o: Annotated[list[str], typer.Option("-O", help="data option NAME=VALUE")] = [],  # noqa: B006
    sample: Annotated[bool, typer.Option("--sample", help="use the generated stand-in")] = False,
    size: Size = None,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="score at each picture's own size, as windows do")
    ] = False,
    metrics: Annotated[str, typer.Option(help="further metrics, comma separated")] = "",
    worst: Annotated[int, typer.Option(min=0, help="how many of the worst pictures to list")] = 5,
    per_picture: Annotated[
        Path | None, typer.Option(help="write the scores of every picture to this .csv or .json")
    ] = None,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="which class was taken for which")
    ] = False,
    confusion_png: Annotated[
        Path | None, typer.Option(help="draw that to this .png, .svg or .pdf")
    ] = None,
    flip: Flip = False,
    scales: Scales = "1",
    window: Window = None,
    overlap: Overlap = 0.5,
    refine: Refine = AUTO,
    batch_size: BatchSize = 8,
    max_pixels: MaxPixels = None,
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Score a model on a split of a data set."""
    # Before torch is imported, which takes seconds: a mistyped flag is told at once.
    how = Inference(
        size=size,
        flip=flip,
        scales=scales,
        window=window,
        overlap=overlap,
        refine=refine,
        batch_size=batch_size,
    )
    check_drawn(confusion_png)
    check_split(split)
    check_metrics(metrics)
    from segzoo.data.pictures.decoding import allow_pixels
    from segzoo.inference.evaluation import evaluate_weights

    allow_pixels(max_pixels)
    options = parse_pairs(o, "-O")
    # What plugins print stays out of the JSON.
    with working("starting") as shown, contextlib.redirect_stdout(sys.stderr):
        scores = evaluate_weights(
            weights,
            data=data,
            root=root or options.pop("root", None),
            split=split,
            options=options,
            sample=sample,
            how=how,
            full_size=full_size,
            metrics=metrics,
            worst=worst,
            per_picture=per_picture,
            confusion=confusion or confusion_png is not None,
            device=device,
            precision=precision,
            shown=shown,
        )
    if confusion_png is not None:
        from segzoo.report.confusion import draw_matrix

        draw_matrix(scores["confusion"]["counts"], scores["classes"], confusion_png)
    if json:
        print_json(scores)
        return
    print_evaluation(scores)


def predict_command(
    weights: Weights,
    pictures: Annotated[list[Path], typer.Argument(help="pictures, or folders of pictures")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="folder to write to; default: a new one, runs/predict, runs/predict-2, ...",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="replace files that this command did not write of the same pictures, too",
        ),
    ] = False,
    save: Annotated[
        str | None,
        typer.Option(
            help="what to write, of mask, overlay, cutout, alpha, probability; default: mask and "
            "overlay, cutout where there is a background, alpha for a model of mattes"
        ),
    ] = None,
    background: Annotated[
        str | None,
        typer.Option(
            help="put the foreground before this, as NAME_background.jpg too: a colour, white, "
            "#00ff00 or 0,128,255, or a picture"
        ),
    ] = None,
    size: Size = None,
    flip: Flip = False,
    scales: Scales = "1",
    window: Window = None,
    overlap: Overlap = 0.5,
    refine: Refine = AUTO,
    batch_size: BatchSize = 8,
    range: Range = None,
    max_pixels: MaxPixels = None,
    device: Device = "auto",
    precision: Precision = "auto",
    json: AsJson = False,
) -> None:
    """Segment pictures of any size: writes masks, overlays, cut-outs, and other backgrounds."""
    how = Inference(
        size=size,
        flip=flip,
        scales=scales,
        window=window,
        overlap=overlap,
        refine=refine,
        batch_size=batch_size,
        range=range,
        max_pixels=max_pixels,
    )
    saved_kinds(save)
    with working("starting") as shown, contextlib.redirect_stdout(sys.stderr):
        from segzoo.inference.files import predict_files

        written = predict_files(
            weights,
            pictures,
            out,
            how=how,
            save=save,
            background=background,
            overwrite=overwrite,
            device=device,
            precision=precision,
            shown=shown,
        )
    if json:
        print_json(written)
        return
    if out is None:
        from segzoo.inference.outputs import DEFAULT

        files = [path for files in written for kind, path in files.items() if kind != "picture"]
        out = Path(*Path(files[0]).parts[: len(DEFAULT.parts)]) if files else DEFAULT
    say(f"{number_of(len(written), 'picture')} segmented into {out}")


def inspect_command(weights: Weights, json: AsJson = False) -> None:
    """Print what a weights file says of itself; reads its header only."""
    from segzoo.model.weights import read_info

    info = read_info(weights).as_dict()
    if json:
        print_json(info)
        return
    print_description(str(weights), info)


def compare_command(
    runs: Annotated[list[Path], typer.Argument(help="folders of finished runs")],
    json: AsJson = False,
) -> None:
    """Compare finished runs: settings that differ, scores with intervals, paired tests."""
    from segzoo.report.comparison import compare_runs

    records = compare_runs(runs)
    if json:
        print_json(records)
        return
    print_comparison(records)
