"""Cubes around objects for the 3D context network: cut out of volumes, and shown as in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from EfficientMedSAM2Lib.core.context_cube import (
    Cube,
    KnownSlice,
    connected_part,
    network_input,
    sample,
    sample_plane,
    slab,
)
from EfficientMedSAM2Lib.learning.samples.augment import augment_intensity
from EfficientMedSAM2Lib.learning.samples.cubes.prompts import faulty

WIDTHS = (1.5, 3.2)
"""Side of a cube over the diameter of the object's mask on the slice that is known."""
GROWN_WIDTHS = (3.2, 4.8)
SHARE_OF_GROWN = 0.15
"""Cubes as large as those of objects that reached beyond a first cube."""
LEAST_VOXELS = 10
"""Voxels along a cube's edge at least: with fewer there is nothing but interpolation to look at."""
LEAST_CELLS = 8
"""Cells of the object on the known slice at least."""
SHARES_OF_COUNTS = (0.7, 0.2, 0.1)
"""Samples with one known slice, with two and with three."""
SHARE_OF_OTHER_PLANES = 0.4
SHARE_OF_EMPTY = 0.25
"""Of the further slices in the same direction: on so many of them the object is known not to be."""


@dataclass(frozen=True)
class LabelledCube:
    """An object in a cube, before intensities are changed and prompts are drawn. The axis of its known slice is first.

    Attributes:
        image: (N,N,N) uint8, windowed.
        mask: (N,N,N) uint8, 255 times the share of each cell that the object covers.
        extent: For each axis the first cell that lies in the volume, and the first behind it.
        position: Of the known slice along the first axis, in cells.
        thickness: Cells of a slice, perpendicular to each axis.
    """

    image: np.ndarray
    mask: np.ndarray
    extent: tuple[tuple[int, int], ...]
    position: float
    thickness: tuple[float, float, float]

    def validity(self) -> np.ndarray:
        """(N,N,N) bool, cells that lie in the volume."""
        valid = np.zeros(self.image.shape, bool)
        valid[tuple(slice(*ends) for ends in self.extent)] = True
        return valid


@dataclass(frozen=True)
class CubeSample:
    """What is learnt from: `inputs` (channels,N,N,N) float32, `mask` (N,N,N) float32 in 0...1, `valid` (N,N,N) bool."""

    inputs: np.ndarray
    mask: np.ndarray
    valid: np.ndarray


def random_cube(
    box_rc: tuple[int, int, int, int], index: int, spacing: Sequence[float], rng: np.random.Generator, size: int
) -> Cube:
    """A cube around an object on a slice.

    Args:
        box_rc: Half-open row0, row1, column0, column1 of its mask in pixels.
        index: The slice.
        spacing: mm between slices, rows and columns.
        rng: Source of randomness.
        size: Cells along its edges.
    """
    between, row_mm, column_mm = spacing
    diameter = max((box_rc[1] - box_rc[0]) * row_mm, (box_rc[3] - box_rc[2]) * column_mm)
    width = rng.uniform(*(GROWN_WIDTHS if rng.random() < SHARE_OF_GROWN else WIDTHS))
    side = max(diameter * float(width), LEAST_VOXELS * min(spacing))
    # Of several known slices, as in use, no single one need be in the middle.
    along = rng.uniform(-0.25, 0.25) if rng.random() < 0.25 else 0.0
    shift = np.array([along, *rng.uniform(-0.08, 0.08, 2)]) * side / np.array([between, row_mm, column_mm])
    centre = np.array([index, (box_rc[0] + box_rc[1] - 1) / 2, (box_rc[2] + box_rc[3] - 1) / 2]) + shift
    stretch = np.exp(rng.uniform(-0.15, 0.15, 3)) if rng.random() < 0.4 else np.ones(3)
    stretched = tuple(float(mm) for mm in np.array(spacing) * stretch)
    return Cube(tuple(float(c) for c in centre), stretched, side, size)  # type: ignore[arg-type]


