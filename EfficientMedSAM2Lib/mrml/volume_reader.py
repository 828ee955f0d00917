"""Volume nodes: voxels without a copy, geometry, world -> voxel, and a fingerprint that changes with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.geometry import check_matrix, ras_to_ijk, slice_axis, spacing_of, transform_points
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.labelmaps import array_view, from_vtk_matrix, linear_matrix, transform_between

Fingerprint = tuple[tuple[Any, ...], tuple[Any, ...]]


def volume_matrix(node: Any) -> np.ndarray:
    """Voxel index (i, j, k) -> local RAS in mm, without parent transforms."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return check_matrix(from_vtk_matrix(matrix), f"Geometry of volume '{node.GetName()}'")


def default_axis(node: Any) -> int:
    """Array axis (0 = k, 1 = j, 2 = i) that the engine slices this volume along, unless a prompt says otherwise."""
    return slice_axis(spacing_of(volume_matrix(node)), volume_shape(node))


def volume_shape(node: Any) -> tuple[int, int, int]:
    """Number of voxels along k, j, i; UserError for a node without image."""
    image = node.GetImageData() if node is not None else None
    if image is None or image.GetNumberOfPoints() == 0:
        name = node.GetName() if node is not None else "none"
        raise UserError(f"Volume '{name}' has no image; load or choose another one.")
    width, height, depth = image.GetDimensions()
    return depth, height, width


def volume_from_node(node: Any) -> Volume:
    """Read a vtkMRMLScalarVolumeNode or vtkMRMLVectorVolumeNode; voxels are shared, not copied, and read-only.

    The matrix is that of the node's local frame, without parent transforms.

    Raises:
        UserError: there is no image, or it has other than 1, 3 or 4 components.
    """
    volume_shape(node)
    array = array_view(node.GetImageData())
    components = 1 if array.ndim == 3 else array.shape[3]
    if components not in (1, 3, 4):
        raise UserError(f"Volume '{node.GetName()}' has {components} components; choose a scalar or an RGB volume.")
    array = array[..., :3] if array.ndim == 4 else array  # the opacity of RGBA is no image
    return Volume(array, volume_matrix(node), _modality(node), str(node.GetName() or ""))


def fingerprint(node: Any) -> Fingerprint:
    """(image, placement): of volume, voxels and geometry, and of the transform that moves it."""
    transform = node.GetParentTransformNode()
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    return (
        (
            node.GetID(),
            image.GetMTime() if image is not None else 0,
            scalars.GetMTime() if scalars is not None else 0,
            volume_matrix(node).tobytes(),
        ),
        (
            transform.GetID() if transform is not None else None,
            transform.GetTransformToWorldMTime() if transform is not None else 0,
        ),
    )


def world_to_local(points_world_ras: Any, node: Any) -> np.ndarray:
    """World RAS -> local RAS of a transformable node, (N, 3) mm; any transform, linear or not."""
    return _transformed(points_world_ras, transform_between(None, node))


def local_to_world(points_ras: Any, node: Any) -> np.ndarray:
    """Local RAS of a transformable node -> world RAS, (N, 3) mm."""
    return _transformed(points_ras, transform_between(node, None))


def _transformed(points: Any, transform: Any) -> np.ndarray:
    rows = np.asarray(points, dtype=np.float64).reshape(-1, 3).tolist()
    return np.array([transform.TransformPoint(row) for row in rows]).reshape(-1, 3)


def world_to_ijk(points_world_ras: Any, node: Any) -> np.ndarray:
    """World RAS -> continuous voxel index (i, j, k), (N, 3)."""
    return ras_to_ijk(world_to_local(points_world_ras, node), volume_matrix(node))


def ijk_to_world(points_ijk: Any, node: Any) -> np.ndarray:
    """Continuous voxel index (i, j, k) -> world RAS, (N, 3) mm."""
    return local_to_world(transform_points(points_ijk, volume_matrix(node)), node)


def axis_of_direction(normal_world: Sequence[float], node: Any) -> int:
    """Array axis (0 = k, 1 = j, 2 = i) whose slices are most nearly those of a view with this normal.

    Args:
        normal_world: Third column of a slice node's SliceToRAS matrix.
        node: Volume node. Under a nonlinear transform the direction is compared as if there were none.
    """
    frames = linear_matrix(transform_between(node, None))
    axes = (np.eye(4) if frames is None else frames)[:3, :3] @ volume_matrix(node)[:3, :3]
    # Slices along an axis are spanned by the other two; their normal is what counts in a sheared grid.
    normals = np.stack([np.cross(axes[:, (n + 1) % 3], axes[:, (n + 2) % 3]) for n in range(3)])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return 2 - int(np.argmax(np.abs(normals @ np.asarray(normal_world, dtype=np.float64))))


def _modality(node: Any) -> str | None:
    """Modality from the DICOM attribute, or CT when voxel values are Hounsfield units."""
    attribute = node.GetAttribute("DICOM.Modality")
    if attribute:
        return str(attribute)
    units = node.GetVoxelValueUnits()
    return "CT" if units is not None and units.GetCodeValue() == "[hnsf'U]" else None
