"""`cohort init`: a manifest from a folder of scans and markups."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

from EfficientMedSAM2Lib.cohort.manifest.folders import Found, bids_cases, find_cases
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.imaging.formats.files import csv_cell

_COLUMNS = ("case", "image", "prompts", "segment", "terminology", "modality", "window")
_VOXEL_COLUMNS = ("box_ijk", "points_ijk", "negative_points_ijk")  # only where a scan brings its own prompts


def create_manifest(folder: Path, output: Path) -> Found:
    """Write a manifest of all scans in a folder that have markups, or are an ``.npz`` with boxes or clicks.

    Args:
        folder: Any folder, or a BIDS folder.
        output: The ``.csv`` or ``.json`` file. Paths in it are relative to where it lies, where that can be.

    Returns:
        What was found, with what was left out.

    Raises:
        UserError: There is no scan with markups, the output exists, or it cannot be written.
    """
    if output.suffix.lower() not in (".csv", ".json"):
        raise UserError(f"The manifest {output} must end in .csv or .json.")
    if output.exists():
        raise UserError(f"{output} exists and may have been edited; remove it, or give another name.")
    is_bids = (folder / "dataset_description.json").is_file()
    found = bids_cases(folder) if is_bids else find_cases(folder.absolute())
    if not found.rows:
        raise UserError(f"{folder} holds no scan with markups (.mrk.json) beside it; place prompts in 3D Slicer first.")
    base = output.resolve().parent
    paths = ("image", "prompts")
    rows = [{name: _near(text, base) if name in paths else text for name, text in row.items()} for row in found.rows]
    columns = [*_COLUMNS, *(name for name in _VOXEL_COLUMNS if any(name in row for row in rows))]
    with replacing(output) as temporary:
        if output.suffix.lower() == ".json":
            temporary.write_text(json.dumps({"cases": rows}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            with temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return found


def _near(path: str, base: Path) -> str:
    try:
        return Path(os.path.relpath(path, base)).as_posix()
    except ValueError:  # another drive
        return path
