"""What was done to a scan on reading stands in all that a run writes; what is not known is not told."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest


def table(cohort):
    with (cohort.output / "measurements.csv").open(encoding="utf-8") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def add_series(cohort, dicom_series, array, name="c", change=lambda number, dataset: None):
    """A case of a DICOM folder; ``change`` may alter a slice, or leave it out by returning False."""
    import pydicom

    folder = cohort.folder / name
    dicom_series(folder, array)
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        path.unlink()
        if change(int(dataset.InstanceNumber) - 1, dataset) is not False:
            dataset.save_as(folder / f"{number}.dcm")
    cohort.lines.append(f'{name},{name},block,"3,3,2"')


def block():
    array = np.zeros((8, 12, 14), np.int16)
    array[1:6, 2:8, 2:9] = 100
    return array


@pytest.mark.parametrize("output_format", ["seg.nrrd", "dicom-seg"])
def test_missing_slices_stand_in_every_result(cohort, dicom_series, output_format):
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings

    add_series(cohort, dicom_series, block(), change=lambda number, dataset: number != 3)
    summary = cohort.run(settings=RunSettings(engine="cheap_engine:build_session", output_format=output_format))
    assert not summary.failed
    assert "not evenly spaced" in table(cohort)["c"]["notes"]
    assert "not evenly spaced" in (cohort.output / "contact-sheet.html").read_text(encoding="utf-8")
    record = json.loads((cohort.output / "cases" / "c" / "provenance.json").read_text(encoding="utf-8"))
    assert "7 were resampled to 8" in record["notes"][0]
    assert len(record["notes"]) == (2 if output_format == "dicom-seg" else 1)


def test_without_positions_there_are_no_millilitres(cohort, dicom_series):
    def strip(number, dataset):
        del dataset.ImagePositionPatient, dataset.PixelSpacing

    add_series(cohort, dicom_series, block(), change=strip)
    assert not cohort.run().failed
    row = table(cohort)["c"]
    assert row["volume_ml"] == row["surface_mm2"] == row["longest_diameter_mm"] == row["r_min_mm"] == ""
    assert int(row["voxels"]) > 0
    page = (cohort.output / "contact-sheet.html").read_text(encoding="utf-8")
    assert f"{row['voxels']} voxels" in page
    assert " ml" not in page


@pytest.mark.parametrize("value", [0, 77])
def test_a_scan_without_contrast_fails_with_the_reason(cohort, value):
    cohort.add("c", np.full((6, 12, 14), value, np.int16))
    (failed,) = cohort.run().failed
    assert "nothing to see" in failed.reason


def test_the_series_of_a_folder_can_be_named(cohort, dicom_series):
    add_series(cohort, dicom_series, block(), "a")
    add_series(cohort, dicom_series, block() * 2, "b", lambda number, dataset: setattr(dataset, "SeriesNumber", 7))
    for path in list((cohort.folder / "b").iterdir()):
        path.rename(cohort.folder / "a" / f"second-{path.name}")
    (cohort.folder / "m.csv").write_text(
        'case,image,segment,points_ijk,series\nc,a,block,"3,3,2",7\n', encoding="utf-8"
    )
    type(cohort).manifest = property(lambda self: self.folder / "m.csv")
    assert not cohort.run().failed
    assert float(table(cohort)["c"]["intensity_mean"]) > 150
