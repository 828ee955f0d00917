"""Names to codes: only what is understood word for word."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
import slicerio
from slicerio.segmentation import terminology_entry_from_string

from EfficientMedSAM2Lib.imaging.terminology import PALETTE, segment_colors, terminology_entry


def meaning(name: str) -> str:
    entry = terminology_entry_from_string(terminology_entry(name))
    return " ".join([entry["type"][2], *entry.get("typeModifier", ["", "", ""])[2:]]).strip()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("right lung", "Lung Right"),
        ("Lung_L", "Lung Left"),
        ("lung_right", "Lung Right"),
        ("lungs", "Lung"),
        ("KIDNEY-left 2", "Kidney Left"),
        ("left and right kidney", "Tissue"),
        ("left right kidney", "Kidney"),
        ("aorta", "Aorta"),
        ("ribs", "Rib"),
        ("liver tumour", "Mass"),
        ("tumor of the liver", "Mass"),
        ("right lung nodule", "Mass"),
        ("oesophagus", "Esophagus"),
        ("liver left", "Liver"),
        ("thoracic vertebral column", "Thoracic spine"),
        ("heart wall", "Tissue"),
        ("F", "Tissue"),
        ("1", "Tissue"),
        ("", "Tissue"),
        ("right", "Tissue"),
    ],
)
def test_meaning(name, expected):
    assert meaning(name) == expected


def test_codes_are_those_of_slicer_reference_file():
    reference = slicerio.read_segmentation(str(slicerio.__path__[0] + "/data/Segmentation.seg.nrrd"), skip_voxels=True)[
        "segments"
    ]
    for segment in reference:
        ours = terminology_entry_from_string(terminology_entry(segment["name"]))
        assert json.dumps(ours) == json.dumps(segment["terminology"]), segment["name"]


def test_colours_are_standard_but_never_alike():
    names = ["right lung", "left lung", "liver", "first", "second", "lesion"]
    colors = segment_colors(names, [None] * len(names))
    np.testing.assert_allclose(colors[0], np.array([197, 165, 145]) / 255)
    np.testing.assert_allclose(colors[2], np.array([221, 130, 101]) / 255)
    assert colors[3] in PALETTE
    for first, second in combinations(colors, 2):
        assert np.linalg.norm(np.subtract(first, second)) > 0.15


def test_own_colours_stay_and_are_avoided():
    own = PALETTE[0]
    colors = segment_colors(["a", "b"], [None, own])
    assert colors[1] == own
    assert colors[0] != own


def test_more_segments_than_colours():
    """Neighbours are told apart also where there are many, and each of a palette's colours from its others."""
    colors = segment_colors(["x"] * 30, [None] * 30)
    assert tuple(colors[: len(PALETTE)]) == PALETTE
    apart = [float(np.linalg.norm(np.subtract(first, second))) for first, second in combinations(colors, 2)]
    assert min(apart) > 0.15
    assert min(np.linalg.norm(np.subtract(first, second)) for first, second in combinations(PALETTE, 2)) > 0.2
    heart, liver = segment_colors(["heart", "liver"], [None, None])
    assert np.linalg.norm(np.subtract(heart, liver)) > 0.2
