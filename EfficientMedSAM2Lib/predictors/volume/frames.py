"""A volume as the propagator sees it, and where its slices come from: an array, MedSAM2's tensor of prepared slices,
SAM2's folder of pictures, or a video file.

Slices are made when asked for; nothing is converted or copied as a whole.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.predictors.inputs import to_numpy
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage
from EfficientMedSAM2Lib.predictors.viewport import resize

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
_JPEG, _PNG = (".jpg", ".jpeg"), (".png",)
_MOVIES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
"""Names that are taken for a video file's; SAM2 takes the first alone."""


class Frames(Protocol):
    """A sequence of slices, all of one shape (rows, columns)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """One slice (H,W) or (H,W,3)."""

    def orthogonal_slice(self, along: int, index: int) -> np.ndarray | None:
        """A slice across all slices, along a row (0) or a column (1) of theirs, (D,W) or (D,H), or with a third axis of
        colours; None where slices are made one by one."""

    @property
    def volume(self) -> np.ndarray | None:
        """All slices, (D,H,W) or (D,H,W,3); None where they are made one by one."""


class PropagationRun(NamedTuple):
    """One run over slices.

    Attributes:
        start: Its first slice.
        reverse: Whether it runs towards slice 0.
    """

    start: int
    reverse: bool


@dataclasses.dataclass(frozen=True)
class VolumeContext:
    """A volume as the propagator sees it.

    Attributes:
        frames: The slices.
        window: Intensities spread over 0...1.
        slice_spacing: mm between rows, between columns.
        slice_mm: mm between slices.
        cache: Features of slices.
    """

    frames: Frames
    window: IntensityWindow
    slice_spacing: tuple[float, float]
    slice_mm: float
    cache: FeatureCache

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self.frames.shape

    def image(self, frame_idx: int) -> SliceImage:
        """A slice with all that is needed to show it to the network."""
        return SliceImage(self.frames[frame_idx], self.window, self.slice_spacing, frame_idx)


class VolumeFrames:
    """Slices of an array (D,H,W) or (D,H,W,3) perpendicular to one of its first three axes, as views of it."""

    def __init__(self, volume: np.ndarray, axis: int) -> None:
        if volume.ndim not in (3, 4) or (volume.ndim == 4 and volume.shape[3] not in (1, 3, 4)) or volume.size == 0:
            raise UserError(f"A volume must be (D,H,W) or (D,H,W,3) and not empty; this one has shape {volume.shape}.")
        if volume.dtype.kind not in "buif":
            raise UserError(f"A volume needs real numbers, not {volume.dtype}.")
        if axis not in (0, 1, 2):
            raise UserError(f"The slicing axis must be 0, 1 or 2 (k, j or i), not {axis!r}.")
        if volume.ndim == 4:
            volume = volume[..., 0] if volume.shape[3] == 1 else volume[..., :3]
        self._slices = np.moveaxis(volume, axis, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self._slices.shape[1], self._slices.shape[2]

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._slices[index]

    def orthogonal_slice(self, along: int, index: int) -> np.ndarray:
        """See `Frames`; a view of the array."""
        return self._slices[:, index] if along == 0 else self._slices[:, :, index]

    @property
    def volume(self) -> np.ndarray:
        """See `Frames`; a view of the array."""
        return self._slices


class _FramesOneByOne:
    """What frames have in common that are made one by one, and not of an array."""

    _shape: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self._shape

    def orthogonal_slice(self, along: int, index: int) -> None:
        """See `Frames`."""

    @property
    def volume(self) -> None:
        """See `Frames`."""


class TensorFrames(_FramesOneByOne):
    """MedSAM2's form: a tensor [D,3,S,S], scaled and ImageNet-normalised, of slices that were (height, width)."""

    def __init__(self, images: Any, video_height: int, video_width: int) -> None:
        if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[0] == 0:
            raise UserError(f"Prepared slices must be a tensor [D,3,S,S], not of shape {tuple(images.shape)}.")
        if video_height < 1 or video_width < 1:
            raise UserError(f"video_height and video_width must be positive, not {video_height} and {video_width}.")
        self._images = images
        self._shape = (int(video_height), int(video_width))
        # Negative values show that the mean was subtracted; the first, middle and last slice tell enough.
        probe = images[[0, len(images) // 2, len(images) - 1]]
        self._normalised = bool((probe < 0).any())

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        image = to_numpy(self._images[index]).astype(np.float32, copy=False)
        array = np.moveaxis(resize(image, self._shape), 0, -1)
        if self._normalised:
            array = array * _IMAGENET_SPREAD + _IMAGENET_MEAN
        return array[..., 0] if array.shape[2] == 1 else array


class PictureFrames(_FramesOneByOne):
    """SAM2's form: a folder of pictures named by frame number, read one at a time.

    Where there are JPEG files, only they are frames, as in SAM2: what else lies there may be masks.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        path = Path(folder)
        if not path.is_dir():
            raise UserError(f"{path} is not a folder of JPEG or PNG frames; give one, or an array (D,H,W).")
        files = [p for p in path.iterdir() if not p.name.startswith(".")]
        pictures = next(filter(None, ([p for p in files if p.suffix.lower() in kind] for kind in (_JPEG, _PNG))), [])
        self._paths = sorted(pictures, key=_frame_number)
        if not self._paths:
            raise UserError(f"There are no JPEG or PNG frames in {path}.")
        self._shape = self[0].shape[0], self[0].shape[1]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        from PIL import Image

        with Image.open(self._paths[index]) as picture:
            return np.asarray(picture.convert("RGB"))


class MovieFrames(_FramesOneByOne):
    """Frames (H,W,3) uint8 of a video, read one at a time through decord, the library that SAM2 reads them with.

    Args:
        source: Path of the file, or its bytes.

    Raises:
        UserError: There is no such file, it is no video, or decord is not installed.
    """

    def __init__(self, source: str | os.PathLike[str] | bytes) -> None:
        self._source = source
        self._reader = _open(source)
        self._shape = self[0].shape[0], self[0].shape[1]

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> np.ndarray:
        frame = self._reader[index]
        # The caller may have set decord to give tensors, as SAM2 does.
        return np.asarray(frame.asnumpy() if hasattr(frame, "asnumpy") else to_numpy(frame))

    def __reduce__(self) -> Any:
        return type(self), (self._source,)


def is_movie(source: Any) -> bool:
    """Whether a source of slices is a video file, or the bytes of one."""
    return isinstance(source, bytes) or (
        isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() in _MOVIES and not Path(source).is_dir()
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


def _frame_number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1), path.name
