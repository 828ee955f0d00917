"""Segments as a DICOM SEG object that refers to the series it was made from, for a PACS. Library: highdicom.

What a segment is stands there as Slicer's terminology has it: category, type and its modifier, such as left or right,
and the anatomic region.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.imaging.dicom.reader import DicomScan, select_scan
from EfficientMedSAM2Lib.imaging.segment import Segment
from EfficientMedSAM2Lib.imaging.terminology import segment_colors, terminology_entry

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


def content_key(segments: Sequence[Segment]) -> str:
    """Equal segments make an equal DICOM SEG, which a PACS then knows already."""
    digest = hashlib.sha256()
    for segment in segments:
        digest.update(repr((segment.name, PackedMask.pack(segment.mask))).encode())
    return digest.hexdigest()


def check_dicom_seg(scan: DicomScan, names: Sequence[str]) -> None:
    """Find out before any work whether it can be kept as DICOM SEG: an object of one voxel is made, and dropped.

    Args:
        scan: The series.
        names: Names of its segments.

    Raises:
        UserError: As `write_dicom_seg`.
    """
    mask = np.zeros((scan.stack.depth, *scan.frames[0].shape[:2]), dtype=bool)
    mask[scan.stack.nearest[0], 0, 0] = True
    _make(_sources(scan), [Segment(name, mask) for name in names], scan, "check")


def write_dicom_seg(path: Path, segments: Sequence[Segment], scan: DicomScan, key: str) -> None:
    """Write segments as one DICOM SEG object, and read it back before it gets its name.

    Args:
        path: The ``.dcm`` file; it appears whole or not at all.
        segments: Masks (D,H,W) on the grid of the series. Where that has more slices than the series, which was not
            evenly spaced, the series' own are written.
        scan: The series that was segmented.
        key: Content hash of the case: equal cases get equal UIDs, so that a PACS sees a repetition as such.

    Raises:
        UserError: No segment holds a voxel on a slice of the series, a name is longer than DICOM allows, or the series
            lacks what DICOM SEG needs.
    """
    if not any(segment.mask[scan.stack.nearest].any() for segment in segments):
        raise UserError("All segments are empty, which DICOM SEG cannot say; correct the prompts, or save seg.nrrd.")
    sources = _sources(scan)
    written = _make(sources, segments, scan, key)
    with replacing(path, lambda file: _check(file, segments, scan)) as temporary:
        written.save_as(temporary)


def dicom_series(path: str | Path, time_point: int | None = None, series: str | None = None) -> DicomScan:
    """The DICOM series that a scan was read from; arguments as for `read_volume`.

    Raises:
        UserError: It is not a DICOM folder.
    """
    if not Path(path).is_dir():
        raise UserError(f"DICOM SEG refers to a DICOM series, and {path} is none; save it as seg.nrrd.")
    return select_scan(Path(path), time_point, series)


def _sources(scan: DicomScan) -> list[Dataset]:
    """Headers of the files, each with what DICOM says must be there but may be empty, and anonymisers leave out."""
    from pydicom import dcmread

    sources: list[Dataset] = [dcmread(file, stop_before_pixels=True) for file in scan.files]
    if len(sources) != len(scan.frames) and len(sources) > 1:
        raise UserError("A DICOM SEG of several multi-frame files is not supported; save it as seg.nrrd.")
    for source in sources:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, None)
    if len(sources) == len(scan.frames) and any(source.get("SliceThickness") is None for source in sources):
        for source in sources:
            source.SliceThickness = _distance_between(scan)
    return sources


def _distance_between(scan: DicomScan) -> float:
    """Distance of neighbouring slices in mm: how thick voxels are where no thickness is stated."""
    if scan.frames[0].position is None or (len(scan.frames) == 1 and scan.frames[0].thickness is None):
        raise UserError(
            f"The series of {scan.frames[0].path} says neither how thick its slices are nor how far apart, which a "
            "DICOM SEG needs; save it as seg.nrrd."
        )
    step = scan.stack.ijk_to_ras[:3, 2]
    return round(float(np.linalg.norm(step) * np.cos(np.radians(scan.stack.tilt))), 6)


def _frames_of(mask: np.ndarray, scan: DicomScan, sources: Sequence[Dataset]) -> np.ndarray:
    """A mask as the series has its slices: one for each file, or for each frame of the only file, in its order."""
    slices = mask[scan.stack.nearest].astype(np.uint8)
    if len(sources) == len(scan.frames):
        return slices
    frames: np.ndarray = np.zeros((int(sources[0].NumberOfFrames), *slices.shape[1:]), dtype=np.uint8)
    frames[[frame.index for frame in scan.frames]] = slices
    return frames


def _make(sources: list[Dataset], segments: Sequence[Segment], scan: DicomScan, key: str) -> Segmentation:
    import highdicom
    from pydicom.uid import generate_uid

    for segment in segments:
        if len(segment.name) > _LONGEST_NAME or "\\" in segment.name:
            raise UserError(
                f"The segment name {segment.name!r} has {len(segment.name)} characters; a DICOM SEG holds "
                f"{_LONGEST_NAME}, and no backslash. Give a shorter one, or save it as seg.nrrd."
            )
    pixels = np.stack([_frames_of(segment.mask, scan, sources) for segment in segments], axis=-1)
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
            series_instance_uid=generate_uid(entropy_srcs=[key, "series"]),
            series_number=9001,
            sop_instance_uid=generate_uid(entropy_srcs=[key, "instance"]),
            instance_number=1,
            manufacturer=_MANUFACTURER,
            manufacturer_model_name=_MODEL,
            software_versions=__version__,
            device_serial_number="0",
            series_description="EfficientMedSAM2 segmentation",
            specific_character_set="ISO_IR 192",  # UTF-8: the series' own may not have the letters of a name
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        folder = scan.frames[0].path.parent
        raise UserError(f"{folder} lacks what a DICOM SEG needs ({error}); save it as seg.nrrd.") from error


def _check(path: Path, segments: Sequence[Segment], scan: DicomScan) -> None:
    """A file that was just written has each segment's voxels on the slices that they are meant for."""
    import highdicom

    found = highdicom.seg.segread(path)
    names = [found.get_segment_description(number).segment_label for number in found.segment_numbers]
    uids = [frame.about["SOPInstanceUID"] for frame in scan.frames]
    if len(set(uids)) == len(uids):
        pixels = found.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    else:
        numbers = [frame.index + 1 for frame in scan.frames]
        pixels = found.get_pixels_by_source_frame(uids[0], numbers, assert_missing_frames_are_empty=True)
    nearest = scan.stack.nearest
    same = all(np.array_equal(pixels[..., n] > 0, segment.mask[nearest]) for n, segment in enumerate(segments))
    if not same or names != [segment.name for segment in segments]:
        raise UserError("The DICOM SEG reads back as another than was written; the disk may be full or damaged.")


