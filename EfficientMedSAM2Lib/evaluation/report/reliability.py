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


def review_order(records: Iterable[Record]) -> dict[str, Any]:
    """How far a list of cases, the worst first, is in the order of their true Dice, by each score of a whole case.

    Returns:
        `cases` (their number) and, by the name of a score, `spearman` with Dice (None for few or constant values) and
        `worst_found`: which part of the worst third by Dice stands in the first third of the list.
    """
    from scipy.stats import spearmanr

    scored = [record for record in records if record.case_scores]
    found: dict[str, Any] = {"cases": len(scored)}
    dices = np.array([record.values["dice"] for record in scored])
    third = len(scored) // 3
    for name in scored[0].case_scores if scored else ():
        values = np.array([record.case_scores[name] for record in scored])
        known = len(scored) >= MIN_PAIRS and np.ptp(values) > 0 and np.ptp(dices) > 0
        first, worst = (set(np.argsort(order, kind="stable")[:third].tolist()) for order in (values, dices))
        found[name] = {
            "spearman": float(spearmanr(values, dices)[0]) if known else None,
            "worst_found": len(first & worst) / third if third else None,
        }
    return found


def review_order_text(name: str, summary: dict[str, Any]) -> str:
    """The same for people; empty where no case has a score."""
    found = dict(summary["review_order"])
    cases = found.pop("cases")
    if not cases:
        return ""
    lines = [
        f"\nOrder of review by scores of {name}, {cases} cases",
        "  by             Spearman with Dice   worst third found",
    ]
    for score, values in found.items():
        shown = ["-" if values[key] is None else f"{values[key]:.3f}" for key in ("spearman", "worst_found")]
        lines.append(f"  {score:14}{shown[0]:>19}{shown[1]:>20}")
    return "\n".join(lines) + "\n"


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
