"""numpy masks <-> vtkOrientedImageData, and from one voxel grid to another.

Arrays are k, j, i; boxes are half-open kji (see core/geometry.py); VTK extents are inclusive ijk.
An oriented image of a *part* of a grid keeps the grid's own matrix and says by its extent which part it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, box_shape, box_slices, intersection
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import transform_points

#: Grids whose voxel centres are nearer to each other than this (in voxels) are one grid.
GRID_TOLERANCE = 0.01


def box_of_extent(extent: Sequence[int]) -> Box | None:
    """VTK extent -> box, None for an empty extent."""
    box = [[int(extent[2 * axis]), int(extent[2 * axis + 1]) + 1] for axis in (2, 1, 0)]
    return None if any(low >= high for low, high in box) else box


def extent_of_box(box_kji: Box) -> tuple[int, ...]:
    """Box -> VTK extent (i0, i1, j0, j1, k0, k1), inclusive."""
    return tuple(int(value) for low, high in reversed(box_kji) for value in (low, high - 1))


def array_view(image: Any) -> np.ndarray:
    """Voxels of a vtkImageData as (D, H, W), or (D, H, W, C) for several components; shares the memory."""
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = image.GetPointData().GetScalars()
    if scalars is None:
        raise ValueError("The image has no voxels.")
    shape: tuple[int, ...] = tuple(reversed(image.GetDimensions()))
    if scalars.GetNumberOfComponents() > 1:
        shape = (*shape, scalars.GetNumberOfComponents())
    view: np.ndarray = vtk_to_numpy(scalars).reshape(shape)
    return view


def from_vtk_matrix(matrix: Any) -> np.ndarray:
    """vtkMatrix4x4 -> (4, 4) float64."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk_matrix(affine: np.ndarray) -> Any:
    """(4, 4) array -> vtkMatrix4x4."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(affine, np.float64).ravel().tolist())
    return matrix


def image_matrix(image: Any) -> np.ndarray:
    """Voxel index (i, j, k) -> the image's own frame (RAS mm), 4x4."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return from_vtk_matrix(matrix)


def oriented_image(mask: np.ndarray, start_kji: Sequence[int], ijk_to_ras: np.ndarray) -> Any:
    """Copy a mask into a vtkOrientedImageData (unsigned char, 0 and 1).

    Args:
        mask: (D, H, W) part of the grid.
        start_kji: Index of ``mask[0, 0, 0]`` in the grid.
        ijk_to_ras: Matrix of the whole grid.
    """
    import slicer
    import vtk

    image = slicer.vtkOrientedImageData()
    box = [[int(start), int(start) + int(size)] for start, size in zip(start_kji, mask.shape)]
    image.SetExtent(*extent_of_box(box))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    array_view(image)[...] = mask
    image.SetImageToWorldMatrix(to_vtk_matrix(ijk_to_ras))
    return image


def mask_in_box(image: Any, box_kji: Box, label: int | None = None) -> np.ndarray:
    """The part of a labelmap inside a box of its own grid, bool, False where the image holds no voxels.

    Args:
        image: vtkOrientedImageData of any extent, possibly empty.
        box_kji: Box in the image's index space.
        label: Value to look for; None: any value but zero.
    """
    mask = np.zeros(box_shape(box_kji), dtype=bool)
    held = box_of_extent(image.GetExtent())
    common = intersection(held, box_kji)
    if common is None or held is None or image.GetPointData().GetScalars() is None:
        return mask
    source = array_view(image)[box_slices(common, held)]
    target = box_slices(common, box_kji)
    mask[target] = source != 0 if label is None else source == label
    return mask


def transform_between(source_node: Any, target_node: Any) -> Any:
    """vtkGeneralTransform from the local frame of one transformable node to that of another; None is the world."""
    import slicer
    import vtk

    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        source_node.GetParentTransformNode() if source_node is not None else None,
        target_node.GetParentTransformNode() if target_node is not None else None,
        transform,
    )
    return transform


def linear_matrix(transform: Any) -> np.ndarray | None:
    """4x4 matrix of a transform, None when it is not linear."""
    import slicer
    import vtk

    linear = vtk.vtkTransform()
    if not slicer.vtkOrientedImageDataResample.IsTransformLinear(transform, linear):
        return None
    return from_vtk_matrix(linear.GetMatrix())


def grid_offset(
    ijk_to_ras: np.ndarray, other_ijk_to_ras: np.ndarray, transform: Any, shape_kji: Sequence[int]
) -> tuple[int, int, int] | None:
    """Shift (k, j, i) from one grid's indices to the other's, None when their voxels do not coincide.

    Args:
        ijk_to_ras: Matrix of the first grid, in its node's frame.
        other_ijk_to_ras: Matrix of the second grid, in its node's frame.
        transform: First frame -> second frame, see :func:`transform_between`.
        shape_kji: Size of the first grid; all its corners must agree.
    """
    frames = linear_matrix(transform)
    if frames is None:
        return None
    relation = np.linalg.inv(other_ijk_to_ras) @ frames @ ijk_to_ras
    corners = np.array(list(product(*((0.0, float(size - 1)) for size in reversed(shape_kji)))))
    shift = np.round(relation[:3, 3])
    if np.abs(transform_points(corners, relation) - corners - shift).max() > GRID_TOLERANCE:
        return None
    i, j, k = shift.astype(int).tolist()
    return k, j, i


def resample_mask(image: Any, ijk_to_ras: np.ndarray, box_kji: Box, transform: Any) -> np.ndarray:
    """Nearest-neighbour copy of a labelmap onto a box of another grid, bool (box shape).

    Args:
        image: vtkOrientedImageData with values 0 and 1.
        ijk_to_ras: Matrix of the target grid.
        box_kji: Part of the target grid that is wanted.
        transform: Frame of ``image`` -> frame of the target grid.
    """
    import slicer

    reference = slicer.vtkOrientedImageData()
    reference.SetExtent(*extent_of_box(box_kji))
    reference.SetImageToWorldMatrix(to_vtk_matrix(ijk_to_ras))
    result = slicer.vtkOrientedImageData()
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, result, False, False, transform
    ):
        raise UserError("The segment cannot be brought onto the other grid; check the transforms of both nodes.")
    return mask_in_box(result, box_kji)
