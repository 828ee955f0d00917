"""The windows that a DICOM scan wants to be shown in."""

from __future__ import annotations

import pytest

from EfficientMedSAM2Lib.imaging.volumes import read_volume

from . import dicom_files as dicom
from .phantom import grid, sample

MATRIX = grid()
ARRAY = sample(MATRIX)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"WindowCenter": 40, "WindowWidth": 400}, [(-160, 240, "file")]),
        (
            {
                "WindowCenter": ["40", "-600"],
                "WindowWidth": ["400", "1500"],
                "WindowCenterWidthExplanation": ["SOFT", "LUNG"],
            },
            [(-160, 240, "SOFT"), (-1350, 150, "LUNG")],
        ),
        ({"WindowCenter": [40, 40], "WindowWidth": [400, 400]}, [(-160, 240, "file")]),
        ({"WindowCenter": [40, 50], "WindowWidth": [0, 10]}, [(45, 55, "file")]),
        ({"WindowCenter": 40}, []),
        ({"WindowCenter": 40, "WindowWidth": 400, "PhotometricInterpretation": "MONOCHROME1"}, []),
        ({}, []),
    ],
)
def test_windows_of_a_series(tmp_path, tags, expected):
    dicom.write(dicom.slices(ARRAY, MATRIX, **tags), tmp_path)
    windows = read_volume(tmp_path).file_windows
    assert [(window.low, window.high, window.name) for window in windows] == expected


def test_windows_of_one_file_with_many_frames(tmp_path):
    """Each frame may have its own; that of the middle slice counts."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence as Items

    data = dicom.enhanced(ARRAY, MATRIX)
    for number, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        shown = Dataset()
        shown.WindowCenter, shown.WindowWidth = 100 * number, 50
        group.FrameVOILUTSequence = Items([shown])
    dicom.write([data], tmp_path)
    (window,) = read_volume(tmp_path).file_windows
    assert (window.level, window.width) == (100 * (len(ARRAY) // 2), 50)
