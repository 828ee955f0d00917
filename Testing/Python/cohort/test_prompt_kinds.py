"""Every kind of prompt in a cohort: a case for each, with the columns of a manifest; one run computes them all."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from prompt_kinds import (
    EXCLUDING,
    KINDS,
    PLACES,
    TAKEN_AWAY,
    check_taken_away,
    check_volume,
    every_excluding_kind,
    every_kind,
    given_mask,
    write_markup,
    write_scan,
)

COLUMNS = ("case", "image", "segment", "modality", "prompts", "box_ijk", "points_ijk", "negative_points_ijk", "mask")


def ijk(*places):
    """Cells of a manifest."""
    return ";".join(",".join(str(round(value)) for value in place[::-1]) for place in places)


def box_cell(places):
    return ",".join([ijk(place) for place in places])


def finding(kind, folder):
    """Columns that find the ball: those that the manifest itself has for points and boxes, else files."""
    if kind == "point":
        return {"points_ijk": ijk(*PLACES[kind])}
    if kind == "box":
        return {"box_ijk": box_cell(PLACES[kind])}
    if kind == "mask":
        return {"mask": write_scan(folder, given_mask().astype(np.uint8), "earlier").name}
    folder = folder / kind
    folder.mkdir()
    return {"prompts": f"{kind}/{write_markup(folder, kind).name}"}


def excluding(kind, folder):
    """Columns of a box that finds the ball, and of what takes its end away."""
    columns = finding("box", folder)
    if kind == "point":
        return {**columns, "negative_points_ijk": ijk(*TAKEN_AWAY[kind])}
    folder = folder / f"no-{kind}"
    folder.mkdir()
    return {**columns, "prompts": f"no-{kind}/{write_markup(folder, kind, include=False).name}"}


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """``masks(case)``: what the run has written."""
    from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
    from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation

    folder = tmp_path_factory.mktemp("cohort")
    write_scan(folder)
    cases = {kind: finding(kind, folder) for kind in KINDS}
    cases.update({f"no {kind}": excluding(kind, folder) for kind in EXCLUDING})
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        for name, columns in cases.items():
            writer.writerow({"case": name, "image": "ball.nii.gz", "segment": "ball", "modality": "CT", **columns})
    settings, alone = RunSettings(pictures=False), ClusterOptions(in_process=True)
    summary = run_cohort(read_cohort_manifest(manifest), folder / "out", settings, alone)
    assert (len(summary.outcomes), summary.failed) == (len(cases), [])

    def read(case):
        (segment,) = read_segmentation(folder / "out" / "cases" / case / "segmentation.seg.nrrd")
        return segment.mask

    return read


@pytest.mark.slow
@every_kind
def test_a_prompt_finds_the_ball(masks, kind):
    check_volume(masks(kind))


@every_excluding_kind
def test_a_prompt_takes_away(masks, kind):
    check_taken_away(masks(f"no {kind}"), kind)
