"""Plots of a benchmark: bars of time and memory, time against the number of slices."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.evaluation.benchmark.networks import TITLES
from EfficientMedSAM2Lib.evaluation.benchmark.results.summary import BenchmarkSummary

COLORS = {
    "efficientnet": "#0072b2",
    "mobilenet": "#56b4e9",
    "efficientnet-torch": "#009e73",
    "efficientnet-int8": "#cc79a7",
    "medsam2": "#d55e00",
    "litemedsam": "#999999",
}
TIMES = {
    "click_new_ms": "click, new slice",
    "click_known_ms": "click, cached",
    "box_new_ms": "box, new slice",
    "box_known_ms": "box, cached",
    "slice_ms": "propagated slice",
}


def write_bars(path: Path, summary: BenchmarkSummary) -> None:
    """Milliseconds of each action on a logarithmic axis, beside memory; medians."""
    figure, (times, memory) = _figure(12.0, 4.4, columns=2, widths=(5, 2))
    networks = summary.networks()
    width = 0.8 / len(networks)
    for position, network in enumerate(networks):
        offset = (position - (len(networks) - 1) / 2) * width
        found = [(x, summary.median(network, name)) for x, name in enumerate(TIMES)]
        known = [(x, value) for x, value in found if value is not None]
        bars = times.bar(
            [x + offset for x, _ in known],
            [y for _, y in known],
            width * 0.94,
            color=COLORS[network],
            label=TITLES[network],
        )
        times.bar_label(bars, fmt="{:.0f}", fontsize=6, padding=1)
    times.set_yscale("log")
    times.margins(y=0.3)
    times.set_xticks(range(len(TIMES)), list(TIMES.values()), fontsize=8)
    times.set_ylabel("ms, logarithmic")
    times.legend(fontsize=8, frameon=False, loc="upper left", ncols=3)
    times.set_title("Time", loc="left", fontsize=10)

    names = [(network, length) for network in networks for length in summary.lengths(network)]
    values = [summary.median(network, "above_mb", length) or 0.0 for network, length in names]
    bars = memory.barh(range(len(names)), values, color=[COLORS[network] for network, _ in names])
    memory.bar_label(bars, fmt="{:.0f}", fontsize=7, padding=2)
    memory.set_yticks(range(len(names)), [f"{TITLES[n]}, {length} slices" for n, length in names], fontsize=7)
    memory.invert_yaxis()
    memory.margins(x=0.12)
    memory.set_xlabel("MB above libraries and scan")
    memory.set_title("Memory", loc="left", fontsize=10)
    save_figure(figure, path)


def write_lengths(path: Path, summary: BenchmarkSummary) -> None:
    """Seconds to propagate through a scan against its number of slices, both logarithmic; all rounds."""
    figure, axes = _figure(6.4, 4.2)
    for network in summary.networks():
        lengths = summary.lengths(network)
        rounds = {n: [n / rate for rate in summary.rounds(network, "slices_per_s", n).values()] for n in lengths}
        for length, seconds in rounds.items():
            axes.plot([length] * len(seconds), seconds, "o", color=COLORS[network], markersize=3.5, alpha=0.6)
        middle = [length / (summary.median(network, "slices_per_s", length) or 1.0) for length in lengths]
        axes.plot(lengths, middle, "-", color=COLORS[network], linewidth=1.4)
        if lengths:
            axes.annotate(
                TITLES[network],
                (lengths[-1], middle[-1]),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                color=COLORS[network],
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = summary.lengths()
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.margins(x=0.25)
    axes.set_xlabel("slices, logarithmic")
    axes.set_ylabel("seconds to propagate, logarithmic")
    axes.grid(alpha=0.25)
    save_figure(figure, path)


def _figure(width: float, height: float, columns: int = 1, widths: tuple[int, ...] = (1,)) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, gridspec_kw={"width_ratios": widths})
    for one in axes if columns > 1 else [axes]:
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Any, path: Path, colors: int = 256) -> None:
    """Write a PNG with a palette, a third of the size of one without; under a temporary name first."""
    from PIL import Image

    content = io.BytesIO()
    figure.savefig(content, dpi=100, format="png")
    with replacing(path) as temporary:
        Image.open(content).convert("RGB").quantize(colors).save(temporary, format="png", optimize=True)
