"""Frames of a video file, read one at a time through decord, the library that SAM2 reads them with."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.predictors.inputs import to_numpy

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
"""Names that are taken for a video file's; SAM2 takes the first alone."""


class MovieFrames:
    """Frames (H,W,3) uint8 of a video.

    Args:
        source: Path of the file, or its bytes.

    Raises:
        UserError: There is no such file, it is no video, or decord is not installed.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._source = source
        self._reader = _open(source)
        self._shape = self[0].shape[0], self[0].shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self._shape

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> np.ndarray:
        frame = self._reader[index]
        # The caller may have set decord to give tensors, as SAM2 does.
        return np.asarray(frame.asnumpy() if hasattr(frame, "asnumpy") else to_numpy(frame))

    def orthogonal_slice(self, along: int, index: int) -> None:
        """See `Frames`."""

    @property
    def volume(self) -> None:
        """See `Frames`."""

    def __reduce__(self) -> Any:
        return type(self), (self._source,)


def is_movie(source: Any) -> bool:
    """Whether a source of slices is a video file, or the bytes of one."""
    return isinstance(source, bytes) or (
        isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in SUFFIXES and not Path(source).is_dir()
    )


def _open(source: str | os.PathLike[str] | bytes) -> Any:
    name = "The video" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise UserError(f"{name} does not exist; give the path of a video file or of a folder of JPEG frames.")
    try:
        import decord
    except (ImportError, OSError) as error:
        raise UserError(
            f"Reading a video file needs decord: pip install decord ({error}). "
            "Or save its frames as JPEG files named by number, and give their folder."
        ) from error
    try:
        return decord.VideoReader(io.BytesIO(source) if isinstance(source, bytes) else str(source))
    except Exception as error:  # decord has errors of its own, which differ between its versions
        raise UserError(
            f"{name} cannot be read as a video: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error


__all__ = ["MovieFrames", "is_movie"]
