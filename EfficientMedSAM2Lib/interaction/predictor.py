"""What a session needs of a volume predictor, and one predictor state per slicing axis over one shared volume."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from EfficientMedSAM2Lib.core.windows import IntensityWindow, has_contrast
from EfficientMedSAM2Lib.predictors.slices.proposals import SearchedSlice
from EfficientMedSAM2Lib.predictors.slices.similarity import SliceFeatures


class VolumePredictor(Protocol):
    """The methods of EfficientMedSAM2VolumePredictor that a session calls; anything that has them will do.

    A frame is a slice ``volume.take(frame_idx, axis)``; points are (x, y) pixels on it, boxes XYXY pixels.
    """

    def init_state(
        self,
        volume: np.ndarray,
        *,
        spacing: Any,
        modality: str | None,
        axis: int,
        window: IntensityWindow,
    ) -> Any:
        """State for a volume (D,H,W[,3]) with spacing in mm (k, j, i order), sliced along ``axis``."""

    def add_new_points_or_box(
        self,
        inference_state: Any,
        frame_idx: int,
        obj_id: int,
        points: Any = None,
        labels: Any = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: Any = None,
        *,
        need_output: bool = True,
    ) -> Any:
        """Prompt one slice; the result is read by ``slice_mask``, so that a session needs no output."""

    def add_new_mask(
        self,
        inference_state: Any,
        frame_idx: int,
        obj_id: int,
        mask: np.ndarray,
        *,
        need_output: bool = True,
    ) -> Any:
        """Give the mask of one slice."""

    def clear_all_prompts_in_frame(
        self, inference_state: Any, frame_idx: int, obj_id: int, need_output: bool = True
    ) -> Any:
        """Take an object's prompts on a slice back."""

    def propagate_object(
        self,
        inference_state: Any,
        obj_id: int,
        start_frame_idx: int,
        frames: Iterable[int],
        reverse: bool = False,
    ) -> Iterator[tuple[int, np.ndarray, float]]:
        """Yield (frame_idx, mask bool HxW, score 0..1) of one object for ``frames`` in order."""

    def slice_mask(self, inference_state: Any, obj_id: int, frame_idx: int) -> np.ndarray | None:
        """Mask of a slice (bool HxW), None when it has none."""

    def slice_score(self, inference_state: Any, obj_id: int, frame_idx: int) -> float | None:
        """Predicted IoU x probability that the object is on the slice, 0..1."""

    def snapshot_object(self, inference_state: Any, obj_id: int) -> Any:
        """Immutable copy of all that is known of an object, None when it is absent."""

    def restore_object(self, inference_state: Any, obj_id: int, snapshot: Any) -> None:
        """Bring an object back to a snapshot; None removes it."""

    def slice_logits(self, inference_state: Any, obj_id: int, frame_idx: int) -> np.ndarray | None:
        """Logits (H,W) of a slice's mask, None where it was given, or there is none."""

    def slice_features(self, inference_state: Any, frame_idx: int) -> SliceFeatures:
        """What the encoder sees of a slice, for finding places that are alike."""

    def search_object(self, inference_state: Any) -> Iterator[SearchedSlice]:
        """Look for the structure of the network's task, a slice at a time; UserError where it has learnt none."""

    def reset_state(self, inference_state: Any) -> None:
        """Forget all objects."""

    def prefetch(self, inference_state: Any, frame_idx: int, obj_id: int | None = None) -> Any:
        """Compute a slice's features before they are asked for."""


def warm_up(predictor: Any) -> None:
    """One click and one propagated slice on a small volume, so that the first click is as fast as the others."""
    volume = np.zeros((2, 64, 64), dtype=np.int16)
    volume[:, 20:40, 20:40] = 100
    state = predictor.init_state(volume, spacing=(1.0, 1.0, 1.0), axis=0)
    click = {"points": np.array([[30.0, 30.0]]), "labels": np.array([1])}
    predictor.add_new_points_or_box(state, 0, 1, **click, need_output=False)
    for _result in predictor.propagate_object(state, 1, 0, [1]):
        pass


