"""Reports: averages per data set, label and size, a table for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.evaluation.metrics import SIZE_CLASSES
from EfficientMedSAM2Lib.evaluation.protocols import Record
from EfficientMedSAM2Lib.evaluation.report.corrections import corrections
from EfficientMedSAM2Lib.evaluation.report.reliability import reliability, review_order
from EfficientMedSAM2Lib.imaging.formats.files import csv_cell


def summarise(records: Sequence[Record]) -> dict[str, Any]:
    """Average the records of one method.

    A data set counts as the mean of its labels, and the macro average as the mean of the data sets, so that neither
    many images nor many labels outweigh others.

    Returns:
        `macro` and `compact` (over compact objects), `datasets`, `labels`, `sizes`, `seconds`, `objects`, `reliability`
        and `corrections`, these two for compact objects as well.
    """
    compact = [record for record in records if record.case.compact]
    return {
        "objects": len(records),
        "compact_objects": len(compact),
        "macro": _macro(records),
        "compact": _macro(compact),
        "datasets": {name: _by_label_mean(part) for name, part in _grouped(records, _dataset).items()},
        "compact_datasets": {name: _by_label_mean(part) for name, part in _grouped(compact, _dataset).items()},
        "labels": {
            f"{dataset}/{label}": _mean(part)
            for dataset, of_dataset in _grouped(records, _dataset).items()
            for label, part in _grouped(of_dataset, _label).items()
        },
        "sizes": {
            size: _macro([record for record in records if record.case.size == size])
            for size in SIZE_CLASSES
            if any(record.case.size == size for record in records)
        },
        "reliability": reliability(records),
        "compact_reliability": reliability(compact),
        "review_order": review_order(records),
        "corrections": corrections(records),
        "compact_corrections": corrections(compact),
        "seconds": float(np.median([record.seconds for record in records])) if records else None,
    }


def table(summaries: dict[str, dict[str, Any]], measure: str = "dice") -> str:
    """Show summaries side by side: a line per data set and group, a column per method.

    Args:
        summaries: results of `summarise` by method.
        measure: which measure to show.
    """
    rows: list[tuple[str, list[str]]] = [("", list(summaries))]

    def add(title: str, get: Callable[[dict[str, Any]], float | None]) -> None:
        found = [get(summary) for summary in summaries.values()]
        if any(value is not None for value in found):
            rows.append((title, ["-" if value is None else f"{value:.3f}" for value in found]))

    def add_group(title: str, key: str, name: str) -> None:
        add(title, lambda summary: summary[key].get(name, {}).get(measure))

    first = next(iter(summaries.values()))
    for name in first["datasets"]:
        add_group(name, "datasets", name)
        add_group("  compact", "compact_datasets", name)
    for size in first["sizes"]:
        add_group(f"size {size}", "sizes", size)
    add(f"MACRO {measure}", lambda summary: summary["macro"].get(measure))
    add(f"MACRO {measure}, compact", lambda summary: summary["compact"].get(measure))
    for other in first["macro"]:
        if other != measure:
            add(f"macro {other}", lambda summary, other=other: summary["macro"].get(other))  # type: ignore[misc]
            add(f"macro {other}, compact", lambda summary, other=other: summary["compact"].get(other))  # type: ignore[misc]
    add("score correlation", lambda summary: summary["reliability"]["correlation"])
    add("score correlation, compact", lambda summary: summary["compact_reliability"]["correlation"])
    add("seconds per object", lambda summary: summary["seconds"])
    rows.append(("objects (compact)", [f"{s['objects']} ({s['compact_objects']})" for s in summaries.values()]))
    width = max(len(title) for title, _ in rows) + 2
    return "\n".join(title.ljust(width) + "".join(cell.rjust(15) for cell in cells) for title, cells in rows)


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """Write one line per object and method."""
    measures = list(dict.fromkeys(name for record in records for name in record.values))
    head = ["model", "dataset", "image", "modality", "label", "axis", "slice", "area_px", "size", "compact", *measures]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*head, "score", "seconds"])
        for record in records:
            case = record.case
            place = [record.model, case.image.dataset, case.image.name, case.image.modality, case.label]
            shape = ["kji"[case.axis], case.index, int(case.mask.sum()), case.size, int(case.compact)]
            values = [f"{record.values[name]:.5f}" if name in record.values else "" for name in measures]
            score = f"{np.mean([score for score, _ in record.score_pairs]):.5f}" if record.score_pairs else ""
            writer.writerow([*map(csv_cell, place), *shape, *values, score, f"{record.seconds:.4f}"])


def write_json(path: Path, summaries: dict[str, dict[str, Any]], settings: dict[str, Any]) -> None:
    """Write the summaries with the settings that gave them."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"settings": settings, "results": summaries}, indent=2), encoding="utf-8")


def _macro(records: Iterable[Record]) -> dict[str, float]:
    return _mean_of([_by_label_mean(part) for part in _grouped(records, _dataset).values()])


def _by_label_mean(records: Iterable[Record]) -> dict[str, float]:
    return _mean_of([_mean(part) for part in _grouped(records, _label).values()])


def _mean(records: Iterable[Record]) -> dict[str, float]:
    return _mean_of([record.values for record in records])


def _mean_of(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([part[name] for part in parts])) for name in (parts[0] if parts else {})}


def _grouped(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return dict(sorted(groups.items()))


def _dataset(record: Record) -> str:
    return record.case.image.dataset


def _label(record: Record) -> str:
    return record.case.label
