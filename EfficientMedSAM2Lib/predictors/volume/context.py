"""How far an object goes on either side of the slices on which it is known: what the 3D context network says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from EfficientMedSAM2Lib.core.context_cube import Cube, KnownSlice, connected_part, network_input, sample, sample_plane
from EfficientMedSAM2Lib.core.masks import PackedMask
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import Viewport
from EfficientMedSAM2Lib.predictors.volume.frames import VolumeContext
from EfficientMedSAM2Lib.runtimes.out_of_memory import MemoryGuard

ABSENT_LOGIT = -10.0
"""Logit of cells outside the volume, and of parts that are not connected with what is known."""


@dataclasses.dataclass(frozen=True)
class ContextPrior:
    """An object in a cube.

    Attributes:
        cube: Where it lies; slices are perpendicular to its first axis.
        logits: (N,N,N) float16, below 0 where the object is not connected with what is known.
        cells: Cells of a slice that have to be the object's for it to be there.
        open_ends: Whether the object reaches the cube's first slice, and its last one: beyond, nothing is known of it.
    """

    cube: Cube
    logits: np.ndarray
    cells: int
    open_ends: tuple[bool, bool]

    def prior(self, frame_idx: int, viewport: Viewport, size: int, limit: float) -> np.ndarray:
        """What is found on a slice: logits (size,size) float32 in a viewport, from -limit to limit; 0 where unknown."""
        plane = self._plane(frame_idx)
        if plane is None:
            return np.full((size, size), 0 if self._is_open(frame_idx) else -limit, np.float32)
        rows, columns = viewport.cell_middles((size, size))
        by_rows, by_columns = self._weights(1, rows), self._weights(2, columns)
        # Relative to the surest absence, what lies outside the cube weighs nothing.
        inner = by_rows @ (plane.clip(-limit, limit) + limit) @ by_columns.T
        return np.asarray(inner - limit, np.float32)

    def presence(self, frame_idx: int, limit: float) -> float:
        """Logit, between -limit and limit, that the object is on a slice: above 0 where enough of it is found."""
        plane = self._plane(frame_idx)
        if plane is None:
            return 0.0 if self._is_open(frame_idx) else -limit
        return float(np.partition(plane.ravel(), -self.cells)[-self.cells].clip(-limit, limit))

    def _is_open(self, frame_idx: int) -> bool:
        return self.open_ends[int(frame_idx > self.cube.centre[0])]

    def _plane(self, frame_idx: int) -> np.ndarray | None:
        """Logits (N,N) float32 on a slice; None outside the cube."""
        weights = self._weights(0, np.array([float(frame_idx)]))[0]
        chosen = np.flatnonzero(weights)
        if len(chosen) == 0:
            return None
        return np.asarray(np.tensordot(weights[chosen], self.logits[chosen].astype(np.float32), 1) / weights.sum())

    def _weights(self, axis: int, places: np.ndarray) -> np.ndarray:
        """Weights (M,N) of cells for places (M,) along an axis, in voxels: linear, all 0 outside the cube."""
        cells = (places - self.cube.centre[axis]) / self.cube.cell(axis) + (self.cube.size - 1) / 2
        inside = (cells >= -0.5) & (cells <= self.cube.size - 0.5)
        nearest = cells.clip(0, self.cube.size - 1)[:, None] - np.arange(self.cube.size)
        return np.asarray((1 - np.abs(nearest)).clip(0) * inside[:, None], np.float32)


def predict_context(
    predictor: SlicePredictor, volume: VolumeContext, known: Mapping[int, PackedMask]
) -> ContextPrior | None:
    """Ask the context network about an object in a cube around it, and in larger ones while it reaches beyond.

    Args:
        predictor: Asks the network.
        volume: One whose frames are of one array.
        known: The object's masks by slice; empty ones say that it is not there.

    Returns:
        None where no mask has a pixel.
    """
    heuristics, config, voxels = predictor.heuristics, predictor.model.config.context, volume.frames.volume
    assert config is not None
    assert voxels is not None
    cube = _cube_around(known, (volume.slice_mm, *volume.slice_spacing), config.size, heuristics)
    if cube is None:
        return None
    masks = {index: mask.full(volume.slice_shape) for index, mask in known.items()}
    guard = MemoryGuard(predictor.model)
    for number in range(heuristics.context_growths + 1):
        shares = {index: sample_plane(mask, cube, 0) for index, mask in masks.items()}
        known_slices = [KnownSlice(0, cube.slab(0, index), share) for index, share in shares.items()]
        valid = cube.validity(voxels.shape)
        inputs = network_input(sample(voxels, cube, lambda part: _grey(part, volume.window)), valid, known_slices)[None]
        with predictor.arrays.inference():
            (answer,) = guard.run(
                lambda: predictor.arrays.to_numpy(predictor.model.context_logits(predictor.arrays.to_device(inputs)))  # noqa: B023
            )
        found = np.where(valid, answer[0], ABSENT_LOGIT)
        seeds = np.zeros(valid.shape, bool)
        for _, slab, share in known_slices:
            seeds[slab] |= share > 0.5
        part = connected_part((found > 0) | seeds, seeds) & (found > 0)
        open_ends = bool(part[0].any()), bool(part[-1].any())
        if number == heuristics.context_growths or not any(open_ends):
            break
        cube = cube.grown(heuristics.context_growth)
    area = max(int((share > 0.5).sum()) for share in shares.values())
    logits = np.where(part | (found <= 0), found, ABSENT_LOGIT).clip(ABSENT_LOGIT, -ABSENT_LOGIT)
    cells = max(round(heuristics.context_presence_area * area), 1)
    return ContextPrior(cube, logits.astype(np.float16), cells, open_ends)


def _cube_around(
    known: Mapping[int, PackedMask], spacing: tuple[float, float, float], size: int, heuristics: HeuristicsConfig
) -> Cube | None:
    boxes = {index: mask.box_xyxy for index, mask in known.items() if mask.box_xyxy is not None}
    if not boxes:
        return None
    corners = np.array(list(boxes.values()))
    (x0, y0), (x1, y1) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    between, row_mm, column_mm = spacing
    diameter = max((y1 - y0 + 1) * row_mm, (x1 - x0 + 1) * column_mm)
    length = (max(boxes) - min(boxes)) * between
    least = heuristics.context_voxels * min(spacing)
    side = max(heuristics.context_width * diameter, heuristics.context_length * length, least)
    centre = ((min(boxes) + max(boxes)) / 2, float(y0 + y1) / 2, float(x0 + x1) / 2)
    return Cube(centre, spacing, float(side), size)


def _grey(part: np.ndarray, window: IntensityWindow) -> np.ndarray:
    shown = apply_window(part, window)
    return shown.mean(axis=-1) if shown.ndim == 3 else shown
