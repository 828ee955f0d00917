"""The convex outline of a few points, in numpy alone.

To import scipy would take half a second, and 40 MB: a quarter of what propagation needs in all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ConvexOutline(NamedTuple):
    """A convex polygon.

    Attributes:
        corners: (N,2) x, y, in order.
        normals: (N,2) of length 1, outward, of the edges from each corner to the next.
    """

    corners: np.ndarray
    normals: np.ndarray

    @classmethod
    def around(cls, points: np.ndarray) -> ConvexOutline | None:
        """Of points (M,2), after Andrew's monotone chain (1979); None where they lie on a line."""
        ordered = np.unique(np.asarray(points, np.float64).reshape(-1, 2), axis=0)
        corners = np.array([*_chain(ordered)[:-1], *_chain(ordered[::-1])[:-1]])
        if len(corners) < 3:
            return None
        edges = np.roll(corners, -1, axis=0) - corners
        normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
        return cls(corners, normals)

    @property
    def area(self) -> float:
        """Above 0."""
        x, y = self.corners.T
        return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2

    def depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How far inside the lines through its edges each place of a grid is, below 0 outside.

        Args:
            x: (W,) of the columns.
            y: (H,) of the rows.

        Returns:
            (H,W).
        """
        reach = (self.normals * self.corners).sum(axis=1)
        along_x, along_y = self.normals[:, :1] * x, self.normals[:, 1:] * y
        depth: np.ndarray = (reach[:, None, None] - along_x[:, None, :] - along_y[:, :, None]).min(axis=0)
        return depth


def _chain(ordered: np.ndarray) -> list[np.ndarray]:
    """The counter-clockwise half of the outline of points in order, from the first to the last."""
    kept: list[np.ndarray] = []
    for point in ordered:
        while len(kept) > 1 and _side_of(kept[-2], kept[-1], point) <= 0:
            kept.pop()
        kept.append(point)
    return kept


def _side_of(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
