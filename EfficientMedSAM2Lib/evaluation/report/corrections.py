"""Corrections that hurt: clicks after the first that lower the Dice they were to raise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.evaluation.protocols import Record


def corrections(records: Iterable[Record]) -> dict[str, Any]:
    """Count corrective clicks, and those after which Dice is lower than before.

    Returns:
        `clicks` and `hurting` (numbers), `share` (of hurting ones in a data set, mean over data sets; None without
        corrections), `mean_drop` and `worst_drop` of Dice (of hurting ones; 0 without any), and `datasets` (name ->
        share).
    """
    changes: dict[str, list[float]] = defaultdict(list)
    for record in records:
        changes[record.case.image.dataset] += np.diff(record.click_dices).tolist()
    shares = {name: float(np.mean(np.array(found) < 0)) for name, found in sorted(changes.items()) if found}
    drops = [-change for found in changes.values() for change in found if change < 0]
    return {
        "clicks": sum(len(found) for found in changes.values()),
        "hurting": len(drops),
        "share": float(np.mean(list(shares.values()))) if shares else None,
        "mean_drop": float(np.mean(drops)) if drops else 0.0,
        "worst_drop": max(drops, default=0.0),
        "datasets": shares,
    }


def corrections_text(name: str, summary: dict[str, Any]) -> str:
    """What a method's summary says of them for people; empty where there were no corrections."""
    if summary["corrections"]["share"] is None:
        return ""
    lines = [f"\nCorrections of {name} that hurt: clicks after the first that lower Dice"]
    for title, found in (("all", summary["corrections"]), ("compact", summary["compact_corrections"])):
        if found["share"] is not None:
            lines.append(
                f"  {title}: {100 * found['share']:.1f} % (macro over sets; {found['hurting']} of {found['clicks']}), "
                f"mean drop {found['mean_drop']:.3f}, worst {found['worst_drop']:.3f}"
            )
    for dataset, share in summary["corrections"]["datasets"].items():
        lines.append(f"  {dataset}: {100 * share:.1f} %")
    return "\n".join(lines) + "\n"
