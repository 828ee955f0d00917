"""The headers of a DICOM series without its pixels: what a DICOM SEG refers to, when the files themselves are gone.

They are DICOM files that hold no pixels, packed into one archive in the order of the slices, and are opened as the
series was. Nothing of them is changed but their pixels.
"""

from __future__ import annotations

import io
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.dicom.reader import DicomScan, select_scan

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.volumes import Volume

#: Archives that unpack to more are not of a scan that could be opened, in bytes.
_MOST_BYTES = 2**30
_COMPRESSED_FROM = "1.2.840.10008.1.2.4"  # JPEG and its like; RLE follows
_RLE = "1.2.840.10008.1.2.5"
_PIXEL_DATA = 0x7FE00010


def with_headers(volume: Volume, time_point: int | None = None) -> Volume:
    """A scan that was just read, with the headers of its files where it is DICOM."""
    if volume.dicom is None:
        return volume
    return replace(volume, headers=pack_headers(volume.dicom, time_point), dicom=None)


def pack_headers(scan: DicomScan, time_point: int | None = None) -> bytes:
    """The headers of a series' files as an archive.

    Args:
        scan: The series.
        time_point: With which it was selected, from 0; None for none.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian

    packed, frames = io.BytesIO(), 0
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, file in enumerate(scan.files):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header = dcmread(file, stop_before_pixels=True, force=True)
                syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
                if syntax.startswith(_COMPRESSED_FROM) or syntax == _RLE:  # which say how pixels are written, alone
                    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                header.add_new(_PIXEL_DATA, "OW", b"")
                content = io.BytesIO()
                header.save_as(content, enforce_file_format=bool(syntax))
            frames += int(header.get("NumberOfFrames") or 1)
            archive.writestr(f"{number:05d}.dcm", content.getvalue())
        # of several volumes in one file the same one has to be chosen again
        archive.comment = b"" if time_point is None or frames == len(scan.frames) else str(time_point).encode()
    return packed.getvalue()


@contextmanager
def unpacked_series(packed: bytes, ijk_to_ras: np.ndarray) -> Iterator[DicomScan]:
    """The series of packed headers, as long as the context lasts.

    Args:
        packed: What `pack_headers` has made.
        ijk_to_ras: Matrix of the volume that was read from the series.

    Raises:
        UserError: They are damaged, or of another series.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(io.BytesIO(packed)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                    raise UserError("The headers of the DICOM series are too large.")
                for number, entry in enumerate(archive.infolist()):
                    (Path(folder) / f"{number:05d}.dcm").write_bytes(archive.read(entry))
                scan = select_scan(Path(folder), int(archive.comment) if archive.comment else None)
        except (zipfile.BadZipFile, EOFError) as error:
            raise UserError("The headers of the DICOM series are damaged; open the scan again.") from error
        if not np.allclose(scan.stack.ijk_to_ras, ijk_to_ras, atol=1e-3):
            raise UserError("The headers of the DICOM series are not those of this scan; open the scan again.")
        yield scan
