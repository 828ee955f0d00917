"""The session's temporary folder: uploads arrive here in bounds, are checked before use, and leave no path behind."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...imaging.contained import check_contained, image_reader
from ...imaging.files import last_line, quiet_libraries
from ...imaging.markups import SUFFIX as MARKUPS_SUFFIX
from ...imaging.segmentations import SEGMENTATION_SUFFIX
from ...imaging.volumes import ENDINGS, FORMATS

MEGABYTE = 2**20
#: A DICOM study of whole-body CT has about 2000 files.
MAX_FILES = 10_000
#: Voxels may take so many times the bytes that may be uploaded: files are compressed, memory is not.
UNPACKED_FACTOR = 4
#: A markups file of thousands of points has less.
MAX_MARKUPS = 8 * MEGABYTE
#: Files that come with a header of their own.
COMPANIONS = (".raw", ".zraw", ".img", ".gz", ".bz2")
_ABSOLUTE_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^/\\\s'\":;,()]+){2,}")
#: Folders made here; what is uploaded keeps no folder of its own.
_FOLDER = r"[\w-]+"
_STRANGE = re.compile(r"[^\w.\- ]+")


class TooLarge(ValueError):
    """More was sent than is allowed."""


@dataclass(frozen=True)
class Upload:
    """Files that were sent together and have passed the checks of names and sizes.

    Attributes:
        path: The image file, or the folder of DICOM files.
        name: What the user calls it.
        is_segmentation: A ``.seg.nrrd``, for the open volume.
        markups: Prompts for the open volume, as ``.mrk.json`` files; then there is no image.
    """

    path: Path
    name: str
    is_segmentation: bool = False
    markups: tuple[Path, ...] = ()


class Workspace:
    """Files of one session.

    Args:
        folder: An empty folder of this session only; ``clear`` empties it.
        max_bytes: Most that one upload may hold.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    @property
    def limit_text(self) -> str:
        """The limit for the user."""
        return f"{self.max_bytes / MEGABYTE:.0f} MB"

    def inbox(self) -> Inbox:
        """A place for the files of one upload."""
        self.clear()
        return Inbox(self)

    def clear(self) -> None:
        """Remove what was uploaded or made for a download."""
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    def public(self, text: str) -> str:
        """A message without any path of this machine."""
        text = re.sub(rf"{re.escape(str(self.folder))}/(?:{_FOLDER}/)*", "", text)
        text = text.replace(str(self.folder), "the upload")
        return _ABSOLUTE_PATH.sub(lambda found: PurePosixPath(found[0].replace("\\", "/")).name, text)


