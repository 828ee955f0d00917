"""Masks of all networks side by side on the same slices, and their overlap with the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.evaluation.benchmark.networks import TITLES
from EfficientMedSAM2Lib.evaluation.benchmark.results.plots import save_figure
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan

COLUMNS = 4
COLORS = 32
"""Of the picture: grey, and the contours; enough to judge contours, and small enough for a document."""
MARGIN = 0.25
"""Of the object's longest side, shown around it."""


def read_masks(path: Path) -> np.ndarray:
    """Masks (D, H, W) bool that a measured process wrote."""
    with np.load(path) as content:
        return np.unpackbits(content["bits"], axis=-1, count=int(content["width"])).astype(bool)


def propagated_dice(masks: np.ndarray, scan: Scan) -> float:
    """Volumetric Dice with the labels on the slices after the prompted one."""
    return dice(masks[1:], scan.labels[1 : len(masks)])


def write_overlays(path: Path, scan: Scan, masks: dict[str, np.ndarray]) -> None:
    """Draw a row for each network: its contour red, the labels' green, on slices from the first to the last."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(len(found) for found in masks.values())
    slices = np.unique(np.linspace(0, count - 1, COLUMNS).round().astype(int))
    figure = Figure(figsize=(2.0 * len(slices), 2.1 * len(masks) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("red: the network's contour, green: the reference, dotted: the box it was given", fontsize=9)
    grid = figure.subplots(len(masks), len(slices), squeeze=False)
    rows, columns = np.nonzero(scan.labels[:count].any(axis=0))
    pad = MARGIN * max(np.ptp(rows), np.ptp(columns)) + 4
    for row, (network, found) in zip(grid, masks.items()):
        for axes, number in zip(row, slices):
            axes.imshow(scan.windowed(number), cmap="gray", vmin=0, vmax=1)
            for mask, color in ((scan.labels[number], "lime"), (found[number], "red")):
                if mask.any() and not mask.all():
                    axes.contour(mask.astype(np.float32), levels=[0.5], colors=[color], linewidths=1.0)
            if number == 0:
                x0, y0, x1, y1 = scan.box
                axes.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], ":", color="yellow", linewidth=0.9)
            axes.set_xlim(max(-0.5, columns.min() - pad), min(scan.labels.shape[2] - 0.5, columns.max() + pad))
            axes.set_ylim(min(scan.labels.shape[1] - 0.5, rows.max() + pad), max(-0.5, rows.min() - pad))
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"slice {number}, Dice {dice(found[number], scan.labels[number]):.2f}", fontsize=8)
        row[0].set_ylabel(TITLES[network], fontsize=9)
    save_figure(figure, path, COLORS)
