"""Where the slices of a volume come from: an array, MedSAM2's tensor of prepared slices, or SAM2's folder of pictures.

Slices are made when asked for; nothing is converted or copied as a whole.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.predictors.inputs import to_numpy
from EfficientMedSAM2Lib.predictors.viewport import resize

_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_SPREAD = np.array([0.229, 0.224, 0.225], np.float32)
_PICTURES = (".jpg", ".jpeg", ".png")


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


class TensorFrames:
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

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self._shape

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        image = to_numpy(self._images[index]).astype(np.float32, copy=False)
        array = np.moveaxis(resize(image, self._shape), 0, -1)
        if self._normalised:
            array = array * _IMAGENET_SPREAD + _IMAGENET_MEAN
        return array[..., 0] if array.shape[2] == 1 else array

    def orthogonal_slice(self, along: int, index: int) -> None:
        """See `Frames`."""

    @property
    def volume(self) -> None:
        """See `Frames`."""


class PictureFrames:
    """SAM2's form: a folder of pictures named by frame number, read one at a time."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        path = Path(folder)
        if not path.is_dir():
            raise UserError(f"{path} is not a folder of JPEG or PNG frames; give one, or an array (D,H,W).")
        self._paths = sorted((p for p in path.iterdir() if p.suffix.lower() in _PICTURES), key=_frame_number)
        if not self._paths:
            raise UserError(f"There are no JPEG or PNG frames in {path}.")
        self._shape = self[0].shape[0], self[0].shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        return self._shape

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> np.ndarray:
        from PIL import Image

        with Image.open(self._paths[index]) as picture:
            return np.asarray(picture.convert("RGB"))

    def orthogonal_slice(self, along: int, index: int) -> None:
        """See `Frames`."""

    @property
    def volume(self) -> None:
        """See `Frames`."""


def _frame_number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return (int(digits[-1]) if digits else -1), path.name
