"""The gallery: the worst, the middle and the best results of a method as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.evaluation.prompts import tight_box
from EfficientMedSAM2Lib.evaluation.protocols import Picture, Record

PER_ROW = 6
MARGIN = 0.6  # of the object's box, shown around it


def choose_examples(records: Sequence[Record], count: int = PER_ROW) -> dict[str, list[Record]]:
    """Pick results by Dice: `worst`, `median` and `best`, each of at most `count` records, none twice."""
    ordered = sorted(records, key=lambda record: record.values["dice"])
    count = min(count, max(1, len(ordered) // 3))
    middle = max(count, (len(ordered) - count) // 2)
    return {
        "worst": ordered[:count],
        "median": ordered[middle : middle + count],
        "best": ordered[max(middle + count, len(ordered) - count) :],
    }


def write_gallery(path: Path, records: Sequence[Record]) -> None:
    """Draw the examples: truth green, prediction red, box yellow, clicks as points (blue: outside)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    examples = choose_examples(records)
    columns = max(len(row) for row in examples.values())
    figure = Figure(figsize=(2.6 * columns, 9.0))
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, columns, squeeze=False)
    for axes_row, (title, row) in zip(grid, examples.items()):
        for axes in axes_row:
            axes.axis("off")
        for axes, record in zip(axes_row, row):
            _draw(axes, record.picture)
            place = record.case.image.name.split("/")[-1]
            axes.set_title(f"{title} {record.values['dice']:.2f}\n{place}\n{record.case.label}", fontsize=6)
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw(axes: Any, picture: Picture) -> None:
    x0, y0, x1, y1 = tight_box(picture.truth | picture.prediction)
    margin = MARGIN * max(x1 - x0, y1 - y0) + 4
    axes.imshow(picture.image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for mask, color in ((picture.truth, "lime"), (picture.prediction, "red")):
        if mask.any():
            axes.contour(mask.astype(np.float32), levels=[0.5], colors=[color], linewidths=0.9)
    if picture.box is not None:
        bx0, by0, bx1, by1 = picture.box
        axes.plot([bx0, bx1, bx1, bx0, bx0], [by0, by0, by1, by1, by0], color="yellow", linewidth=0.6, linestyle=":")
    for x, y, positive in picture.clicks:
        axes.plot(x, y, marker="o" if positive else "x", markersize=3, color="orange" if positive else "deepskyblue")
    axes.set_xlim(max(-0.5, x0 - margin), min(picture.image.shape[1] - 0.5, x1 + margin))
    axes.set_ylim(min(picture.image.shape[0] - 0.5, y1 + margin), max(-0.5, y0 - margin))
