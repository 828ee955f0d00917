"""Finished cases: scans with a mask of one structure, from the places where people keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import walk
from EfficientMedSAM2Lib.core.geometry import spacing_of
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, load_image
from EfficientMedSAM2Lib.imaging.segmentations import SEGMENTATION_SUFFIX, read_segment
from EfficientMedSAM2Lib.imaging.volumes import ENDINGS, Volume, read_volume, volume_name

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.dataset.manifest import Manifest, ManifestEntry

_MASK_ENDING = re.compile(r"[_.-](seg|segmentation|label|labels|mask|gt|dseg)$", re.IGNORECASE)
_PATIENT = re.compile(r"(?:[^\d_-]+[_-])*[^_-]*\d[^_-]*")


@dataclass(frozen=True)
class FinishedCase:
    """A scan with its mask.

    Attributes:
        name: What the user calls it.
        patient: Cases of one patient are left out together.
        image: The scan in its window; its label map is 1 where the structure is.
        terminology: Slicer's terminology entry of the segment; empty where the file has none.
        note: What the user should know of the mask, often nothing.
    """

    name: str
    patient: str
    image: LoadedImage
    terminology: str = ""
    note: str = ""


class _Pair(NamedTuple):
    name: str
    scan: Path
    mask: Path
    modality: str | None = None
    time_point: int | None = None
    series: str | None = None


def read_cases(source: Path, segment: str) -> list[FinishedCase]:
    """Read the cases of a structure.

    Args:
        source: What `cohort run` wrote, of which the reviewed cases count; a manifest (`.csv` with the column `mask`,
            or an `index.json`); or a folder of scans with masks beside them, named after them (`case1.nii.gz` and
            `case1.seg.nrrd`, `case1_mask.nii.gz`).
        segment: Name of the structure, or its value in label maps.

    Raises:
        UserError: There is nothing of the kind, a file cannot be read, or a mask is empty.
    """
    from EfficientMedSAM2Lib.cohort.records.ledger import FILE_NAME

    if not source.exists():
        raise UserError(f"There is no {source}; give a folder of scans with masks, a cohort's results, or a manifest.")
    if (source / FILE_NAME).is_file():
        pairs = list(_cohort_pairs(source))
    elif source.suffix.lower() == ".csv":
        pairs = list(_manifest_pairs(source))
    elif source.is_file() or (source / "index.json").is_file():
        return list(_index_cases(source, segment))
    else:
        pairs = list(_folder_pairs(source))
    return [_read(pair, segment) for pair in pairs]


def _read(pair: _Pair, name: str) -> FinishedCase:
    volume = read_volume(pair.scan, pair.time_point, pair.series)
    segment, note = read_segment(pair.mask, volume, name, only=not pair.mask.name.lower().endswith(SEGMENTATION_SUFFIX))
    modality = pair.modality or volume.modality or ""
    image = _image(pair.name, volume, segment.mask, modality)
    return FinishedCase(pair.name, patient_of(pair.name), image, segment.terminology or "", note)


def _image(name: str, volume: Volume, mask: np.ndarray, modality: str) -> LoadedImage:
    window = IntensityWindow(*volume.window) if volume.window else choose_window(volume.array, modality or None)
    i, j, k = (float(step) for step in spacing_of(volume.ijk_to_ras))
    return LoadedImage(
        name=name,
        dataset="cases",
        modality=modality,
        voxels=volume.array,
        labels=mask.astype(np.uint8),
        spacing_mm=(k, j, i),
        window=(float(window.low), float(window.high)),
        label_names={1: "structure"},
    )


def patient_of(name: str) -> str:
    """The patient, from a name such as `patient26_FLAIR`: up to its first part with a digit."""
    match = _PATIENT.match(name)
    return match.group(0) if match else name


def _cohort_pairs(output: Path) -> Iterator[_Pair]:
    """Cases that a reader has corrected or found right: the others are what the network made, which teaches nothing.

    A correction counts also where a later run has computed the case anew.
    """
    from EfficientMedSAM2Lib.cohort.records.folders import SEGMENTATION, case_path, kept_corrections
    from EfficientMedSAM2Lib.cohort.records.ledger import Ledger
    from EfficientMedSAM2Lib.cohort.results.contact_sheet import is_reviewed

    with Ledger(output) as ledger:
        outcomes = [outcome for outcome in ledger.outcomes() if not outcome.failed]
    reviewed = [outcome for outcome in outcomes if is_reviewed(outcome)]
    known = {outcome.name for outcome in reviewed}
    kept = [(name, *found) for name, found in kept_corrections(output).items() if name not in known]
    if not reviewed and not kept:
        raise UserError(
            f"None of the {len(outcomes)} cases of {output} has been reviewed; correct or accept some first."
        )
    for name, record, folder in [*((o.name, o.record, case_path(output, o.name)) for o in reviewed), *kept]:
        mask, asked = folder / SEGMENTATION, record["requested"]
        if mask.is_file():
            scan = Path(record["image"])
            yield _Pair(name, scan, mask, asked["modality"], asked["time_point"], asked.get("series"))


def _manifest_pairs(path: Path) -> Iterator[_Pair]:
    from EfficientMedSAM2Lib.cohort.manifest.read import ManifestError, read_cohort_manifest

    try:
        cases = read_cohort_manifest(path)
    except ManifestError as error:
        raise UserError(error.problems[0]) from error
    for case in cases:
        for spec in case.segments:
            if spec.mask:
                yield _Pair(case.name, Path(case.image), Path(spec.mask), case.modality, case.time_point, case.series)


def _folder_pairs(folder: Path) -> Iterator[_Pair]:
    scans: dict[tuple[Path, str], Path] = {}
    masks: dict[tuple[Path, str], Path] = {}
    for place, files in walk(folder):
        for path in files:
            lower = path.name.lower()
            if not lower.endswith(ENDINGS):
                continue
            ending = next(end for end in sorted(ENDINGS, key=len, reverse=True) if lower.endswith(end))
            bare = path.name[: -len(ending)]
            is_mask = ending == SEGMENTATION_SUFFIX or bool(_MASK_ENDING.search(bare))
            (masks if is_mask else scans)[place, _MASK_ENDING.sub("", bare)] = path
    for key, mask in sorted(masks.items()):
        if key in scans:
            yield _Pair(volume_name(scans[key]), scans[key], mask)
        elif sum(place == key[0] for place, _ in scans) == 1:  # one scan in a folder of its own
            scan = next(path for (place, _), path in scans.items() if place == key[0])
            yield _Pair(f"{key[0].name}", scan, mask)


def _index_cases(source: Path, segment: str) -> Iterator[FinishedCase]:
    from EfficientMedSAM2Lib.evaluation.dataset.manifest import read_manifest

    manifest = read_manifest(source)
    for entry in manifest.entries:
        values = _values(entry, segment)
        if entry.label is not None and values:
            yield _index_case(manifest, entry, values)


def _values(entry: ManifestEntry, segment: str) -> list[int]:
    if segment.isdigit():
        return [int(segment)]
    return [value for value, name in entry.names_of_values.items() if name.lower() == segment.lower()]


def _index_case(manifest: Manifest, entry: ManifestEntry, values: list[int]) -> FinishedCase:
    image = load_image(manifest, entry)
    labels = np.isin(image.labels, values).astype(np.uint8)
    image = replace(image, dataset="cases", labels=labels, label_names={1: "structure"}, unions={})
    return FinishedCase(entry.image, entry.patient, image)


__all__ = ["FinishedCase", "patient_of", "read_cases"]