class AxisStates:
    """The predictor's states for one volume: one per slicing axis, made when first needed, on views of one array.

    Args:
        predictor: Any VolumePredictor.
        volume: (D,H,W) or (D,H,W,3), never written.
        spacing_kji: mm between voxels.
        modality: DICOM modality or None.
        window: Intensities shown to the network.
    """

    def __init__(
        self,
        predictor: VolumePredictor,
        volume: np.ndarray,
        spacing_kji: tuple[float, float, float],
        modality: str | None,
        window: IntensityWindow,
    ) -> None:
        self.predictor = predictor
        self.volume = volume
        self.spacing_kji = spacing_kji
        self.modality = modality
        self.window = window
        self._states: dict[int, Any] = {}

    def __getitem__(self, axis: int) -> Any:
        """State for slices along ``axis``."""
        if axis not in self._states:
            self._states[axis] = self.predictor.init_state(
                self.volume, spacing=self.spacing_kji, modality=self.modality, axis=axis, window=self.window
            )
        return self._states[axis]

    def give_prompts(
        self,
        axis: int,
        index: int,
        obj_id: int,
        points_xy: list[tuple[float, float]],
        labels: list[int],
        box_xyxy: np.ndarray | None = None,
    ) -> None:
        """Prompt a slice. Points alone add to what the slice has; a box starts the slice anew."""
        self.predictor.add_new_points_or_box(
            self[axis],
            index,
            obj_id,
            points=np.array(points_xy, dtype=np.float32).reshape(-1, 2) if points_xy else None,
            labels=np.array(labels, dtype=np.int32) if points_xy else None,
            clear_old_points=box_xyxy is not None,
            box=box_xyxy,
            need_output=False,
        )

    def give_mask(self, axis: int, index: int, obj_id: int, mask: np.ndarray) -> None:
        """Give the predictor the mask (bool HxW) of a slice."""
        self.predictor.add_new_mask(self[axis], index, obj_id, mask, need_output=False)

    def forget_prompts(self, axis: int, index: int, obj_id: int) -> None:
        """Let a slice be an ordinary one again, which propagation may change."""
        self.predictor.clear_all_prompts_in_frame(self[axis], index, obj_id, need_output=False)

    @cached_property
    def has_contrast(self) -> bool:
        """False where there is nothing to see in the volume; a network finds something in everything."""
        return has_contrast(self.volume)

    def result(self, axis: int, index: int, obj_id: int) -> tuple[np.ndarray | None, float]:
        """Mask (bool HxW, None when there is none) and score of a slice as the predictor has them.

        There is none in a volume without contrast, whatever the predictor found.
        """
        mask = self.predictor.slice_mask(self[axis], obj_id, index)
        score = self.predictor.slice_score(self[axis], obj_id, index)
        if not self.has_contrast:
            return None, 0.0
        return (None if mask is None else np.asarray(mask, dtype=bool)), float(score or 0.0)

    def logits(self, axis: int, index: int, obj_id: int) -> np.ndarray | None:
        """Logits (H,W) of the mask that the predictor has made of a slice; None where it has made none."""
        return self.predictor.slice_logits(self[axis], obj_id, index)

    def snapshot(self, obj_id: int) -> dict[int, Any]:
        """The predictor's snapshots of an object, by axis."""
        return {axis: self.predictor.snapshot_object(state, obj_id) for axis, state in self._states.items()}

    def restore(self, obj_id: int, memory: Mapping[int, Any]) -> None:
        """Bring an object back to ``snapshot`` on every axis; axes that it does not name forget the object."""
        for axis, state in self._states.items():
            self.predictor.restore_object(state, obj_id, memory.get(axis))

    def forget(self, obj_id: int) -> None:
        """Remove an object from every axis."""
        self.restore(obj_id, {})

    def reset(self) -> None:
        """Remove all objects; features of slices stay cached."""
        for state in self._states.values():
            self.predictor.reset_state(state)
