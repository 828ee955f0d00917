"""Files that were cut off are noticed, libraries' messages are kept off the terminal, and tables are safe to open."""

from __future__ import annotations

import csv
import ctypes
import gzip
import logging
import math
import os
import struct
import sys
import tempfile
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import readable_name, replacing

logger = logging.getLogger(__name__)

_CHUNK = 1 << 22
#: Unicode's categories of control characters, and of what ends a line or a paragraph.
_CONTROLS = ("Cc", "Zl", "Zp")
#: What a spreadsheet takes for a formula when a cell begins with it; the wide ones are turned into the others.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@contextmanager
def quiet_libraries() -> Iterator[list[str]]:
    """Collect what C and C++ libraries print inside the block; the list is filled when the block ends.

    ITK, GDCM, libpng and the NIfTI reader write to the file descriptor of stderr, libjpeg to that of stdout, so it is
    the descriptors that are turned away. One that is not there (closed, a Windows program without console) is left.
    """
    lines: list[str] = []
    kept: dict[int, int] = {}
    with tempfile.TemporaryFile() as caught:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            try:
                stream.flush()
                kept[number] = os.dup(number)
            except (AttributeError, OSError, ValueError):
                continue
            os.dup2(caught.fileno(), number)
        try:
            yield lines
        finally:
            _flush_c_streams()
            for number, original in kept.items():
                os.dup2(original, number)
                os.close(original)
            caught.seek(0)
            text = caught.read().decode("utf-8", errors="replace")
            lines.extend(line for line in text.splitlines() if line.strip())
            for line in lines:
                logger.debug("library message: %s", line)


def one_line(text: str) -> str:
    """Text without line breaks and other control characters, which become spaces; spaces are not repeated."""
    return " ".join("".join(" " if unicodedata.category(sign) in _CONTROLS else sign for sign in text).split())


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it.

    Names of segments, cases and files may come from somebody else, and a formula can send a table away.
    """
    is_formula = isinstance(value, str) and (value.lstrip().startswith(_FORMULA) or value[:1] in ("\t", "\r", "\n"))
    return f"'{value}" if is_formula else value


def from_csv_cell(text: str) -> str:
    """The inverse of ``csv_cell`` for text."""
    return text[1:] if text.startswith("'") and csv_cell(text[1:]) == text else text


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with these columns; nothing a table program would take for a formula.

    Raises:
        UserError: The file cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: "" if value is None else csv_cell(value) for name, value in row.items()} for row in rows
        )


def _flush_c_streams() -> None:
    """What C has not written yet would be seen after the block."""
    with suppress(AttributeError, OSError, TypeError):  # Windows has no library of that name
        ctypes.CDLL(None).fflush(None)


def check_name(path: Path) -> None:
    """Refuse a path that is not UTF-8: half of the libraries crash on it, and no result could tell it.

    Raises:
        UserError: It says the name, with its strange bytes as numbers.
    """
    if readable_name(str(path)) != str(path):
        raise UserError(f"The name {readable_name(str(path))} is not UTF-8 text; rename the file or folder.")


def check_complete(path: Path) -> None:
    """Compare a ``.nii`` or ``.nii.gz`` with the size that its header announces; other files pass.

    ITK reads a NIfTI file that was cut off without a word, and fills the missing slices with zeros.

    Raises:
        UserError: the file is shorter.
    """
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        return
    compressed = _is_gzip(path)
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            expected = _announced_size(stream.read(352))
        if expected is None:
            return  # not NIfTI: the reader says so
        complete = _unpacked_size_is(path, expected) if compressed else path.stat().st_size >= expected
    except (OSError, EOFError, zlib.error, OverflowError, ValueError):  # an offset may be infinite or no number
        complete = False
    if not complete:
        raise UserError(f"{path} cannot be read as an image (it is cut off or damaged); copy or export it again.")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _announced_size(header: bytes) -> int | None:
    """Bytes of header and voxels together; None where there is no NIfTI header."""
    for order in "<>":
        if len(header) >= 348 and struct.unpack_from(f"{order}i", header)[0] == 348:
            return _size(struct.unpack_from(f"{order}8h", header, 40), header, f"{order}h", 72, f"{order}f", 108)
        if len(header) >= 176 and struct.unpack_from(f"{order}i", header)[0] == 540:
            return _size(struct.unpack_from(f"{order}8q", header, 16), header, f"{order}h", 14, f"{order}q", 168)
    return None


def _size(dimensions: Any, header: bytes, bits: str, bits_at: int, offset: str, offset_at: int) -> int:
    voxels = math.prod(max(1, size) for size in dimensions[1 : 1 + max(0, min(7, dimensions[0]))])
    start = struct.unpack_from(offset, header, offset_at)[0]
    return int(start) + voxels * int(struct.unpack_from(bits, header, bits_at)[0]) // 8


def _unpacked_size_is(path: Path, expected: int) -> bool:
    """The gzip trailer tells the size of the last member, which is all of it nearly always; else unpack and
    count, no further than that."""
    with path.open("rb") as stream:
        stream.seek(-4, 2)
        if struct.unpack("<I", stream.read(4))[0] == expected % (1 << 32):
            return True
    count = 0
    with gzip.open(path) as unpacked:
        while count < expected and (chunk := unpacked.read(min(_CHUNK, expected - count))):
            count += len(chunk)
    return count >= expected
