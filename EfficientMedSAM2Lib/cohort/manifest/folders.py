"""Cases found in a folder: scans, and the markups that lie beside them or, in BIDS, among the derivatives."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import readable_name, walk
from EfficientMedSAM2Lib.imaging.dicom.headers import has_dicom_mark
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, NpzPrompts, read_npz_prompts
from EfficientMedSAM2Lib.imaging.markups import SUFFIX as MARKUPS_ENDING
from EfficientMedSAM2Lib.imaging.markups import markup_name
from EfficientMedSAM2Lib.imaging.segmentations import SEGMENTATION_SUFFIX
from EfficientMedSAM2Lib.imaging.volumes import ENDINGS, volume_name

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".dcm")  # single slices and screen shots are no scans of a cohort
_SCANS = tuple(ending for ending in ENDINGS if ending not in (*_PICTURES, SEGMENTATION_SUFFIX))
_BIDS_LABELMAPS = ("dseg", "probseg", "mask", "roi")
_LABEL = re.compile(r"(?:^|_)(?:label|desc|seg)-([^_]+)")
#: BIDS suffix -> modality.
_MODALITIES = {"ct": "CT", "pet": "PT", "us": "US"}
_MR = re.compile(
    r"(T[12]w|T[12]star|T2starw|FLAIR|PDw|PDT2|inplaneT[12]|UNIT1|T[12]map|dwi|bold|sbref|angio|MRI?)$", re.IGNORECASE
)


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        rows: Lines of a manifest, one for each markups file or class of an .npz, with absolute paths.
        without_prompts: Scans that no markups file belongs to.
        without_scan: Markups files that belong to no scan, or to more than one.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    without_prompts: list[Path] = field(default_factory=list)
    without_scan: list[Path] = field(default_factory=list)


def find_cases(folder: Path) -> Found:
    """Scans with their markups.

    A markups file belongs to the scan in its folder whose name its own name begins with, or to the only scan there is.
    A folder of DICOM files is a scan, named after the folder; its markups lie in it or beside it. Other images in it,
    label maps as a rule, are scans only for the markups that are named after them. An ``.npz`` of MedSAM or a challenge
    without markups brings its own boxes and clicks.

    Raises:
        UserError: There is no such folder, or a file in it has a name that a manifest cannot hold.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; check the name.")
    scans: dict[Path, list[Path]] = {}
    markups: list[Path] = []
    for place, files in walk(folder):
        markups += [path for path in files if path.name.lower().endswith(MARKUPS_ENDING)]
        images = [path for path in files if _is_scan(path)]
        if any(has_dicom_mark(path) for path in files if path not in images):
            scans.setdefault(place, []).append(place)
            if place != folder:
                scans.setdefault(place.parent, []).append(place)
        if images:
            scans.setdefault(place, []).extend(images)
    _check_names([*markups, *(scan for listed in scans.values() for scan in listed)])
    return _matched(scans, markups, folder)


def bids_cases(folder: Path) -> Found:
    """Lines for a BIDS folder: each scan of each subject, with the markups beside it or in ``derivatives``.

    A markups file is named as its scan, with the structure in an entity: ``sub-01_ct.nii.gz`` and
    ``sub-01_label-liver_markups.mrk.json``, beside it or at the same place below ``derivatives/<pipeline>/``.

    Raises:
        UserError: It is not a BIDS folder, it holds no scan with markups, or a name that a manifest cannot hold.
    """
    if not (folder / "dataset_description.json").is_file():
        raise UserError(f"{folder} is not a BIDS folder (no dataset_description.json); use cohort init, or a manifest.")
    folder = folder.absolute()
    scans: dict[Path, list[Path]] = {}
    markups: list[tuple[Path, Path]] = []  # place among the subjects' folders, file
    for place, files in walk(folder):
        parts = place.relative_to(folder).parts
        derived = parts[:1] == ("derivatives",)
        parts = parts[2:] if derived else parts
        if not parts or not parts[0].startswith("sub-"):
            continue
        markups += [(Path(*parts), path) for path in files if path.name.lower().endswith(MARKUPS_ENDING)]
        if not derived:
            scans.setdefault(Path(*parts), []).extend(path for path in files if _is_bids_scan(path))
    _check_names([*(path for _, path in markups), *(scan for listed in scans.values() for scan in listed)])
    found = Found()
    for place, path in sorted(markups, key=lambda markup: markup[1]):
        scan = _bids_scan(path, scans.get(place, []))
        if scan is None:
            found.without_scan.append(path)
            continue
        modality = _bids_modality(scan)
        row = {"case": volume_name(scan), "image": str(scan), "prompts": str(path), "segment": _structure(path, scan)}
        found.rows.append(row if modality is None else {**row, "modality": modality})
    if not found.rows:
        lost = f" ({len(found.without_scan)} markups files are named as none, or as more than one)" * bool(markups)
        raise UserError(
            f"{folder} holds no scan with markups{lost}; name them as their scan: sub-01_label-liver{MARKUPS_ENDING}."
        )
    used = {row["image"] for row in found.rows}
    found.without_prompts = [scan for listed in scans.values() for scan in listed if str(scan) not in used]
    return found


def _check_names(paths: list[Path]) -> None:
    """Refuse names that are not text: neither a manifest nor a result can hold them."""
    wrong = sorted({str(path) for path in paths if readable_name(str(path)) != str(path)})
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"The name {readable_name(wrong[0])}{more} is not UTF-8 text; rename it first.")


