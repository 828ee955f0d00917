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
    from highdicom.seg import Segmentation, SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

#: Attributes of type 2 that the library copies from the series.
_MAY_BE_EMPTY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
_LONGEST_NAME = 64
_MANUFACTURER, _MODEL = "EfficientMedSAM2", "EfficientMedSAM2"


def check_dicom_seg(series: str | Path, shape_kji: tuple[int, int, int], names: Sequence[str]) -> None:
    """Find out before any work whether it can be kept as DICOM SEG: an object of one voxel is made, and dropped.

    Args:
        series: The DICOM folder that the scan was read from.
        shape_kji: Shape of the scan.
        names: Names of its segments.

    Raises:
        ValueError: As `write_dicom_seg`.
    """
    mask = np.zeros(shape_kji, dtype=bool)
    mask.flat[0] = True
    _make(_sources(series, shape_kji), [Segment(name, mask) for name in names], series, "check")


def write_dicom_seg(path: Path, segments: Sequence[Segment], series: str | Path, key: str) -> None:
    """Write segments as one DICOM SEG object, and read it back before it gets its name.

    Args:
        path: The ``.dcm`` file; it appears whole or not at all.
        segments: Masks (D,H,W) on the grid of the series, slices in the order that `read_volume` has.
        series: The DICOM folder that the scan was read from.
        key: Content hash of the case: equal cases get equal UIDs, so that a PACS sees a repetition as such.

    Raises:
        ValueError: The scan is not a DICOM folder, no segment holds a voxel, a name is longer than DICOM allows, or the
            series lacks what DICOM SEG needs.
    """
    if not any(segment.mask.any() for segment in segments):
        raise ValueError("All segments are empty, which DICOM SEG cannot say; correct the prompts, or use seg.nrrd.")
    sources = _sources(series, segments[0].mask.shape)
    written = _make(sources, segments, series, key)
    with replacing(path, lambda file: _check(file, segments, sources)) as temporary:
        written.save_as(temporary)


def _sources(series: str | Path, shape_kji: tuple[int, ...]) -> list[Dataset]:
    """Headers of the slices, each with what DICOM says must be there but may be empty, and anonymisers leave out."""
    from pydicom import dcmread

    if not Path(series).is_dir():
        raise ValueError(f"DICOM SEG refers to a DICOM series, and {series} is none; use --format seg.nrrd for it.")
    sources: list[Dataset] = [dcmread(file, stop_before_pixels=True) for file in dicom_files(series)]
    if len(sources) != shape_kji[0]:
        raise ValueError(
            f"{series} has {len(sources)} files for {shape_kji[0]} slices, so that a DICOM SEG cannot refer to them; "
            "use --format seg.nrrd for it."
        )
    for source in sources:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, None)
    if any(source.get("SliceThickness") is None for source in sources):
        thickness = _distance_between(sources, series)
        for source in sources:
            source.SliceThickness = thickness
    return sources


def _distance_between(sources: list[Dataset], series: str | Path) -> float:
    """Distance of neighbouring slices in mm, by their positions: how thick voxels are where no thickness is stated."""
    try:
        if len(sources) == 1:
            return float(sources[0].SpacingBetweenSlices)
        right, down = np.array(sources[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
        along = [float(np.dot(np.cross(right, down), source.ImagePositionPatient)) for source in sources]
        return round(float(np.median(np.abs(np.diff(along)))), 6)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{series} says neither how thick its slices are nor how far apart, which a DICOM SEG needs; "
            "use --format seg.nrrd for it."
        ) from error


def _make(sources: list[Dataset], segments: Sequence[Segment], series: str | Path, key: str) -> Segmentation:
    import highdicom

    for segment in segments:
        if len(segment.name) > _LONGEST_NAME or "\\" in segment.name:
            raise ValueError(
                f"The segment name {segment.name!r} has {len(segment.name)} characters; a DICOM SEG holds "
                f"{_LONGEST_NAME}, and no backslash. Give a shorter one, or use --format seg.nrrd."
            )
    pixels = np.stack([segment.mask for segment in segments], axis=-1).astype(np.uint8)
    colors = segment_colors([s.name for s in segments], [s.color for s in segments])
    try:
        return highdicom.seg.Segmentation(
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
            specific_character_set="ISO_IR 192",  # UTF-8: the series' own may not have the letters of a name
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{series} lacks what a DICOM SEG needs ({error}); use --format seg.nrrd for it.") from error


def _check(path: Path, segments: Sequence[Segment], sources: Sequence[Dataset]) -> None:
    """A file that was just written has each segment's voxels on the slices that they are meant for."""
    import highdicom

    found = highdicom.seg.segread(path)
    names = [found.get_segment_description(number).segment_label for number in found.segment_numbers]
    pixels = found.get_pixels_by_source_instance(
        [source.SOPInstanceUID for source in sources], assert_missing_frames_are_empty=True
    )
    same = all(np.array_equal(pixels[..., n] > 0, segment.mask) for n, segment in enumerate(segments))
    if not same or names != [segment.name for segment in segments]:
        raise ValueError("The DICOM SEG reads back as another than was written; the disk may be full or damaged.")


def _description(number: int, segment: Segment, color: tuple[float, float, float]) -> SegmentDescription:
    import highdicom

    entry = (segment.terminology or terminology_entry(segment.name)).split("~")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_MODEL, version=__version__, family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
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
