"""RTSTRUCT as masks: closed planar contours of each structure, filled on the grid of a scan.

Contours lie in the patient, in mm, so that neither the orientation of the patient nor that of the scan matters. A
contour stands for a slab around its plane: halfway to the next plane of the structure, and as far beyond the outermost
ones; so they may lie on other slices than those of the scan. Of contours on one plane, a voxel in an odd number is
inside: contours in contours are holes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import lps_to_ras
from EfficientMedSAM2Lib.imaging.formats.files import one_line

logger = logging.getLogger(__name__)

#: A contour is flat, and contours are of one plane, when their points differ by no more than this along the normal, mm.
_FLAT_MM = 0.1
#: Contours that enclose less are points and lines, mm^2.
_SMALLEST_MM2 = 1e-3
#: Rounding of positions that are written as text, mm.
_ROUNDING_MM = 1e-3
#: Voxels are looked at so far beside their centres, mm: on a line that is drawn there and back, as holes are joined to
#: the outside, rounding would decide which side is meant, for each direction anew.
_BESIDE_MM = (1.3e-6, 2.9e-6)
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True)
class Structure:
    """One structure of an RTSTRUCT.

    Attributes:
        name: What the file calls it.
        contours: (N,3) points of each closed contour, RAS mm.
        color: Red, green, blue in 0 ... 1; None where the file does not tell.
    """

    name: str
    contours: tuple[np.ndarray, ...]
    color: tuple[float, float, float] | None = None


def is_rtstruct(path: Path) -> bool:
    """Whether a DICOM file says that it holds contours."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["Modality"])
    return header.get("Modality") == "RTSTRUCT"


def read_contours(
    path: Path, shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray
) -> list[tuple[str, np.ndarray, tuple[float, float, float] | None]]:
    """Name, mask (D,H,W) on a grid, and colour of each structure of an RTSTRUCT.

    Raises:
        UserError: As `read_structures` and `fill_contours`.
    """
    structures = read_structures(path)
    masks = fill_contours(structures, shape_kji, ijk_to_ras)
    return [(structure.name, mask, structure.color) for structure, mask in zip(structures, masks)]


def read_structures(path: Path) -> list[Structure]:
    """Structures with closed contours, in their order; those of points and open lines are left out, and logged.

    Raises:
        UserError: It is damaged, or has no closed contour.
    """
    from pydicom import dcmread

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, force=True)
            names = {int(item.ROINumber): str(item.get("ROIName") or "") for item in dataset.StructureSetROISequence}
            items = {int(item.ReferencedROINumber): item for item in dataset.ROIContourSequence}
            found = [
                Structure(one_line(name) or f"Segment_{number}", _contours(items[number]), _color(items[number]))
                for number, name in names.items()
                if number in items
            ]
    except UserError:
        raise
    except Exception as error:  # pydicom reads elements when they are asked for, and raises nearly everything
        raise UserError("its contours are damaged or missing; export it again") from error
    for structure in found:
        if not structure.contours:
            logger.warning("%s: %s has no closed contour, and is left out.", path.name, structure.name)
    kept = [structure for structure in found if structure.contours]
    if not kept:
        raise UserError("it holds no closed contour")
    return kept


def fill_contours(
    structures: Sequence[Structure], shape_kji: tuple[int, int, int], ijk_to_ras: np.ndarray
) -> list[np.ndarray]:
    """A mask (D,H,W) of each structure on a grid; a voxel belongs to it when its centre is inside.

    Raises:
        UserError: A contour is not flat, or contours are not parallel.
    """
    normal = _normal([contour for structure in structures for contour in structure.contours])
    places = [_places(structure, normal) for structure in structures]
    # where a structure has one plane, the others say how thick slices are
    gaps = [float(np.median(np.diff(heights))) for heights, _ in places if len(heights) > 1]
    step = float(np.abs(normal @ ijk_to_ras[:3, :3]).max())
    masks = []
    for heights, contours in places:
        gap = float(np.median(np.diff(heights))) if len(heights) > 1 else min(gaps, default=step)
        bounds = _bounds(heights, max(gap, step) / 2)
        mask: np.ndarray = np.zeros(shape_kji, dtype=bool)
        for (low, high), polygons in zip(bounds, contours):
            _fill(mask, polygons, low, high, normal, ijk_to_ras)
        masks.append(mask)
    return masks