def cut(
    voxels: np.ndarray,
    labels: np.ndarray,
    index: int,
    part: np.ndarray,
    cube: Cube,
    intensities: Callable[[np.ndarray], np.ndarray],
    belongs: Callable[[np.ndarray], np.ndarray],
) -> LabelledCube | None:
    """Cut an object out of a volume.

    Args:
        voxels: (D,H,W) or (D,H,W,C), the axis of the known slice first.
        labels: (D,H,W).
        index: The known slice.
        part: (H,W) bool, the part of the label on that slice that is meant; others count where they are connected.
        cube: Where to cut.
        intensities: Turns values of voxels into intensities 0...1.
        belongs: Tells which label values are the object's.

    Returns:
        None when too little of the object is seen on the known slice.
    """
    share = sample(labels, cube, belongs) * cube.validity(labels.shape)
    seeds = np.zeros(share.shape, bool)
    seeds[cube.slab(0, index)] = sample_plane(part, cube, 0) > 0.5
    found = share > 0.5
    mine = connected_part(found, seeds)
    share[found & ~mine] = 0
    position = (index - cube.centre[0]) / cube.cell(0) + (cube.size - 1) / 2
    extent = []
    for axis in range(3):
        line = np.flatnonzero((cube.places(axis) > -0.5) & (cube.places(axis) < labels.shape[axis] - 0.5))
        extent.append((int(line[0]), int(line[-1]) + 1))
    thickness = (1 / cube.cell(0), 1 / cube.cell(1), 1 / cube.cell(2))
    found = LabelledCube(
        _as_bytes(sample(voxels, cube, intensities)), _as_bytes(share), tuple(extent), position, thickness
    )
    return found if is_shown(found) else None


def is_shown(cube: LabelledCube) -> bool:
    """Whether enough of the object is on the known slice."""
    middle = min(max(round(cube.position), 0), len(cube.mask) - 1)
    return int((cube.mask[middle] > 127).sum()) >= LEAST_CELLS


def show(cube: LabelledCube, rng: np.random.Generator) -> CubeSample:
    """A sample of a cube: mirrored, its intensities changed, known on one slice or a few, not always rightly."""
    cube = _turned(cube, rng)
    valid = cube.validity()
    mask = cube.mask.astype(np.float32) / 255
    image = augment_intensity(torch.from_numpy(cube.image.astype(np.float32) / 255), rng).numpy()
    inputs = network_input(image, valid, _known_slices(cube, mask, rng))
    return CubeSample(inputs, mask, valid)


def _known_slices(cube: LabelledCube, mask: np.ndarray, rng: np.random.Generator) -> list[KnownSlice]:
    size = len(mask)
    chosen = [(0, cube.position)]
    for _ in range(int(rng.choice(len(SHARES_OF_COUNTS), p=SHARES_OF_COUNTS))):
        axis = 0
        if rng.random() < SHARE_OF_OTHER_PLANES and max(cube.thickness) < 3 * min(cube.thickness):
            axis = int(rng.integers(1, 3))
        areas = (mask > 0.5).sum(axis=tuple(other for other in range(3) if other != axis))
        is_empty = axis == 0 and rng.random() < SHARE_OF_EMPTY
        inside = np.zeros(size, bool)
        inside[slice(*cube.extent[axis])] = True
        planes = np.flatnonzero(inside & ((areas == 0) if is_empty else (areas >= LEAST_CELLS)))
        if len(planes):
            place = float(rng.choice(planes))
            if axis == 0:
                # Slices lie where slices are.
                place = cube.position + round((place - cube.position) / cube.thickness[0]) * cube.thickness[0]
            chosen.insert(0, (axis, min(max(place, 0.0), size - 1.0)))
    known = []
    for axis, place in chosen:
        share = mask.take(min(max(round(place), 0), size - 1), axis=axis)
        known.append(KnownSlice(axis, slab(size, place, cube.thickness[axis]), faulty(share, rng)))
    return known


def _turned(cube: LabelledCube, rng: np.random.Generator) -> LabelledCube:
    """Mirrored along random axes, rows and columns exchanged half the time."""
    image, mask = cube.image, cube.mask
    extent, position, thickness = list(cube.extent), cube.position, cube.thickness
    if rng.random() < 0.5:
        image, mask = image.swapaxes(1, 2), mask.swapaxes(1, 2)
        extent = [extent[0], extent[2], extent[1]]
        thickness = (thickness[0], thickness[2], thickness[1])
    size = len(image)
    for axis in range(3):
        if rng.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
            extent[axis] = (size - extent[axis][1], size - extent[axis][0])
            position = size - 1 - position if axis == 0 else position
    return LabelledCube(np.ascontiguousarray(image), np.ascontiguousarray(mask), tuple(extent), position, thickness)


def _as_bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def collate_cubes(samples: Sequence[CubeSample]) -> dict[str, Any]:
    """Stack samples: `inputs` (B,channels,N,N,N), `mask` (B,N,N,N) in 0...1 and `valid` (B,N,N,N) bool."""
    return {
        name: torch.from_numpy(np.stack([getattr(sample, name) for sample in samples]))
        for name in ("inputs", "mask", "valid")
    }
