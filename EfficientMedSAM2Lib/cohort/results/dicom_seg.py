"""Segments as a DICOM SEG object that refers to the series it was made from, for a PACS. Library: highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...core.files import replacing
from ...imaging.segmentations import Segment
from ...imaging.terminology import segment_colors, terminology_entry
from ...imaging.volumes import dicom_files

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept

_MANUFACTURER, _MODEL = "EfficientMedSAM2", "EfficientMedSAM2"


def write_dicom_seg(path: Path, segments: Sequence[Segment], series: str | Path, key: str) -> None:
    """Write segments as one DICOM SEG object.

    Args:
        path: The ``.dcm`` file; it appears whole or not at all.
        segments: Masks (D,H,W) on the grid of the series, slices in the order that `read_volume` has.
        series: The DICOM folder that the scan was read from.
        key: Content hash of the case: equal cases get equal UIDs, so that a PACS sees a repetition as such.

    Raises:
        ValueError: The scan is not a DICOM folder, no segment holds a voxel, or the series lacks what DICOM SEG needs.
    """
    import highdicom
    from pydicom import dcmread

    if not Path(series).is_dir():
        raise ValueError(f"DICOM SEG refers to a DICOM series, and {series} is none; use --format seg.nrrd for it.")
    if not any(segment.mask.any() for segment in segments):
        raise ValueError("All segments are empty, which DICOM SEG cannot say; correct the prompts, or use seg.nrrd.")
    sources = [dcmread(file) for file in dicom_files(series)]
    pixels = np.stack([segment.mask for segment in segments], axis=-1).astype(np.uint8)
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    try:
        written = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _description(number, segment, color)
                for number, (segment, color) in enumerate(zip(segments, colors), start=1)
            ],
            series_instance_uid=_uid(key, "series"),
            series_number=9001,
            sop_instance_uid=_uid(key, "instance"),
            instance_number=1,
            manufacturer=_MANUFACTURER,
            manufacturer_model_name=_MODEL,
            software_versions=__version__,
            device_serial_number="0",
            series_description="EfficientMedSAM2 segmentation",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{series} lacks what a DICOM SEG needs ({error}); use --format seg.nrrd for it.") from error
    with replacing(path) as temporary:
        written.save_as(temporary)


def _description(number: int, segment: Segment, color: tuple[float, float, float]) -> SegmentDescription:
    import highdicom

    entry = (segment.terminology or terminology_entry(segment.name)).split("~")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_MODEL, version=__version__, family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name[:64],
        segmented_property_category=_concept(entry[1]),
        segmented_property_type=_concept(entry[2]),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor(*_cielab(color)),
    )


def _concept(code: str) -> CodedConcept:
    import highdicom

    scheme, value, meaning = (*code.split("^"), "", "")[:3]
    return highdicom.sr.CodedConcept(value[:16] or "85756007", scheme or "SCT", (meaning or "Tissue")[:64])


def _cielab(color: tuple[float, float, float]) -> tuple[float, float, float]:
    """CIE L*a*b* (white point D65) of an sRGB colour in 0 ... 1, by IEC 61966-2-1 and CIE 15."""
    rgb = np.array(color)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ linear / (0.9505, 1.0, 1.089)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return float(np.clip(116 * y - 16, 0.0, 100.0)), float(500 * (x - y)), float(200 * (y - z))


def _uid(key: str, purpose: str) -> str:
    """A UID by ITU X.667: 2.25 and a 128-bit number, here of the hash."""
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{key} {purpose}'.encode()).digest()[:16], 'big')}"
