"""Opening a volume, in whatever form it is handed in: the predictor's state."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.predictors.inputs import as_spacing, as_window, to_numpy
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.volume.frames import (
    Frames,
    MovieFrames,
    PictureFrames,
    TensorFrames,
    VolumeFrames,
    is_movie,
)
from EfficientMedSAM2Lib.predictors.volume.state import InputsPerObject, State, mask_inputs, point_inputs
from EfficientMedSAM2Lib.predictors.volume.track import ObjectTrack


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
