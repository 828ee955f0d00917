"""Headers of DICOM files: one `Frame` for each image in them, and what cannot be read by name."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.imaging.dicom.frames import TIME_TAGS, Frame, frame_of, whole_number
from EfficientMedSAM2Lib.imaging.formats.files import check_name, one_line

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "Rows",
    "Columns",
    "NominalScannedPixelSpacing",
    "NumberOfFrames",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SamplesPerPixel",
    "InstanceNumber",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "GridFrameOffsetVector",
    "DetectorInformationSequence",
    *TIME_TAGS,
)
_DIRECTORY = "1.2.840.10008.1.3.10"
_MOST_FRAMES = 1_000_000
_IS_UID = re.compile(r"[0-9.]{1,64}")
_STANDARD = "1.2.840.10008."
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
#: Files of these endings are DICOM by what they are called.
_ENDINGS = (".dcm", ".dicom", ".ima")
_PIXELS = {b"\xe0\x7f\x10\x00", b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00"}
_PIXELS_BIG_ENDIAN = {b"\x7f\xe0\x00\x10", b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09"}
_UNDEFINED = 0xFFFFFFFF
#: Characters of each part of a title, and of a UID's end, which differs between series.
_LONGEST_PART, _UID_ENDING = 40, 8


class DicomError(UserError):
    """A DICOM file that is none, is cut off, or holds no image; the text says which of them, without its name.

    Attributes:
        series: SeriesInstanceUID, or "" where the file does not tell.
    """

    def __init__(self, reason: str, series: str = "") -> None:
        super().__init__(reason)
        self.series = series


@dataclass(frozen=True)
class Unreadable:
    """A DICOM file that is not whole. ``series`` is empty where the file ends before it tells."""

    path: Path
    series: str
    reason: str


def is_dicom(path: Path) -> bool:
    """True for a file in DICOM format: by its mark, by its first element (old files have no mark), or by its ending."""
    if path.suffix.lower() in _ENDINGS:
        return True
    with path.open("rb") as stream:
        start = stream.read(132)
    return start[128:] == b"DICM" or _is_bare(start)


def has_dicom_mark(path: Path) -> bool:
    """Whether a file carries the mark of DICOM, "DICM" at byte 128; False where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _is_bare(start: bytes) -> bool:
    """An old file without preamble begins with group 0002 or 0008, and a short first element."""
    if (
        len(start) < 12
        or start[:2] not in (b"\x08\x00", b"\x02\x00")
        or start[2:4]
        not in (
            b"\x00\x00",
            b"\x01\x00",
            b"\x05\x00",
            b"\x08\x00",
            b"\x12\x00",
            b"\x16\x00",
        )
    ):
        return False
    return (start[4:6].isalpha() and start[4:6].isupper()) or int.from_bytes(start[4:8], "little") < 120


def title_of(path: Path) -> tuple[str, str]:
    """What an image file says of patient, study and series, each where it does, and the ending of the series' UID."""
    import pydicom

    wanted = ["PatientID", "PatientName", "StudyDescription", "SeriesNumber", "SeriesDescription"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        about = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*wanted, "SeriesInstanceUID"], force=True)
        patient, name, *others = (one_line(str(about.get(tag) or "")) for tag in wanted)
        uid = one_line(str(about.get("SeriesInstanceUID") or ""))
    parts = [patient or name, *others]
    return " ".join(part[:_LONGEST_PART] for part in parts if part), uid[-_UID_ENDING:].strip(".")


def series_of(files: Sequence[Path]) -> list[tuple[str, str, int]]:
    """UID, patient, study and series in words, and number of images of each series among files; most images first."""
    import pydicom

    counts: dict[str, int] = {}
    firsts: dict[str, Path] = {}
    wanted = ["SeriesInstanceUID", "Rows", "NumberOfFrames", "SOPClassUID"]
    for path in files:
        with warnings.catch_warnings(), contextlib.suppress(Exception):  # what is damaged is said when it is read
            warnings.simplefilter("ignore")
            if not is_dicom(path):
                continue
            about = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(wanted), force=True)
            if not about.get("Rows") or about.get("SOPClassUID") in _SEGMENTATIONS:
                continue
            uid = str(about.get("SeriesInstanceUID") or "")
            counts[uid] = counts.get(uid, 0) + int(about.get("NumberOfFrames") or 1)
            firsts.setdefault(uid, path)
    order = sorted(counts, key=lambda uid: (-counts[uid], uid))
    return [(uid, " ".join(part for part in title_of(firsts[uid]) if part), counts[uid]) for uid in order]


def windows_of(path: Path, frame: int = 0) -> tuple[IntensityWindow, ...]:
    """The windows that an image file wants to be shown in, in its order; none where they cannot be used.

    They are of the values after rescaling. What is stored inverted (MONOCHROME1) has none: it is read as it is.
    """
    import pydicom

    wanted = ["WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"]
    groups = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
    found: list[IntensityWindow] = []
    with warnings.catch_warnings(), contextlib.suppress(TypeError, ValueError, LookupError, AttributeError):
        warnings.simplefilter("ignore")
        tags = [*wanted, *groups, "PhotometricInterpretation"]
        about = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
        if about.get("PhotometricInterpretation") != "MONOCHROME2":
            return ()
        shared, own = (about.get(group) or [] for group in groups)
        items = [*own[frame : frame + 1], *shared[:1]]
        nested = (item for group in items for item in group.get("FrameVOILUTSequence") or [])
        source = about if "WindowCenter" in about else next(nested, about)
        levels, widths, names = (_several(source.get(tag)) for tag in wanted)
        for number, (level, width) in enumerate(zip(levels, widths)):
            name = one_line(str(names[number])) if number < len(names) else ""
            with contextlib.suppress(UserError):
                window = IntensityWindow.from_width_level(float(width), float(level), name[:_LONGEST_PART] or "file")
                found += [] if any((w.low, w.high) == (window.low, window.high) for w in found) else [window]
    return tuple(found)


