"""The predictor's state, a plain dict as in SAM2: opening a volume, numbering objects, reading results out.

What was given of each object is under SAM2's keys as well: read from the objects, never stored twice.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any, TypedDict

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.predictors.inputs import as_number, as_spacing, as_window, to_numpy
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage
from EfficientMedSAM2Lib.predictors.viewport import NO_OBJECT_LOGIT
from EfficientMedSAM2Lib.predictors.volume.frames import (
    Frames,
    MovieFrames,
    PictureFrames,
    TensorFrames,
    VolumeContext,
    VolumeFrames,
    is_movie,
)
from EfficientMedSAM2Lib.predictors.volume.track import FramePrompts, ObjectTrack, SliceOutcome

FILLED_LOGIT = 0.1
"""Logit of a filled hole, as in SAM2."""
OVERLAP_LOGIT = -10.0
"""Highest logit of an object where another one is surer, as in SAM2."""

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


def mask_inputs(shape: tuple[int, int], track: ObjectTrack) -> Inputs:
    """Masks (1,1,H,W) float32 by slice, where a mask was given last; shape is that of a slice."""
    return {
        frame_idx: track.results[frame_idx].mask.full(shape)[None, None].astype(np.float32)
        for frame_idx, given in track.prompts.items()
        if _is_mask(given)
    }


def _is_mask(given: FramePrompts) -> bool:
    return given.is_mask and given.box is None and len(given.points) == 0


class State(TypedDict):
    """All that is known of a volume and its objects; SAM2's keys as far as it has them.

    Attributes:
        images: The slices.
        num_frames: Their number.
        video_height: Rows of a slice.
        video_width: Columns of a slice.
        device: Where the network is.
        storage_device: Where masks are.
        offload_video_to_cpu: As given to `init_state`.
        offload_state_to_cpu: As given to `init_state`.
        cached_features: Features of slices.
        obj_ids: Names of the objects.
        obj_id_to_idx: Their numbers by name.
        obj_idx_to_id: Their names by number.
        point_inputs_per_obj: Clicks and boxes by number of the object and by slice.
        mask_inputs_per_obj: Masks in the same way.
        tracks: What is known of each object.
        axis: Slices are `volume.take(frame_idx, axis)`.
        window: Intensities shown to the network.
        slice_spacing: mm between rows, between columns.
        slice_mm: mm between slices.
    """

    images: Frames
    num_frames: int
    video_height: int
    video_width: int
    device: Any
    storage_device: str
    offload_video_to_cpu: bool
    offload_state_to_cpu: bool
    cached_features: FeatureCache
    obj_ids: list[Hashable]
    obj_id_to_idx: OrderedDict[Hashable, int]
    obj_idx_to_id: OrderedDict[int, Hashable]
    point_inputs_per_obj: InputsPerObject
    mask_inputs_per_obj: InputsPerObject
    tracks: dict[Hashable, ObjectTrack]
    axis: int
    window: IntensityWindow
    slice_spacing: tuple[float, float]
    slice_mm: float


def open_state(
    source: Any,
    spacing: Any,
    modality: Any,
    axis: int,
    window: Any,
    video_height: int | None,
    video_width: int | None,
    cache: FeatureCache,
    device: Any,
) -> State:
    """The state for a volume; arguments as `EfficientMedSAM2VolumePredictor.init_state`, whose source is any of three.

    Raises:
        UserError: Not a volume, or spacing, axis or window make no sense.
    """
    if source is None:
        raise UserError("Give a volume: an array (D,H,W) or (D,H,W,3).")
    # SAM2 has its flags where `spacing`, `modality` and `axis` are, MedSAM2 where `axis` and `window` are.
    offload = [value for value in (spacing, modality, axis, window) if isinstance(value, bool)]
    spacing, modality, window = (None if isinstance(value, bool) else value for value in (spacing, modality, window))
    axis = 0 if isinstance(axis, bool) else axis
    if isinstance(spacing, (int, np.integer)) and isinstance(modality, (int, np.integer)):
        # MedSAM2's scripts give height and width as second and third argument.
        video_height, video_width, spacing, modality = int(spacing), int(modality), None, None
    frames: Frames
    if is_movie(source) or isinstance(source, (str, os.PathLike)):
        frames = MovieFrames(source) if is_movie(source) else PictureFrames(source)
        chosen = IntensityWindow(0.0, 255.0) if window is None else as_window(window, frames[0][None], modality)
        axis = 0
    elif video_height is not None or video_width is not None:
        if video_height is None or video_width is None or not hasattr(source, "detach"):
            raise UserError("Prepared slices are a tensor [D,3,S,S] with both video_height and video_width.")
        frames = TensorFrames(source, video_height, video_width)
        chosen = IntensityWindow(0.0, 1.0) if window is None else as_window(window, frames[0][None], modality)
        axis = 0
    else:
        volume = to_numpy(source)
        frames = VolumeFrames(volume, axis)
        chosen = as_window(window, volume, modality)
    millimetres = as_spacing(spacing, 3)
    rows, columns = (value for number, value in enumerate(millimetres) if number != axis)
    tracks: dict[Hashable, ObjectTrack] = {}
    return {
        "images": frames,
        "num_frames": len(frames),
        "video_height": frames.shape[0],
        "video_width": frames.shape[1],
        "device": device,
        "storage_device": "cpu",
        "offload_video_to_cpu": any(offload[:1]),
        "offload_state_to_cpu": any(offload[1:2]),
        "cached_features": cache,
        "obj_ids": [],
        "obj_id_to_idx": OrderedDict(),
        "obj_idx_to_id": OrderedDict(),
        "point_inputs_per_obj": InputsPerObject(tracks, point_inputs),
        "mask_inputs_per_obj": InputsPerObject(tracks, partial(mask_inputs, frames.shape)),
        "tracks": tracks,
        "axis": axis,
        "window": chosen,
        "slice_spacing": (rows, columns),
        "slice_mm": millimetres[axis],
    }


def slice_shape(state: State) -> tuple[int, int]:
    """Rows and columns of a slice."""
    return state["video_height"], state["video_width"]


def check_frame(state: State, frame_idx: Any) -> int:
    """The number of a slice, from an integer of Python, numpy or torch.

    Raises:
        UserError: Not a whole number from 0 to num_frames - 1.
    """
    number = as_number(frame_idx)
    if not isinstance(number, int) or not 0 <= number < state["num_frames"]:
        raise UserError(f"There is no slice {frame_idx}; slices are numbered 0 to {state['num_frames'] - 1}.")
    return number


def check_prompts(obj_id: Hashable, track: ObjectTrack) -> None:
    """Refuse an object that there is nothing to start from.

    Raises:
        RuntimeError: It has no prompts.
    """
    if not track.prompts:
        raise RuntimeError(f"No input points or masks are provided for object id {obj_id}; please add inputs first.")


def volume_of(state: State) -> VolumeContext:
    """The state's volume, without its objects."""
    return VolumeContext(
        state["images"], state["window"], state["slice_spacing"], state["slice_mm"], state["cached_features"]
    )