class Inbox:
    """Takes files chunk by chunk and refuses what is too much while it comes in."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.folder = workspace.folder / "upload"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.names: list[str] = []
        self.received = 0

    def create(self, name: str) -> Path:
        """A path for the next file; only the last part of its name is used, cleaned of what is no letter or digit."""
        if len(self.names) >= MAX_FILES:
            raise TooLarge(f"More than {MAX_FILES} files were sent; send one series at a time.")
        clean = _STRANGE.sub("_", PurePosixPath(str(name).replace("\\", "/")).name).strip(" .") or "file"
        if (self.folder / clean).exists():  # files of the same name from different folders of a study
            clean = f"{len(self.names):05d}-{clean}"
        self.names.append(clean)
        return self.folder / clean

    def count(self, size: int) -> None:
        """More bytes have come in; TooLarge when they are too many."""
        self.received += size
        if self.received > self.workspace.max_bytes:
            raise TooLarge(f"The upload is larger than {self.workspace.limit_text}, which is the limit here.")

    def finish(self) -> Upload:
        """Check what has come in: kinds, sizes, archives.

        Raises:
            ValueError: nothing usable, or too much when unpacked.
        """
        files = [self.folder / name for name in self.names]
        if not files or not self.received:
            raise ValueError("Nothing was sent; choose a file, or the files of a DICOM series.")
        if len(files) == 1 and zipfile.is_zipfile(files[0]):
            name = files[0].name
            files = self._unpack(files[0])
            return self._classify(files, name.rsplit(".", 1)[0])
        return self._classify(files, files[0].name)

    def _classify(self, files: list[Path], name: str) -> Upload:
        if files and all(file.name.lower().endswith((MARKUPS_SUFFIX, ".json")) for file in files):
            for file in files:
                if file.stat().st_size > MAX_MARKUPS:
                    raise TooLarge(f"{file.name!r} is too large for prompts; at most {MAX_MARKUPS // MEGABYTE} MB.")
            return Upload(self.folder, name, markups=tuple(files))
        images = [file for file in files if _ending(file) and _ending(file) != ".dcm"]
        if len(images) == 1 and all(file in images or file.suffix.lower() in COMPANIONS for file in files):
            upload = Upload(images[0], images[0].name, images[0].name.lower().endswith(SEGMENTATION_SUFFIX))
            check_header(images[0], images[0].name, self.workspace.max_bytes * UNPACKED_FACTOR)
            return upload
        dicom = [file for file in files if _is_dicom(file)]
        for file in files:
            if file not in dicom:
                file.unlink(missing_ok=True)
        if not dicom:
            raise ValueError(f"{name!r} is not an image that can be opened; use {FORMATS}.")
        folder = dicom[0].parent
        check_header(dicom[0], name, self.workspace.max_bytes * UNPACKED_FACTOR // len(dicom))
        return Upload(dicom[0] if len(dicom) == 1 else folder, name)

    def _unpack(self, archive: Path) -> list[Path]:
        """The archive's files in a flat folder: names and folders inside of it never become paths here."""
        try:
            with zipfile.ZipFile(archive) as opened:
                entries = [entry for entry in opened.infolist() if not entry.is_dir() and not _is_junk(entry.filename)]
                total = sum(entry.file_size for entry in entries)
                if total > self.workspace.max_bytes * UNPACKED_FACTOR or len(entries) > MAX_FILES:
                    raise TooLarge(
                        f"The archive unpacks to {total / MEGABYTE:.0f} MB in {len(entries)} files; that is too much."
                    )
                self.names, folder = [], self.folder / "unpacked"
                folder.mkdir()
                self.folder = folder
                for entry in entries:
                    self._unpack_entry(opened, entry, total)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise ValueError(f"The archive cannot be unpacked ({last_line(error)}); pack it again.") from error
        return [self.folder / name for name in self.names]

    def _unpack_entry(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, total: int) -> None:
        written = 0
        with opened.open(entry) as source, self.create(entry.filename).open("wb") as target:
            for chunk in iter(lambda: source.read(MEGABYTE), b""):
                written += len(chunk)
                if written > total:  # the archive's index does not tell the truth
                    raise TooLarge("The archive holds more than it says.")
                target.write(chunk)


def check_header(path: Path, name: str, max_bytes: int) -> None:
    """Read an image's header only: is it an image, and do its voxels fit into memory?

    Raises:
        ValueError: It is none, or they do not.
    """
    check_contained(path)
    try:
        with quiet_libraries():
            reader = image_reader(path)
            reader.ReadImageInformation()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name!r} is not an image that can be opened; use {FORMATS}.") from error
    size = 1
    for count in reader.GetSize():
        size *= int(count)
    size *= reader.GetNumberOfComponents() * _bytes_of(reader.GetPixelID())
    if size > max_bytes:
        raise TooLarge(f"{name!r} takes {size / MEGABYTE:.0f} MB in memory; at most {max_bytes / MEGABYTE:.0f} MB can.")


def file_name(text: str, ending: str) -> str:
    """A name for a download."""
    return (_STRANGE.sub("_", text).strip(" .") or "volume")[:100] + ending


def unique(names: Iterable[str], make: Callable[[str, int], str]) -> list[str]:
    """Names that differ: a name that has come up before is made anew with a number."""
    taken: list[str] = []
    for name in names:
        wanted, number = name, 2
        while wanted.lower() in (other.lower() for other in taken):
            wanted, number = make(name, number), number + 1
        taken.append(wanted)
    return taken


def _ending(path: Path) -> str:
    return next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), "")


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _is_junk(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")


def _bytes_of(pixel_id: int) -> int:
    import SimpleITK as sitk

    one = {sitk.sitkInt8, sitk.sitkUInt8, sitk.sitkVectorUInt8, sitk.sitkVectorInt8}
    two = {sitk.sitkInt16, sitk.sitkUInt16, sitk.sitkVectorInt16, sitk.sitkVectorUInt16}
    eight = {sitk.sitkInt64, sitk.sitkUInt64, sitk.sitkFloat64, sitk.sitkVectorFloat64, sitk.sitkComplexFloat32}
    return 1 if pixel_id in one else 2 if pixel_id in two else 8 if pixel_id in eight else 4
