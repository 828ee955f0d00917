"""Results of the challenge's protocol: its CSV, and a table by modality."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.evaluation.cvpr25.protocol import CLICK_ROUNDS, SECONDS_PER_CLASS, ChallengeResult

_COLUMNS = {
    "DSC_Final": "DSC final",
    "NSD_Final": "NSD final",
    "DSC_AUC": "DSC AUC",
    "NSD_AUC": "NSD AUC",
    "TotalRunningTime": "s/case",
}
MEAN = "mean of modalities"


def summarise(results: Sequence[ChallengeResult]) -> dict[str, dict[str, float]]:
    """Mean of the cases of each modality, and at last the mean of the modalities, so that none outweighs others."""
    groups: dict[str, list[ChallengeResult]] = defaultdict(list)
    for result in results:
        groups[result.modality].append(result)
    found: dict[str, dict[str, float]] = {}
    for modality, part in sorted(groups.items()):
        found[modality] = _mean([result.summary() for result in part])
        found[modality]["cases"] = len(part)
    found[MEAN] = _mean(list(found.values()))
    found[MEAN]["cases"] = len(results)
    return found


def table(summary: dict[str, dict[str, float]], results: Sequence[ChallengeResult]) -> str:
    """A line per modality, for people."""
    width = max(len(name) for name in summary) + 2
    lines = ["".ljust(width) + "cases".rjust(8) + "".join(title.rjust(12) for title in _COLUMNS.values())]
    for name, values in summary.items():
        cells = "".join(f"{values[key]:.3f}".rjust(12) for key in _COLUMNS)
        lines.append(name.ljust(width) + str(int(values["cases"])).rjust(8) + cells)
    lines.append(f"AUC over {CLICK_ROUNDS} rounds of clicks, at most {CLICK_ROUNDS - 1}; final after the last.")
    late = sum(not result.in_time for result in results)
    if late:
        lines.append(f"{late} cases took longer than {SECONDS_PER_CLASS:g} s a class and count as zero.")
    return "\n".join(lines)


def write_csv(path: Path, results: Sequence[ChallengeResult]) -> None:
    """One line per case, with the columns of the challenge's script and the modality."""
    rows = [_row(result) for result in results]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _row(result: ChallengeResult) -> dict[str, Any]:
    def numbered(name: str, values: Sequence[float]) -> dict[str, str]:
        return {f"{name}_{step}": f"{value:.5f}" for step, value in enumerate(values, start=1)}

    return {
        "CaseName": result.name,
        "Modality": result.modality,
        **numbered("RunningTime", result.seconds),
        **{name: f"{value:.5f}" for name, value in result.summary().items()},
        **numbered("DSC", result.dsc),
        **numbered("NSD", result.nsd),
        "num_class": result.classes,
        "runtime_upperbound": SECONDS_PER_CLASS * result.classes,
    }


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