def _matched(scans: dict[Path, list[Path]], markups: list[Path], folder: Path) -> Found:
    found = Found()
    pairs = []
    for path in markups:
        beside = scans.get(path.parent, [])
        named = [scan for scan in beside if _begins_with(markup_name(path), volume_name(scan))]
        # a DICOM series is the scan of its folder, whatever else lies there
        only = [path.parent] if path.parent in beside else beside if len(beside) == 1 else []
        scan = max(named, key=lambda scan: len(volume_name(scan)), default=only[0] if only else None)
        if scan is None:
            found.without_scan.append(path)
        else:
            pairs.append((path, scan, _structure(path, scan)))
    inside = {(scan, structure) for path, scan, structure in pairs if scan == path.parent}
    used = set()
    for path, scan, structure in pairs:
        if scan != path.parent and (scan, structure) in inside:  # the folder has its own of this name
            found.without_scan.append(path)
            continue
        used.add(scan)
        found.rows.append(
            {"case": _case_name(scan, folder), "image": str(scan), "prompts": str(path), "segment": structure}
        )
    everything = dict.fromkeys(scan for listed in scans.values() for scan in listed)
    for scan in (scan for scan in everything if scan not in used):
        own = _npz_rows(scan, folder)
        found.rows += own
        if not own:
            found.without_prompts.append(scan)
    found.rows.sort(key=lambda row: row["case"])
    return found


def _npz_rows(scan: Path, folder: Path) -> list[dict[str, Any]]:
    """A line for each class that an .npz has boxes or clicks of; none for other scans and unusable files."""
    if not scan.name.lower().endswith(NPZ_SUFFIX):
        return []
    try:
        prompts = read_npz_prompts(scan)
    except ValueError:
        return []
    case = _case_name(scan, folder)
    return [{"case": case, "image": str(scan), "segment": str(entry.label), **_in_voxels(entry)} for entry in prompts]


def _in_voxels(entry: NpzPrompts) -> dict[str, str]:
    """Columns of a manifest: box and clicks in i, j, k.

    Where the slice with the box is the middle one of those with the object, an ROI says both.
    """
    columns = {}
    if entry.box_kji is not None:
        (k, _), (j0, j1), (i0, i1) = entry.box_kji
        low, stop = entry.slices or (k, k + 1)
        if (low + stop) // 2 != k:
            low, stop = k, k + 1
        columns["box_ijk"] = ",".join(map(str, (i0, j0, low, i1 - 1, j1 - 1, stop - 1)))
    for column, wanted in (("points_ijk", True), ("negative_points_ijk", False)):
        points = [",".join(map(str, kji[::-1])) for kji, positive in entry.points if positive == wanted]
        if points:
            columns[column] = "; ".join(points)
    return columns


def _case_name(scan: Path, folder: Path) -> str:
    """Folders and name joined: many cohorts have one folder a patient, and in each the same file names."""
    parts = (*scan.relative_to(folder).parts[:-1], volume_name(scan)) if scan != folder else (volume_name(scan),)
    name = re.sub(r"[^\w .()+=@-]", "_", "-".join(parts)).strip(" .") or "case"
    return name if len(name) <= 100 else f"{name[:91].strip(' .')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _structure(markups: Path, scan: Path) -> str:
    """Name of the structure: a label entity, else the file's name without that of the scan."""
    name = markup_name(markups)
    label = _LABEL.search(name)
    if label:
        return label[1]
    rest = name[len(volume_name(scan)) :] if _begins_with(name, volume_name(scan)) else name
    return rest.strip(" _-.") or name


def _begins_with(name: str, scan: str) -> bool:
    """Whether a name is the scan's, perhaps with more behind it: "ct1" is not meant by "ct10_liver"."""
    return name.startswith(scan) and not name[len(scan) : len(scan) + 1].isalnum()


def _bids_scan(markups: Path, scans: list[Path]) -> Path | None:
    """The scan with all entities (sub, ses, acq, run, ...) among those of the markups; the one with most."""
    parts = set(markup_name(markups).split("_"))
    entities = {scan: {part for part in volume_name(scan).split("_") if "-" in part} for scan in scans}
    suffixes = {scan: volume_name(scan).rsplit("_", 1)[-1] for scan in scans}
    fitting = [scan for scan in scans if entities[scan] <= parts]
    fitting = [scan for scan in fitting if suffixes[scan] in parts] or fitting
    best = [scan for scan in fitting if len(entities[scan]) == max(len(entities[other]) for other in fitting)]
    return best[0] if len(best) == 1 else None


def _bids_modality(scan: Path) -> str | None:
    suffix = volume_name(scan).rsplit("_", 1)[-1]
    return "MR" if _MR.match(suffix) else _MODALITIES.get(suffix.lower())


def _is_scan(path: Path) -> bool:
    name = path.name.lower()
    return name.endswith(_SCANS) and not name.endswith(SEGMENTATION_SUFFIX) and not path.name.startswith(".")


def _is_bids_scan(path: Path) -> bool:
    """BIDS says by its suffix what a file is: masks and segmentations beside a scan are none."""
    return _is_scan(path) and volume_name(path).rsplit("_", 1)[-1] not in _BIDS_LABELMAPS
