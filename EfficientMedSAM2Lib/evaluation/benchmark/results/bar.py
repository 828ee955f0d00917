"""The bar: what is demanded of speed and memory, beside what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from EfficientMedSAM2Lib.evaluation.benchmark.results.summary import Summary

FASTER_THAN_MEDSAM2 = 20.0
SLICES_PER_S = 12.0
CLICK_NEW_MS, CLICK_KNOWN_MS = 120.0, 40.0
FASTER_THAN_LITEMEDSAM = 15.0
TIMES_THE_ENCODER = 2.0
ABOVE_LIBRARIES_MB = 300.0
SHARE_OF_MEDSAM2 = 1 / 3
GROWTH = 0.10
FIRST_MASK_S = 6.0
SHORT = 50


@dataclass(frozen=True)
class Demand:
    """One line of the bar for one network.

    Attributes:
        text: What is demanded.
        measured: What was found; "not measured" where a part of it is missing.
        met: Whether it is met; None where it was not measured.
    """

    text: str
    measured: str
    met: bool | None


def bar(summary: Summary, network: str) -> list[Demand]:
    """Compare one of our networks with the bar; ratios are of rounds in which both sides were measured."""
    lengths = summary.lengths(network) or [0]
    shared = [count for count in lengths if count in summary.lengths("medsam2")][-1:]
    short, most = next((count for count in lengths if count >= SHORT), lengths[-1]), lengths[-1]
    at = f" ({shared[0]} slices)" if shared else ""
    theirs_at = f" (ours with up to {most} slices, its with {shared[0]})" if shared else ""
    largest = max((summary.median(network, "above_mb", n) or 0.0 for n in lengths), default=0.0) or None
    faster, theirs, lighter = None, None, None
    if shared:
        faster = _ratio(summary, (network, "slices_per_s", shared[0]), ("medsam2", "slices_per_s", shared[0]))
        theirs = summary.median("medsam2", "above_mb", shared[0])
    if largest is not None and theirs:
        lighter = largest / theirs
    grown = None
    if short != most:
        grown = _ratio(summary, (network, "slices_per_s", short), (network, "slices_per_s", most))
    lite = _ratio(summary, ("litemedsam", "box_new_ms", None), (network, "click_new_ms", None))
    per_encoder = _ratio(summary, (network, "slice_ms", None), (network, "encoder_ms", None))

    def median(measure: str, slices: int | None = None) -> float | None:
        return summary.median(network, measure, slices)

    return [
        _demand(f"propagation 20 x as fast as MedSAM2{at}", faster, "{:.1f} x", least=FASTER_THAN_MEDSAM2),
        _demand(
            f"propagation of 12 slices/s ({short} slices)",
            median("slices_per_s", short),
            "{:.1f} slices/s",
            least=SLICES_PER_S,
        ),
        _demand("click to mask on a new slice in 120 ms", median("click_new_ms"), "{:.0f} ms", most=CLICK_NEW_MS),
        _demand(
            "click to mask with features cached in 40 ms", median("click_known_ms"), "{:.0f} ms", most=CLICK_KNOWN_MS
        ),
        _demand("click to mask in 1/15 of LiteMedSAM's time for a box", lite, "1/{:.0f}", least=FASTER_THAN_LITEMEDSAM),
        _demand("propagated slice in 2 x the bare encoder's time", per_encoder, "{:.2f} x", most=TIMES_THE_ENCODER),
        _demand(
            f"300 MB above the libraries for any number of slices (up to {most})",
            largest,
            "{:.0f} MB",
            most=ABOVE_LIBRARIES_MB,
        ),
        _demand(f"1/3 of MedSAM2's memory above the libraries{theirs_at}", lighter, "{:.2f}", most=SHARE_OF_MEDSAM2),
        _demand(
            f"time per slice at {most} slices within 10 % of that at {short}" if short != most else "linear in slices",
            None if grown is None else grown - 1,
            "{:+.1%}",
            most=GROWTH,
        ),
        _demand("start to first mask in 6 s", median("first_mask_s"), "{:.1f} s", most=FIRST_MASK_S),
    ]


def _demand(text: str, value: float | None, form: str, least: float = -math.inf, most: float = math.inf) -> Demand:
    if value is None:
        return Demand(text, "not measured", None)
    return Demand(text, form.format(value), least <= value <= most)


def _ratio(summary: Summary, over: tuple[str, str, int | None], under: tuple[str, str, int | None]) -> float | None:
    found = summary.ratio(over, under)
    return None if found is None else found.median