def _description(number: int, segment: Segment, color: tuple[float, float, float]) -> SegmentDescription:
    import highdicom

    entry = [*(segment.terminology or terminology_entry(segment.name)).split("~"), *[""] * 7][:7]
    _context, category, kind, modifier, _region_context, region, region_modifier = entry
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_MODEL, version=__version__, family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence")
    )
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=_concept(category),
        segmented_property_type=_concept(kind),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=[_concept(region)] if _is_code(region) else None,
        display_color=highdicom.color.CIELabColor(*_cielab(color)),
    )
    # highdicom has no arguments for modifiers; DICOM PS3.3, C.8.20.4 puts them into the item of the code they modify
    if _is_code(modifier):
        description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            _concept(modifier)
        ]
    if _is_code(region) and _is_code(region_modifier):
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [_concept(region_modifier)]
    return description


def _is_code(code: str) -> bool:
    """Whether a part of a terminology entry, ``scheme^value^meaning``, says anything."""
    return all((*code.split("^"), "", "")[:2])


def _concept(code: str) -> CodedConcept:
    import highdicom

    scheme, value, meaning = (*code.split("^"), "", "")[:3]
    return highdicom.sr.CodedConcept(value[:16] or "85756007", scheme or "SCT", (meaning or "Tissue")[:64])


def _cielab(color: tuple[float, float, float]) -> tuple[float, float, float]:
    """CIE L*a*b* (white point D65) of an sRGB colour in 0 ... 1, by IEC 61966-2-1 and CIE 15.

    Hand-written: highdicom converts colours since 0.27, which needs Python 3.10.
    """
    rgb = np.array(color)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = to_xyz @ linear / (0.9505, 1.0, 1.089)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return float(np.clip(116 * y - 16, 0.0, 100.0)), float(500 * (x - y)), float(200 * (y - z))
