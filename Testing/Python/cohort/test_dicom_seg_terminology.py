"""What a segment is, in a DICOM SEG: Slicer's terminology with its modifiers, so that left and right differ."""

from __future__ import annotations

import numpy as np
import pydicom

from EfficientMedSAM2Lib.imaging.dicom.seg_writer import dicom_series as open_series
from EfficientMedSAM2Lib.imaging.dicom.seg_writer import write_dicom_seg
from EfficientMedSAM2Lib.imaging.segmentations import Segment

SHAPE = (4, 6, 5)
ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^49755003^Morphologically Altered Structure"
    "~SCT^4147007^Mass~^^~Anatomic codes - DICOM master list~SCT^39607008^Lung~SCT^7771000^Left"
)


def written(folder, dicom_series, segments):
    series = dicom_series(folder / "ct", np.zeros(SHAPE, dtype=np.int16))
    write_dicom_seg(folder / "o.dcm", segments, open_series(series), "key")
    return pydicom.dcmread(folder / "o.dcm").SegmentSequence


def test_left_and_right_differ(tmp_path, dicom_series):
    names = ("right lung", "left lung", "lung", "liver")
    items = written(tmp_path, dicom_series, [Segment(name, np.ones(SHAPE, bool)) for name in names])
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in items]
    assert [kind.CodeMeaning for kind in kinds] == ["Lung", "Lung", "Lung", "Liver"]
    found = [
        [(m.CodeValue, m.CodingSchemeDesignator, m.CodeMeaning) for m in modifiers]
        for modifiers in (kind.get("SegmentedPropertyTypeModifierCodeSequence", []) for kind in kinds)
    ]
    assert found == [[("24028007", "SCT", "Right")], [("7771000", "SCT", "Left")], [], []]


def test_where_a_finding_is(tmp_path, dicom_series):
    """A terminology entry that was chosen in 3D Slicer names a region and its side."""
    (item,) = written(tmp_path, dicom_series, [Segment("mass", np.ones(SHAPE, bool), terminology=ENTRY)])
    assert item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Mass"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in item.SegmentedPropertyTypeCodeSequence[0]
    (region,) = item.AnatomicRegionSequence
    assert (region.CodeValue, region.AnatomicRegionModifierSequence[0].CodeMeaning) == ("39607008", "Left")
