"""Checks of an upload before it is read: archives, kinds of files, and whether the voxels fit into memory."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import last_line
from EfficientMedSAM2Lib.imaging.dicom.headers import has_dicom_mark
from EfficientMedSAM2Lib.imaging.dicom.segmentations import holds_segments
from EfficientMedSAM2Lib.imaging.formats.contained import check_contained
from EfficientMedSAM2Lib.imaging.formats.itk_files import voxel_bytes
from EfficientMedSAM2Lib.imaging.markups import SUFFIX as MARKUPS_SUFFIX
from EfficientMedSAM2Lib.imaging.segmentations import SEGMENTATION_SUFFIX
from EfficientMedSAM2Lib.imaging.volumes import ENDINGS, FORMATS
from EfficientMedSAM2Lib.web.session.workspace import MAX_FILES, MEGABYTE, Inbox, TooLarge, Workspace

#: Voxels may take so many times the bytes that may be uploaded: files are compressed, memory is not.
UNPACKED_FACTOR = 4
#: A markups file of thousands of points has less.
MAX_MARKUPS = 8 * MEGABYTE
#: Files that come with a header of their own.
COMPANIONS = (".raw", ".zraw", ".img", ".gz", ".bz2")


@dataclass(frozen=True)
class Upload:
    """Files that were sent together and have passed the checks of names and sizes.

    Attributes:
        name: What the user calls it.
        scan: The image file, or the folder of DICOM files; None when the files are for the open volume.
        segmentation: A ``.seg.nrrd``, DICOM SEG or RTSTRUCT, for the scan or the open volume.
        markups: Prompts for it, as ``.mrk.json`` files.
    """

    name: str
    scan: Path | None = None
    segmentation: Path | None = None
    markups: tuple[Path, ...] = ()


def check_upload(workspace: Workspace, files: list[Path]) -> Upload:
    """Check what has come in: kinds, sizes, archives.

    Raises:
        UserError: nothing usable, or too much when unpacked.
    """
    if not any(file.stat().st_size for file in files):
        raise UserError("Nothing was sent; choose a file, or the files of a DICOM series.")
    name = files[0].name
    if len(files) == 1 and zipfile.is_zipfile(files[0]):
        return _classify(workspace, _unpack(workspace, files[0]), name.rsplit(".", 1)[0])
    prompts = [file for file in files if file.suffix.lower() == ".zip" and zipfile.is_zipfile(file)]
    if len(prompts) == 1:  # prompts of several segments are saved as one, and opened beside their scan or segmentation
        files = [*(file for file in files if file not in prompts), *_unpack(workspace, prompts[0])]
    return _classify(workspace, files, name)


def _classify(workspace: Workspace, files: list[Path], name: str) -> Upload:
    markups = tuple(file for file in files if file.name.lower().endswith((MARKUPS_SUFFIX, ".json")))
    for file in markups:
        if file.stat().st_size > MAX_MARKUPS:
            raise TooLarge(f"{file.name!r} is too large for prompts; at most {MAX_MARKUPS // MEGABYTE} MB.")
    files = [file for file in files if file not in markups]
    if markups and not files:
        return Upload(name, markups=markups)
    images = [file for file in files if _ending(file) and _ending(file) != ".dcm"]
    segmentations = [file for file in images if file.name.lower().endswith(SEGMENTATION_SUFFIX)]
    scans = [file for file in images if file not in segmentations]
    are_known = all(file in images or file.suffix.lower() in COMPANIONS for file in files)
    if images and are_known and len(scans) <= 1 and len(segmentations) <= 1:
        first = (scans or segmentations)[0]
        _check_memory(workspace, images, first.name)
        scan, segmentation = (found[0] if found else None for found in (scans, segmentations))
        return Upload(first.name, scan, segmentation, markups)
    dicom = [file for file in files if has_dicom_mark(file)]
    for file in files:
        if file not in dicom:
            file.unlink(missing_ok=True)
    if not dicom:
        raise UserError(f"{name!r} is not an image that can be opened; use {FORMATS}.")
    made = [file for file in dicom if holds_segments(file)]  # planning systems export scan and contours together
    if len(made) == len(dicom) == 1:
        return Upload(name, segmentation=made[0], markups=markups)
    if len(made) > 1:
        raise UserError(f"{len(made)} DICOM segmentations came together; open them one after the other.")
    dicom = [file for file in dicom if file not in made]
    _check_memory(workspace, dicom, name)
    for file in (*markups, *images):
        if file not in dicom and file.parent == dicom[0].parent:
            raise UserError(f"{file.name!r} came with DICOM files; open the scan first, then what belongs to it.")
    segmentation = made[0] if made else None
    return Upload(name, dicom[0] if len(dicom) == 1 else dicom[0].parent, segmentation)


def _unpack(workspace: Workspace, archive: Path) -> list[Path]:
    """The archive's files in a flat folder: names and folders inside of it never become paths here."""
    inbox = Inbox(workspace, "unpacked")
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir() and not _is_junk(entry.filename)]
            total = sum(entry.file_size for entry in entries)
            if total > workspace.max_bytes * UNPACKED_FACTOR or len(entries) > MAX_FILES:
                raise TooLarge(
                    f"The archive unpacks to {total / MEGABYTE:.0f} MB in {len(entries)} files; that is too much."
                )
            for entry in entries:
                _unpack_entry(opened, entry, inbox, total)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise UserError(f"The archive cannot be unpacked ({last_line(error)}); pack it again.") from error
    return inbox.files


def _unpack_entry(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, inbox: Inbox, total: int) -> None:
    written = 0
    with opened.open(entry) as source, inbox.create(entry.filename).open("wb") as target:
        for chunk in iter(lambda: source.read(MEGABYTE), b""):
            written += len(chunk)
            if written > total:  # the archive's index does not tell the truth
                raise TooLarge("The archive holds more than it says.")
            target.write(chunk)


def _check_memory(workspace: Workspace, files: list[Path], name: str) -> None:
    """Read the headers only: are they images, and do their voxels fit into memory together?

    Raises:
        UserError: One is none, or they do not.
    """
    most, size = workspace.max_bytes * UNPACKED_FACTOR, 0
    for file in files:
        check_contained(file)
        try:
            size += voxel_bytes(file)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{name!r} is not an image that can be opened; use {FORMATS}.") from error
        if size > most:
            raise TooLarge(
                f"{name!r} takes {size / MEGABYTE:.0f} MB in memory or more; at most {most / MEGABYTE:.0f} MB can."
            )


def _ending(path: Path) -> str:
    return next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")


def _is_junk(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")
