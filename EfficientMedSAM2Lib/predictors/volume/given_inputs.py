"""What was given of each object, under SAM2's keys of the state: read from the objects, never stored twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.predictors.volume.track import FramePrompts, ObjectTrack

Inputs = dict[int, Any]


class InputsPerObject(Mapping[int, Inputs]):
    """By number of the object, by slice, as SAM2's "point_inputs_per_obj" and "mask_inputs_per_obj".

    Args:
        tracks: The objects by id, in the order of their numbers.
        read: The inputs of one object by slice.
    """

    def __init__(self, tracks: dict[Hashable, ObjectTrack], read: Callable[[ObjectTrack], Inputs]) -> None:
        self._tracks, self._read = tracks, read

    def __getitem__(self, number: int) -> Inputs:
        if not 0 <= number < len(self._tracks):
            raise KeyError(number)
        return self._read(list(self._tracks.values())[number])

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._tracks)))

    def __len__(self) -> int:
        return len(self._tracks)


def point_inputs(track: ObjectTrack) -> Inputs:
    """Clicks and boxes by slice: "point_coords" (1,N,2) float32 in pixels of the slice, "point_labels" (1,N) int32.

    As in SAM2 a box is two points first, with labels 2 and 3.
    """
    return {frame_idx: _points(given) for frame_idx, given in track.prompts.items() if not _is_mask(given)}


def _points(given: FramePrompts) -> dict[str, np.ndarray]:
    corners = np.zeros((0, 2)) if given.box is None else given.box.reshape(2, 2)
    labels = np.concatenate([[2, 3][: len(corners)], given.labels])
    return {
        "point_coords": np.concatenate([corners, given.points])[None].astype(np.float32),
        "point_labels": labels[None].astype(np.int32),
    }


class MaskInputs:
    """Masks (1,1,H,W) float32 by slice, where a mask was given last.

    Args:
        shape: Rows and columns of a slice.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape

    def __call__(self, track: ObjectTrack) -> Inputs:
        """The masks of one object."""
        return {
            frame_idx: track.results[frame_idx].mask.full(self._shape)[None, None].astype(np.float32)
            for frame_idx, given in track.prompts.items()
            if _is_mask(given)
        }


def _is_mask(given: FramePrompts) -> bool:
    return given.is_mask and given.box is None and len(given.points) == 0


__all__ = ["InputsPerObject", "MaskInputs", "point_inputs"]
