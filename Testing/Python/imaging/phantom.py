"""A ball of known place, sampled on any grid: what is read must put it where it was."""

from __future__ import annotations

import numpy as np

CENTRE_RAS, RADIUS_MM = np.array([-22.0, 10.0, 8.0]), 14.0
BODY, BALL = 40, 250


def grid(spacing=(4.0, 4.0, 4.0), shape_ijk=(18, 20, 16), axes=None) -> np.ndarray:
    """ijk_to_ras of a grid whose middle is the centre of the ball. Columns of ``axes`` are its directions."""
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if axes is None else np.asarray(axes)) * np.asarray(spacing)
    matrix[:3, 3] = CENTRE_RAS - matrix[:3, :3] @ ((np.array(shape_ijk) - 1) / 2)
    return matrix


def sample(ijk_to_ras: np.ndarray, shape_ijk=(18, 20, 16), dtype=np.int16) -> np.ndarray:
    """(D,H,W) of a ball with soft edges on a body."""
    ijk = np.stack(np.meshgrid(*map(np.arange, shape_ijk), indexing="ij"), axis=-1)
    points = ijk @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    distance = np.linalg.norm(points - CENTRE_RAS, axis=-1)
    edge = np.abs(ijk_to_ras[:3, :3]).max()
    values = BODY + (BALL - BODY) * np.clip((RADIUS_MM - distance) / edge + 0.5, 0, 1)
    return np.ascontiguousarray(np.rint(values).astype(dtype).T)


def centre(array: np.ndarray, ijk_to_ras: np.ndarray) -> np.ndarray:
    """Centre of the ball, RAS mm, by the weight of what is brighter than the body."""
    weights = np.clip(array.astype(float) - BODY - 1, 0, None)
    kji = np.array([(weights * index).sum() / weights.sum() for index in np.indices(array.shape)])
    return ijk_to_ras[:3, :3] @ kji[::-1] + ijk_to_ras[:3, 3]


def offset_in_voxels(volume) -> float:
    """How far the ball is from its place, in voxels of the volume, along the axis where it is most."""
    apart = centre(volume.array, volume.ijk_to_ras) - CENTRE_RAS
    return float(np.abs(np.linalg.solve(volume.ijk_to_ras[:3, :3], apart)).max())
