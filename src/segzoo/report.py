"""Pictures and tables about trainings: curves, prediction grids, runs side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from segzoo.data.sample import Batch
from segzoo.errors import SegzooError
from segzoo.store import atomic
from segzoo.train.run import Run
from segzoo.weights import load_model

GAP, HEAD = 8, 26


def draw_curves(
    history: Sequence[dict[str, Any]], splits: Sequence[str], path: Path, *, title: str
) -> None:
    """Draw loss, pixel accuracy and mean IoU (for alpha also MAD) of every split over epochs."""
    # The object interface: pyplot would keep global state and may ask for a display.
    from matplotlib.figure import Figure

    names = {
        "loss": "loss",
        "pixel_accuracy": "pixel accuracy",
        "mean_iou": "mean IoU",
        "mad": "MAD",
    }
    shown = [name for name in names if any(name in history[-1].get(s, {}) for s in splits)]
    figure = Figure(figsize=(4.2 * len(shown), 3.4), layout="constrained", dpi=110)
    epochs = [record["epoch"] for record in history]
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        for split in splits:
            values = [record.get(split, {}).get(name, float("nan")) for record in history]
            axes.plot(epochs, values, label=split, marker="o" if len(epochs) < 3 else "")
        axes.set(title=names[name], xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        rising = name in ("pixel_accuracy", "mean_iou")
        axes.legend(loc="lower right" if rising else "upper right")
    figure.suptitle(title)
    with atomic(path) as temporary:
        figure.savefig(temporary)


def draw_predictions(run: Run, weights: Path, path: Path, count: int = 6) -> None:
    """Draw image, truth and prediction of a few test pictures, as the network sees them."""
    batches = run.evals.get("test") or next(iter(run.evals.values()), run.train)
    model, _ = load_model(weights)
    model = model.to(run.device)
    rows: list[tuple[Image.Image, Image.Image, Image.Image]] = []
    for batch in batches.epoch(0):
        rows.extend(_rows(run, model, batch))
        if len(rows) >= count:
            break
    save_grid(rows[:count], ("image", "truth", "prediction"), path)


@torch.inference_mode()
def _rows(
    run: Run, model: torch.nn.Module, batch: Batch
) -> list[tuple[Image.Image, Image.Image, Image.Image]]:
    output: Any = model(run.preprocess(batch.images_BCHW.to(run.device)))
    logits_BKHW = output["out"] if isinstance(output, dict) else output
    probability_BKHW = logits_BKHW.float().softmax(1).cpu()
    rows = []
    for image, target, probability in zip(
        batch.images_BCHW, batch.target_BHW, probability_BKHW, strict=True
    ):
        if run.info.target == "alpha":
            truth = Image.fromarray(target.numpy())
            guess = Image.fromarray((probability[1] * 255).round().to(torch.uint8).numpy())
        else:
            truth = _coloured(target.numpy(), run)
            guess = _coloured(probability.argmax(0).numpy(), run)
        rows.append((_photo(image, run.info.value_range), truth, guess))
    return rows


def _photo(image: torch.Tensor, value_range: tuple[float, float]) -> Image.Image:
    low, high = value_range
    pixels = ((image.float() - low) * 255 / (high - low)).clamp(0, 255).to(torch.uint8)
    pixels = pixels[:3] if pixels.shape[0] >= 3 else pixels[:1].expand(3, -1, -1)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def _coloured(labels: np.ndarray, run: Run) -> Image.Image:
    """Colour class ids by the palette; ignored pixels are light grey."""
    table = np.full((256, 3), 224, dtype=np.uint8)
    table[: len(run.info.palette)] = run.info.palette
    if len(run.info.palette) == 2:
        table[:2] = ((0, 0, 0), (255, 255, 255))
    return Image.fromarray(table[labels.clip(0, 255)])


def save_grid(
    rows: Sequence[Sequence[Image.Image]], titles: Sequence[str], path: Path, side: int = 220
) -> None:
    """Save rows of pictures under titles as one PNG, each scaled to at most `side` pixels."""
    width, height = rows[0][0].size
    scale = min(side / width, side / height)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new(
        "RGB",
        (GAP + len(titles) * (cell[0] + GAP), HEAD + GAP + len(rows) * (cell[1] + GAP)),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(15)
    for column, title in enumerate(titles):
        draw.text((GAP + column * (cell[0] + GAP), 6), title, fill="black", font=font)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            small = picture.convert("RGB").resize(cell)
            canvas.paste(small, (GAP + column * (cell[0] + GAP), HEAD + row * (cell[1] + GAP)))
    with atomic(path) as temporary:
        canvas.save(temporary)


def read_summary(folder: Path) -> dict[str, Any]:
    """Read a finished run's summary.json; raise SegzooError naming a folder without one."""
    path = folder / "summary.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SegzooError(
            f"{folder} is no finished run: it has no summary.json",
            f"finish it with `segzoo train --resume {folder}`",
        ) from None
    except (OSError, ValueError) as error:
        raise SegzooError(f"{path} cannot be read: {error}") from error


def compare_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return one record per run for a table: parameters, time, speed and best scores."""
    records = []
    for folder in folders:
        summary = read_summary(folder)
        record = {
            "run": str(folder),
            "model": summary["model"],
            "data": summary["data"],
            "parameters": summary["parameters"],
            "seconds_per_epoch": summary["seconds_per_epoch"],
            "images_per_second": summary["images_per_second"],
            "best_epoch": summary["best_epoch"],
            "epochs": summary["epochs"],
            "device": f"{summary['device']} {summary['precision']}",
        }
        for split, scores in summary["scores"].items():
            for name, value in scores.items():
                record[f"{split} {name}"] = value
        records.append(record)
    return records
