"""Tables of a cohort for statistics: measurements as CSV and Parquet, failures as CSV. Made from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.cohort.results.measurements import COLUMNS
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.imaging.formats.files import write_csv

MEASUREMENTS, FAILURES = "measurements.csv", "failures.csv"
_CASE_COLUMNS = ("case",)
_LATER_COLUMNS = ("message", "notes", "seconds", "image", "weights_sha256")
_TEXT = {"case", "segment", "message", "notes", "image", "weights_sha256"}
_WHOLE = {"voxels", "slice_of_diameters", "slices", "slice_lowest", "slice_axis"}


def write_tables(folder: Path, outcomes: Sequence[CaseOutcome]) -> None:
    """Write ``measurements.csv`` (one line a segment; also as Parquet where pyarrow is there), ``failures.csv``.

    Raises:
        UserError: A file cannot be written.
    """
    columns = (*_CASE_COLUMNS, *COLUMNS, *_LATER_COLUMNS)
    rows = measurement_rows(outcomes)
    write_csv(folder / MEASUREMENTS, columns, rows)
    failed = [
        {"case": outcome.name, "kind": outcome.kind, "reason": outcome.reason, "seconds": round(outcome.seconds, 3)}
        for outcome in outcomes
        if outcome.failed
    ]
    write_csv(folder / FAILURES, ("case", "kind", "reason", "seconds"), failed)
    _write_parquet(folder / "measurements.parquet", columns, rows)


def measurement_rows(outcomes: Iterable[CaseOutcome]) -> list[dict[str, Any]]:
    """One row a segment, with the columns of the tables."""
    rows = []
    for outcome in outcomes:
        for segment in outcome.record.get("segments", ()) if not outcome.failed else ():
            row = {name: segment.get(name) for name in COLUMNS}
            row.update(case=outcome.name, message=segment.get("message", ""), seconds=round(outcome.seconds, 3))
            row.update(notes=" ".join(outcome.record.get("notes", ())))
            row.update(image=outcome.record.get("image"), weights_sha256=outcome.record.get("weights_sha256"))
            rows.append(row)
    return rows


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:  # CSV holds the same
        return
    # types by name, not by what happens to be in the first rows: an empty cohort has the same schema
    types = {**dict.fromkeys(_TEXT, pa.string()), **dict.fromkeys(_WHOLE, pa.int64()), "empty": pa.bool_()}
    table = pa.table({name: pa.array([row[name] for row in rows], types.get(name, pa.float64())) for name in columns})
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)