def slice_image(state: State, frame_idx: int) -> SliceImage:
    """A slice with all that is needed to show it to the network."""
    return volume_of(state).image(check_frame(state, frame_idx))


def track_of(state: State, obj_id: Hashable) -> ObjectTrack:
    """What is known of an object.

    Raises:
        KeyError: There is no such object.
    """
    track = state["tracks"].get(obj_id)
    if track is None:
        raise KeyError(f"There is no object id {obj_id}; there are {state['obj_ids']}.")
    return track


def register(state: State, obj_id: Hashable, track: ObjectTrack) -> None:
    """Put an object's track in its place, a new object at the end."""
    state["tracks"][obj_id] = track
    if obj_id not in state["obj_id_to_idx"]:
        renumber(state)


def renumber(state: State) -> None:
    """Bring the object numbers up to date with the tracks."""
    state["obj_ids"] = list(state["tracks"])
    state["obj_id_to_idx"] = OrderedDict((obj_id, i) for i, obj_id in enumerate(state["tracks"]))
    state["obj_idx_to_id"] = OrderedDict(enumerate(state["tracks"]))


def video_logits(
    state: State, frame_idx: int, outcomes: dict[Hashable, SliceOutcome], holes_filled: bool, non_overlapping: bool
) -> np.ndarray:
    """Logits (N,1,H,W) float32 of all objects on a slice.

    Args:
        state: The state.
        frame_idx: The slice.
        outcomes: What was just predicted, by object; the others are read from their bits.
        holes_filled: Whether masks may have more pixels than their logits say.
        non_overlapping: Whether each pixel is left to the surest object.
    """
    shape = slice_shape(state)
    full = np.full((len(state["obj_ids"]), 1, *shape), NO_OBJECT_LOGIT, np.float32)
    for i, obj_id in enumerate(state["obj_ids"]):
        result = state["tracks"][obj_id].results.get(frame_idx)
        if result is None or result.mask.is_empty:
            continue
        outcome = outcomes.get(obj_id)
        if outcome is not None and outcome.prediction is not None:
            full[i, 0] = outcome.prediction.full_logits(outcome.choice, shape)
        else:
            placed = result.placed()
            if placed is not None:
                full[i, 0] = placed.on_slice(shape)
        if holes_filled:
            mask = result.mask.full(shape)
            full[i, 0][mask & (full[i, 0] <= 0)] = FILLED_LOGIT
    return without_overlap(full) if non_overlapping else full


def without_overlap(logits: np.ndarray) -> np.ndarray:
    """Logits (N,1,H,W) that leave each pixel to the surest object; the others have `OVERLAP_LOGIT` there at most."""
    others = np.arange(len(logits))[:, None, None, None] != logits.argmax(axis=0)
    return np.where(others, np.minimum(logits, np.float32(OVERLAP_LOGIT)), logits)
