"""How a slice is put on the screen: radiological orientation by the volume's matrix, and which slices tell most."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes

#: What points to the right and down on the screen, in RAS, when looking along R, A or S.
_SCREEN = {
    0: ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
    1: ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    2: ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
}
PLANE_NAMES = {0: "sagittal", 1: "coronal", 2: "axial"}


@dataclass(frozen=True)
class Plane:
    """How slices across one array axis are put on the screen.

    Attributes:
        axis: Array axis (k, j, i = 0, 1, 2) that the slices are counted along.
        across: Array axis that runs from left to right.
        down: Array axis that runs from top to bottom.
        flip_across: Whether it runs from right to left in the array.
        flip_down: The same for top to bottom.
        name: axial, coronal or sagittal.
        letters: Directions at the left and the upper edge; empty for pictures that show no patient.
    """

    axis: int
    across: int
    down: int
    flip_across: bool
    flip_down: bool
    name: str
    letters: tuple[str, str]

    def image(self, array: np.ndarray, index: int) -> np.ndarray:
        """Slice of an array, (rows, columns) as on the screen."""
        picture = np.take(array, index, axis=self.axis)
        if self.across < self.down:
            picture = np.swapaxes(picture, 0, 1)
        picture = picture[:, ::-1] if self.flip_across else picture
        return picture[::-1] if self.flip_down else picture

    def position(self, point_kji: np.ndarray, shape_kji: Sequence[int]) -> tuple[float, float]:
        """Continuous voxel index -> (column, row) on the screen, in voxels from the upper left edge."""
        column, row = float(point_kji[self.across]) + 0.5, float(point_kji[self.down]) + 0.5
        return (
            shape_kji[self.across] - column if self.flip_across else column,
            shape_kji[self.down] - row if self.flip_down else row,
        )


def plane_of(ijk_to_ras: np.ndarray, shape_kji: Sequence[int], axis: int) -> Plane:
    """Nearest of axial, coronal and sagittal, and how the array's axes lie on that screen."""
    directions = {kji: ijk_to_ras[:3, 2 - kji] / np.linalg.norm(ijk_to_ras[:3, 2 - kji]) for kji in range(3)}
    others = in_plane_axes(axis)
    normal = np.cross(directions[others[0]], directions[others[1]])
    patient_axis = int(np.argmax(np.abs(normal)))
    right, bottom = np.array(_SCREEN[patient_axis][0]), np.array(_SCREEN[patient_axis][1])
    across = max(others, key=lambda kji: abs(directions[kji] @ right))
    down = next(kji for kji in others if kji != across)
    flip_across, flip_down = directions[across] @ right < 0, directions[down] @ bottom < 0
    patient = shows_patient(ijk_to_ras, shape_kji)
    letters = ("", "")
    if patient:
        left = -directions[across] * (-1 if flip_across else 1)
        letters = (_letter(left), _letter(-directions[down] * (-1 if flip_down else 1)))
    return Plane(
        axis,
        across,
        down,
        bool(flip_across),
        bool(flip_down),
        PLANE_NAMES[patient_axis] if patient else "image",
        letters,
    )


def _letter(direction_ras: np.ndarray) -> str:
    axis = int(np.argmax(np.abs(direction_ras)))
    return "RAS"[axis] if direction_ras[axis] > 0 else "LPI"[axis]


def shows_patient(ijk_to_ras: np.ndarray, shape_kji: Sequence[int]) -> bool:
    """False for a single picture without a place in space, as a photograph or a screen shot is read."""
    return shape_kji[0] > 1 or not np.allclose(ijk_to_ras, np.diag([-1.0, -1.0, 1.0, 1.0]))


def telling_slices(low: int, high: int, count: int, prompted: Collection[int], columns: int, rows: int) -> list[int]:
    """Slices to show: the prompted ones (at most half), and others spread evenly over a segment, in full rows.

    Args:
        low: First slice of what was segmented.
        high: One after its last slice.
        count: Number of slices of the volume.
        prompted: Slices that hold a prompt.
        columns: Pictures in a row.
        rows: Rows at most.
    """
    ordered = sorted(min(max(index, 0), count - 1) for index in prompted)
    most = rows * columns // 2
    if len(ordered) > most:
        ordered = [ordered[n] for n in np.linspace(0, len(ordered) - 1, most).round().astype(int)]
    chosen = set(ordered)
    spread = max(high - low, len(chosen | set(range(low, high))))
    wanted = min(count, columns * min(rows, -(-spread // columns)))
    while high - low < wanted:  # a thin structure is shown with its neighbour slices, where it must have ended
        low, high = max(0, low - 1), min(count, high + 1)
    candidates = set(range(low, high)) - chosen
    margin = (high - low) / (4 * wanted)
    ends = {low - margin, high - 1 + margin}  # a little inwards: the last slice of a structure shows little of it
    while len(chosen) < wanted and candidates:
        farthest = max(sorted(candidates), key=lambda index: min(abs(index - other) for other in chosen | ends))
        chosen.add(farthest)
        candidates.discard(farthest)
    return sorted(chosen)