def _contours(item: Any) -> tuple[np.ndarray, ...]:
    contours = []
    for contour in item.get("ContourSequence") or []:
        if str(contour.get("ContourGeometricType") or "") not in _CLOSED:
            continue
        numbers = np.asarray(contour.ContourData, dtype=np.float64)
        if numbers.size % 3 or not np.isfinite(numbers).all():
            raise UserError("a contour of it is damaged; export it again")
        points = lps_to_ras(numbers.reshape(-1, 3))
        if len(points) > 2 and np.linalg.norm(_area(points)) > _SMALLEST_MM2:
            contours.append(points)
    return tuple(contours)


def _color(item: Any) -> tuple[float, float, float] | None:
    values = [float(value) / 255 for value in item.get("ROIDisplayColor") or ()]
    if len(values) != 3 or not all(0 <= value <= 1 for value in values):
        return None
    return values[0], values[1], values[2]


def _area(points: np.ndarray) -> np.ndarray:
    """Normal of a closed line (N,3) whose length is the area that it encloses, mm^2."""
    around = points - points.mean(axis=0)
    area: np.ndarray = np.cross(around, np.roll(around, -1, axis=0)).sum(axis=0) / 2
    return area


def _normal(contours: Sequence[np.ndarray]) -> np.ndarray:
    """Direction across the largest contour, which rounding turns least."""
    area = max((_area(contour) for contour in contours), key=lambda a: float(np.linalg.norm(a)))
    normal: np.ndarray = area / np.linalg.norm(area)
    return normal if normal[np.abs(normal).argmax()] > 0 else -normal


def _places(structure: Structure, normal: np.ndarray) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """Rising heights of the planes along the normal, mm, and the contours on each."""
    heights = [contour @ normal for contour in structure.contours]
    if any(np.ptp(height) > _FLAT_MM for height in heights):
        raise UserError(f"contours of {structure.name!r} are not flat, or lie in several directions")
    order = sorted(range(len(heights)), key=lambda n: float(heights[n].mean()))
    planes: list[list[int]] = []
    for n in order:
        if planes and heights[n].mean() - heights[planes[-1][0]].mean() <= _FLAT_MM:
            planes[-1].append(n)
        else:
            planes.append([n])
    means = np.array([np.mean([heights[n].mean() for n in plane]) for plane in planes])
    return means, [[structure.contours[n] for n in plane] for plane in planes]


def _bounds(heights: np.ndarray, half: float) -> list[tuple[float, float]]:
    """From where to where each plane counts, along the normal; a gap that is wider than the others stays one."""
    between = (heights[1:] + heights[:-1]) / 2
    lows = np.maximum(heights - half, np.concatenate([[-np.inf], between]))
    highs = np.minimum(heights + half, np.concatenate([between, [np.inf]]))
    return list(zip(lows.tolist(), highs.tolist()))


def _fill(
    mask: np.ndarray,
    polygons: Sequence[np.ndarray],
    low: float,
    high: float,
    normal: np.ndarray,
    ijk_to_ras: np.ndarray,
) -> None:
    """Add what lies in a plane's contours, from ``low`` to ``high`` along the normal, without the latter."""
    from matplotlib.path import Path as Polygon

    across = np.linalg.svd(normal.reshape(1, 3))[2][1:]  # two directions in the plane
    points = np.concatenate(polygons)
    flat = points - np.outer(points @ normal, normal)
    corners = np.concatenate([flat + low * normal, flat + high * normal])
    ijk = (corners - ijk_to_ras[:3, 3]) @ np.linalg.inv(ijk_to_ras[:3, :3]).T
    first = np.clip(np.floor(ijk.min(axis=0)), 0, mask.shape[::-1]).astype(int)[::-1]
    last = np.clip(np.ceil(ijk.max(axis=0)) + 1, 0, mask.shape[::-1]).astype(int)[::-1]
    if (first >= last).any():
        return
    kji = np.stack(np.meshgrid(*map(np.arange, first, last), indexing="ij"), axis=-1)
    heights = kji[..., ::-1] @ (ijk_to_ras[:3, :3].T @ normal) + ijk_to_ras[:3, 3] @ normal
    chosen = kji[(heights >= low - _ROUNDING_MM) & (heights < high - _ROUNDING_MM)]
    places = (chosen[:, ::-1] @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]) @ across.T + _BESIDE_MM
    inside: np.ndarray = np.zeros(len(chosen), dtype=bool)
    for polygon in polygons:
        inside ^= Polygon(polygon @ across.T).contains_points(places)
    mask[tuple(chosen[inside].T)] = True