def _several(value: Any) -> list[Any]:
    """Values of an element that may hold one, several or none."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    try:
        return list(value)
    except TypeError:
        return [value]


def read_folder(files: Sequence[Path]) -> tuple[list[Frame], list[Unreadable], dict[str, int]]:
    """Frames of all DICOM images among files; what is DICOM and cannot be read; and how many objects hold no image.

    Other files are passed over, unless they are named like the images beside them but for a number: a slice that was
    destroyed looks like no DICOM at all.

    Raises:
        UserError: The name of a DICOM file is not UTF-8.
    """
    frames: list[Frame] = []
    unreadable: list[Unreadable] = []
    others: dict[str, int] = {}
    unclear: list[Path] = []
    patterns: set[tuple[Path, str]] = set()
    for path in files:
        if path.name.upper() == "DICOMDIR":
            continue
        try:
            if not path.is_file() or not is_dicom(path):  # a link may lead nowhere
                unclear.append(path)
                continue
            check_name(path)
            found = read_frames(path)
        except OSError as error:
            unreadable.append(Unreadable(path, "", error.strerror or str(error)))
        except NotAnImage as error:
            others[str(error)] = others.get(str(error), 0) + 1
        except DicomError as error:
            unreadable.append(Unreadable(path, error.series, str(error)))
        else:
            frames += found
            patterns.add(_pattern(path))
    unreadable += [
        Unreadable(path, "", "it is no DICOM file, or a broken link") for path in unclear if _pattern(path) in patterns
    ]
    return frames, unreadable, others


class NotAnImage(DicomError):
    """A whole DICOM object without pixels, such as a report; its text names the kind."""


def read_frames(path: Path, segmentations: bool = False) -> list[Frame]:
    """Frames of one DICOM file.

    Args:
        path: The file.
        segmentations: Take those of a DICOM SEG; else it is `NotAnImage`.

    Raises:
        NotAnImage: It is whole, and holds no image.
        DicomError: It cannot be read.
    """
    header = read_header(path)
    try:
        if str(header.get("SOPClassUID", "")) in _SEGMENTATIONS and not segmentations:
            raise NotAnImage("Segmentation Storage")
        count = whole_number(header, "NumberOfFrames") or 1
        rows, columns = whole_number(header, "Rows"), whole_number(header, "Columns")
        if not rows or not columns or not 1 <= count <= _MOST_FRAMES:
            raise _error("its header gives no size of the image", header)
        shape = (rows, columns, whole_number(header, "SamplesPerPixel") or 1)
        return [frame_of(path, header, index, count, shape) for index in range(count)]
    except DicomError:
        raise
    except Exception as error:  # pydicom reads elements when they are asked for, and raises nearly everything
        raise _error("its header is damaged", header) from error


def read_header(path: Path) -> Dataset:
    """The elements before the pixels that a scan's place needs.

    Raises:
        NotAnImage: No pixels follow, and none should.
        DicomError: It is cut off or damaged, or is not DICOM.
    """
    from pydicom import dcmread

    size = path.stat().st_size
    if size == 0:
        raise DicomError("it is empty")
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(_TAGS))
            at, start = stream.tell(), stream.read(12)
            # the file's own header comes first, and is whole where the rest is cut off
            kinds = (header.file_meta.get("MediaStorageSOPClassUID"), header.get("SOPClassUID"))
            syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    except Exception as error:  # a damaged header raises nearly everything
        raise DicomError("it is cut off or damaged") from error
    kind = next((str(kind) for kind in kinds if isinstance(kind, str) and _IS_UID.fullmatch(kind)), "")
    if kind == _DIRECTORY:
        raise NotAnImage("DICOMDIR")
    if not kind and "Rows" not in header:
        raise DicomError("it is no DICOM file, or is cut off")
    if syntax == "1.2.840.10008.1.2.1.99":  # deflated: what follows lies in an unpacked copy
        return header
    big_endian = syntax == "1.2.840.10008.1.2.2"
    if start[:4] not in (_PIXELS_BIG_ENDIAN if big_endian else _PIXELS):
        name = _class_name(kind)
        if "Rows" in header or "Image" in name or not name:
            raise _error("it is cut off: its pixels are missing", header)
        raise NotAnImage(name)
    has_type = start[4:6].isalpha()
    length = int.from_bytes(start[8:12] if has_type else start[4:8], "big" if big_endian else "little")
    if length != _UNDEFINED and at + (12 if has_type else 8) + length > size:
        raise _error("it is cut off", header)
    return header


def _class_name(kind: str) -> str:
    """DICOM's name of a kind of object; empty for one that DICOM should know, and does not."""
    from pydicom.uid import UID

    name = str(UID(kind).name)
    if name != kind:
        return name
    return "" if kind.startswith(_STANDARD) else f"an object of class {kind}"


def _error(reason: str, header: Dataset) -> DicomError:
    try:
        series = str(header.get("SeriesInstanceUID", "") or "")
    except Exception:  # damaged, too
        series = ""
    return DicomError(reason, series)


def _pattern(path: Path) -> tuple[Path, str]:
    return path.parent, re.sub(r"\d+", "0", path.name)
