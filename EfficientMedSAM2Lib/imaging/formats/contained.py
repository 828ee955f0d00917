"""Where an image's voxels come from: the file itself, or files beside it that it calls by their bare names.

Headers of several formats may name any file of the machine as their voxels. A scan that somebody else has made would
show whoever opens it, or whom the result is sent to, that file. So no path is followed, and no link.
"""

from __future__ import annotations

import gzip
import mmap
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from EfficientMedSAM2Lib.core.errors import UserError

if TYPE_CHECKING:
    import SimpleITK

#: Readers of ITK whose files hold all, or name their voxels in a header that is checked here. The others are left out:
#: HDF5 and MINC follow links inside of the file, Stimulate, GE and Bruker look for files by a folder's layout.
READERS = frozenset(
    f"{name}ImageIO" for name in ("Meta", "Nrrd", "Nifti", "GDCM", "PNG", "JPEG", "TIFF", "BMP", "VTK", "Gipl", "MRC")
)
#: A segmentation with a thousand segments has a header of less.
MAX_HEADER = 1 << 24
_META_KEY, _META_VALUE = b"ElementDataFile", re.compile(rb"[^=:]*[\s=:]*([^\r\n]*)")
_NRRD_FIELD = re.compile(r"\s*data[\s_]*file\s*:=?(.*)", re.IGNORECASE | re.DOTALL)
_META_AXES, AXES = re.compile(rb"NDims[^=:]*[\s=:]*([^\r\n]*)"), {b"1", b"2", b"3", b"4", b"5", b"6", b"7"}
#: A name with one number in it, and the numbers: first, last, step, and perhaps how many axes a file has.
_PATTERN = re.compile(r"([^%]*)%0?\d{0,3}d([^%]*?)(?:\s+-?\d+){3,4}")
_NIFTI_AS_TEXT = b"<nifti_image"


def check_contained(path: Path) -> None:
    """Make sure that an image's voxels are in its file, or in files of the same folder, called by their bare names.

    Bare names have no folder before them, not even a drive; a LIST of them and a numbered pattern may be given, too. A
    file so named must be a file, and no link that leads out of the folder, but for those of git-annex. Files of other
    formats pass.

    Raises:
        UserError: the header names another file, or has no end.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(len(_NIFTI_AS_TEXT))
    named: list[str] = []
    if start.startswith(b"NRRD"):
        named += _named_by_nrrd(path)
    if path.name.lower().endswith((".mha", ".mhd")):
        named += _named_by_meta(path)
    if start.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as unpacked:
                start = unpacked.read(len(_NIFTI_AS_TEXT))
        except (EOFError, zlib.error, gzip.BadGzipFile):
            start = b""  # its reader says so
    if start == _NIFTI_AS_TEXT:
        raise UserError(f"{path} is a NIfTI file written as text, which may name any file; save it as .nii.gz.")
    if path.name.lower().endswith((".hdr", ".img", ".img.gz", ".hdr.gz", ".nii")):
        stem = path.name[: path.name.rfind(".", 0, -3)]
        named += [stem + ending for ending in (".hdr", ".img", ".hdr.gz", ".img.gz") if stem + ending != path.name]
    for name in named:
        _check_name(path, name)


def image_reader(path: Path) -> SimpleITK.ImageFileReader:
    """A reader that is set to a checked file and to the one format that the file has.

    Raises:
        UserError: the header names a file that must not be read, or no reader for this format.
        OSError: the file cannot be read.
    """
    import SimpleITK as sitk

    check_contained(path)
    reader = sitk.ImageFileReader()
    try:
        kind = reader.GetImageIOFromFileName(str(path))
    except RuntimeError:
        kind = ""
    if kind not in READERS:
        raise UserError(
            f"{path} cannot be read as an image: its content is that of no format that is read here, whatever it is "
            "called; save it as NRRD."
        )
    reader.SetFileName(str(path))
    reader.SetImageIO(kind)
    return reader


def _named_by_meta(path: Path) -> Iterator[str]:
    """Every value of the key, wherever it stands: what is a comment to one reader is a field to another."""
    if not path.stat().st_size:
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_META_KEY)
        if any(found[1].strip() not in AXES for found in _META_AXES.finditer(content[: max(at, 0)])):
            # there would be memory for each of them, for minutes
            raise UserError(f"{path} is damaged: its header tells no possible number of axes; export it again.")
        while at >= 0:
            at += len(_META_KEY)
            found = _META_VALUE.match(content, at)
            assert found is not None  # it may be empty
            value = found[1].decode(errors="replace").strip()
            if value.upper().startswith("LIST"):
                yield from content[found.end() : found.end() + MAX_HEADER].decode(errors="replace").splitlines()
            elif value.upper() != "LOCAL":
                yield value
            at = content.find(_META_KEY, at)


def _named_by_nrrd(path: Path) -> Iterator[str]:
    with path.open("rb") as stream:
        while (line := stream.readline(MAX_HEADER)) not in (b"", b"\n", b"\r\n"):
            if stream.tell() > MAX_HEADER:
                raise UserError(f"The header of {path} has no end; export the file again.")
            # one reader ends lines at \r, the other leaves out what is not ASCII: the field is looked for in both ways
            for part in line.decode("ascii", errors="ignore").split("\r"):
                found = _NRRD_FIELD.fullmatch(part)
                value = found[1].strip() if found else ""
                if value.upper().startswith("LIST"):
                    yield from stream.read(MAX_HEADER).decode(errors="replace").splitlines()
                    return
                if found:
                    yield value


def _check_name(path: Path, name: str) -> None:
    """Refuse what is no bare name, and what is there but is no plain file."""
    bare = name.strip()
    if not bare:
        return
    bare = bare.removeprefix("./")
    pattern = _PATTERN.fullmatch(bare)
    parts = pattern.groups() if pattern else (bare,)
    allowed = bare not in ("", ".", "..", "-") and not any(
        sign in '/\\:%"<>|' or not sign.isprintable() for part in parts for sign in part
    )
    if allowed:
        found = [path.with_name(bare)]
        if pattern:
            first, last = parts
            found = [
                entry for entry in path.parent.iterdir() if entry.name.startswith(first) and entry.name.endswith(last)
            ]
        allowed = not any(_leads_away(entry) or (entry.exists() and not entry.is_file()) for entry in found)
    if not allowed:
        raise UserError(
            f"{path} takes its voxels from {bare[:100]!r}; only files beside it are read, by their bare names and not "
            "through links. Save it as one file."
        )


def _leads_away(entry: Path) -> bool:
    """Whether a file is a link out of its folder, other than into the store of the git-annex repository it lies in."""
    if not entry.is_symlink():
        return False
    target = entry.resolve()
    if target.is_relative_to(entry.parent.resolve()):
        return False
    return not any(
        target.is_relative_to(folder / ".git" / "annex" / "objects")
        for folder in (entry.parent.resolve(), *entry.parent.resolve().parents)
    )
