"""What NRRD and MetaImage headers state, where ITK does not tell or does not check it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.formats.contained import MAX_HEADER

#: Deflate packs to no less than a 1032nd.
DEFLATE_AT_MOST = 1040
_NRRD, _META = (".nrrd", ".nhdr"), (".mha", ".mhd")
_META_SIZES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_META_VECTORS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_META_MATRICES = ("TransformMatrix", "Rotation", "Orientation")
_SPATIAL = ("domain", "space")


#: Where a NRRD header ends that lists the files of its voxels.
_LISTED = re.compile(rb"\s*data[\s_]*file\s*:\s*LIST.*", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """What a header says.

    Attributes:
        components: NRRD's word for the axis that is no direction in space; None where there is none, or no word.
        spacing_known: False where it does not say how large a voxel is.
    """

    components: str | None = None
    spacing_known: bool = True


def read_stated(path: Path) -> Stated:
    """What the header of a file says; for other formats than NRRD and MetaImage, what is always so.

    Raises:
        UserError: The header cannot be read, or its file is shorter than it says.
    """
    ending = path.suffix.lower()
    if ending in _NRRD:
        return _read_nrrd(path)
    if ending in _META:
        return _read_meta(path)
    return Stated(spacing_known=ending not in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))


def _read_nrrd(path: Path) -> Stated:
    import nrrd

    try:
        with path.open("rb") as stream:
            # The library reads no LIST of files, which ends a header.
            lines = stream.read(MAX_HEADER).partition(b"\n\n")[0].splitlines()
            listed = [number for number, line in enumerate(lines) if _LISTED.fullmatch(line)]
            stream.seek(0)
            header = nrrd.read_header(lines[: listed[0]] if listed else stream)
            start = stream.tell()
        sizes = [int(size) for size in header["sizes"]]
        itemsize = nrrd.reader._determine_datatype(header).itemsize
    except OSError:
        raise
    except Exception as error:  # nrrd.NRRDError, and whatever a damaged field raises
        reason = " ".join(str(error).split())
        raise UserError(f"its NRRD header is damaged: {reason[:120]}") from error
    data = header.get("data file", header.get("datafile"))
    in_many = bool(listed) or isinstance(data, list) or (isinstance(data, str) and "%" in data)
    encoding = str(header.get("encoding", "raw")).lower()
    if isinstance(data, str) and not in_many:
        start, path = 0, path.parent / data
    if not in_many and encoding not in ("ascii", "text", "txt", "hex"):
        packed = encoding in ("gz", "gzip", "bz2", "bzip2")
        _check_size(path, start, _product(sizes) * int(itemsize), packed)
    kinds = [str(kind).lower() for kind in header.get("kinds") or ()]
    others = [kind for kind in kinds if kind not in _SPATIAL]
    stated = [kind for kind in others if kind not in ("none", "???")]
    if "time" in stated:
        raise UserError("its fourth axis is of the kind 'time', which ITK does not read; save it with the kind 'list'")
    sized = header.get("space directions") is not None or _is_sized(header.get("spacings"))
    return Stated(stated[0] if len(stated) == 1 else None, sized)


def _is_sized(spacings: Sequence[float] | None) -> bool:
    return spacings is not None and sum(1 for value in spacings if math.isfinite(float(value))) >= 2


def _read_meta(path: Path) -> Stated:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        for line in iter(lambda: stream.readline(4096), b""):
            name, found, value = line.decode("latin-1").partition("=")
            if not found:
                break
            fields[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":
                break
        start = stream.tell()
    if "ElementDataFile" not in fields:
        raise UserError("it is no MetaImage file, or is cut off within its header")
    try:
        sizes = [int(value) for value in fields["DimSize"].split()]
        kind = fields["ElementType"].replace("MET_", "").replace("_ARRAY", "")
        itemsize = _META_SIZES[kind[1:] if kind[:1] == "U" else kind]
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        _check_meta_fields(fields, len(sizes))
        packed_size = int(fields.get("CompressedDataSize", "0"))
    except (KeyError, ValueError) as error:
        raise UserError(f"its MetaImage header is damaged: {error}") from error
    data = fields["ElementDataFile"]
    packed = fields.get("CompressedData", "False").lower().startswith("t")
    if packed_size < 0 or (packed_size > path.stat().st_size and data.upper() == "LOCAL"):
        raise UserError("it is cut off or damaged: fewer bytes are there than its header announces")
    if data.upper() == "LOCAL":
        _check_size(path, start, _product(sizes) * itemsize * channels, packed)
    elif not data.upper().startswith("LIST") and "%" not in data:
        _check_size(path.parent / data, 0, _product(sizes) * itemsize * channels, packed)
    return Stated(spacing_known="ElementSpacing" in fields or "ElementSize" in fields)


def _check_meta_fields(fields: dict[str, str], dimensions: int) -> None:
    """ITK takes the number of dimensions on trust, and memory for it: a wrong one ends the process."""
    if int(fields["NDims"]) != dimensions or not 1 <= dimensions <= 5:
        raise UserError(f"NDims is {fields['NDims']} and DimSize has {dimensions} numbers")
    for name, value in fields.items():
        expected = dimensions if name in _META_VECTORS else dimensions**2 if name in _META_MATRICES else None
        if expected is not None and (len(value.split()) != expected or not all(map(_is_number, value.split()))):
            raise UserError(f"{name} is {value[:60]!r}, and should be {expected} numbers")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _product(sizes: Sequence[int]) -> int:
    if not sizes or min(sizes) < 1:
        raise UserError(f"its header is damaged: the sizes are {' x '.join(map(str, sizes)) or 'missing'}")
    return math.prod(sizes)


def _check_size(path: Path, start: int, expected: int, packed: bool) -> None:
    """Compare with what the header announces, before memory is taken for it."""
    try:
        found = os.path.getsize(path) - start
    except OSError as error:
        raise UserError(f"the file with its voxels, {path}, is missing") from error
    if expected > found * (DEFLATE_AT_MOST if packed else 1):
        raise UserError(f"it is cut off or damaged: {expected} bytes of voxels are announced, {found} are there")
