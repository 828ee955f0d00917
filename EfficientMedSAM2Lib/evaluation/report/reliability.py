"""Whether scores mean something: predicted against true overlap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.evaluation.protocols import Record

BINS = 10
MIN_PAIRS = 5


def reliability(records: Iterable[Record]) -> dict[str, Any]:
    """Compare predicted scores with true IoUs, over all pairs of some records.

    Returns:
        `pairs` (their number), `correlation` (Pearson; None for few pairs or constant values), `calibration_error`
        (mean distance of the two means of a bin, weighted by its pairs; None without pairs), and `bins`: of each that
        is not empty `low`, `high`, `pairs`, and the means `predicted` and `true`.
    """
    pairs = np.asarray([pair for record in records for pair in record.score_pairs], dtype=float).reshape(-1, 2)
    places = np.clip((pairs[:, 0] * BINS).astype(int), 0, BINS - 1)
    bins: list[dict[str, Any]] = []
    for place in np.unique(places):
        predicted, true = pairs[places == place].mean(axis=0)
        count = int(np.count_nonzero(places == place))
        ends = {"low": float(place / BINS), "high": float((place + 1) / BINS)}
        bins.append({**ends, "pairs": count, "predicted": float(predicted), "true": float(true)})
    error = sum(row["pairs"] * abs(row["predicted"] - row["true"]) for row in bins) / len(pairs) if bins else None
    return {"pairs": len(pairs), "correlation": _correlation(pairs), "calibration_error": error, "bins": bins}


def reliability_text(name: str, summary: dict[str, Any]) -> str:
    """The table of a method's summary for people; empty where it has no scores."""
    every, compact = summary["reliability"], summary["compact_reliability"]
    if not every["pairs"]:
        return ""
    lines = [
        f"\nReliability of the scores of {name}: predicted against true IoU",
        "  score        number  predicted   true",
    ]
    for row in every["bins"]:
        span = f"{row['low']:.1f} to {row['high']:.1f}"
        lines.append(f"  {span:12}{row['pairs']:7}{row['predicted']:11.3f}{row['true']:7.3f}")
    for title, found in (("all", every), ("compact", compact)):
        shown = ["-" if found[key] is None else f"{found[key]:.3f}" for key in ("calibration_error", "correlation")]
        lines.append(f"  {title}: expected calibration error {shown[0]}, correlation {shown[1]}")
    return "\n".join(lines) + "\n"


def _correlation(pairs: np.ndarray) -> float | None:
    if len(pairs) < MIN_PAIRS or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
        return None
    return float(np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1])
