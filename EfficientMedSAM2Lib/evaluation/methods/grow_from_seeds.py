"""Slicer's own Grow from seeds with the same prompt: what a user has today. Needs PyPI's `slicer-core`."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.methods.ellipse import inscribed_ellipse
from EfficientMedSAM2Lib.evaluation.methods.interface import VOLUME, Prediction, VolumePrediction

MIN_SLICES = 3  # what vtkImageGrowCutSegment needs along each axis
INSIDE_SCALE = 0.6  # of the ellipse in the box: surely the object
REACH = 1.6  # of the box and of its mean half side in depth: surely beyond the object
BOX_MARGIN = 0.1  # of the box, left free around it
OBJECT, BACKGROUND = 1, 2


class GrowFromSeedsMethod:
    """Seeds in the middle of the box and outside it on its slice, and all around at some distance."""

    name = "growfromseeds"
    protocols: tuple[str, ...] = (VOLUME,)

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Remember the slice, as a volume of one."""
        self._image, self._spacing_mm = image, spacing_mm

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Grow within the slice, as the middle of a few equal ones."""
        middle = MIN_SLICES // 2
        stack = np.repeat(self._image[None], MIN_SLICES, axis=0)
        found = self.segment_volume(stack, (1.0, *self._spacing_mm), 0, middle, box)
        return Prediction(found.mask[middle], None)

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Prediction:
        """Refuse."""
        raise UserError("Grow from seeds gets its seeds from a box; choose another model for the protocol 'clicks'.")

    def segment_volume(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, index: int, box: np.ndarray
    ) -> VolumePrediction:
        """Grow within what is near the box."""
        grey = volume if volume.ndim == 3 else volume.mean(axis=-1)
        slices = np.moveaxis(grey, axis, 0)
        in_plane = tuple(spacing_mm[other] for other in in_plane_axes(axis))
        extent = _extent(slices.shape, (spacing_mm[axis], *in_plane), index, box)
        seeds = _seeds(slices.shape, index, box, extent)
        grown = _grow(slices[extent], seeds[extent], (spacing_mm[axis], *in_plane))
        found = np.zeros(slices.shape, bool)
        found[extent] = grown == OBJECT
        return VolumePrediction(np.ascontiguousarray(np.moveaxis(found, 0, axis)))


def _extent(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], index: int, box: np.ndarray
) -> tuple[slice, slice, slice]:
    """Give the part of the volume to grow in; the object is taken to be about as deep as it is wide."""
    width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
    depth = (width * spacing_mm[2] + height * spacing_mm[1]) / 4 / spacing_mm[0]
    centers = (index, (box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
    found = []
    for center, half, size in zip(centers, (depth, height / 2, width / 2), shape):
        reach = half * REACH + 2
        found.append(slice(max(0, int(center - reach)), min(size, int(center + reach) + 1)))
    return found[0], found[1], found[2]


def _seeds(shape: tuple[int, ...], index: int, box: np.ndarray, extent: tuple[slice, slice, slice]) -> np.ndarray:
    seeds = np.full(shape, BACKGROUND, np.int16)
    inner = tuple(
        # A volume that ends before the reach does has no background there.
        slice(part.start + (part.start > 0), part.stop - (part.stop < size))
        for part, size in zip(extent, shape)
    )
    seeds[inner] = 0
    # A box may cut off a little of the object, which must not become background.
    margin = BOX_MARGIN * np.array([box[2] - box[0], box[3] - box[1]]) + 1
    x0, y0 = (box[:2] - margin).round().astype(int)
    x1, y1 = (box[2:] + margin).round().astype(int)
    seeds[index] = BACKGROUND
    seeds[index, max(0, y0) : y1 + 1, max(0, x0) : x1 + 1] = 0
    seeds[index][inscribed_ellipse(box, shape[1:], INSIDE_SCALE)] = OBJECT
    return seeds


def _grow(grey: np.ndarray, seeds: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Run vtkImageGrowCutSegment on windowed grey values (0..1) and seeds of the same shape, kji."""
    try:
        from slicer import vtkImageGrowCutSegment
    except ImportError as error:
        raise UserError("Grow from seeds needs Slicer's libraries; run `pip install slicer-core`.") from error
    from vtkmodules.util.numpy_support import vtk_to_numpy

    grow = vtkImageGrowCutSegment()
    grow.SetIntensityVolume(_to_vtk((grey * 1000).astype(np.int16), spacing_mm))
    grow.SetSeedLabelVolume(_to_vtk(seeds, spacing_mm))
    grow.Update()
    # The filter owns its output: a view of it would outlive it.
    result: np.ndarray = vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars()).reshape(grey.shape).copy()
    return result


def _to_vtk(array: np.ndarray, spacing_mm: tuple[float, ...]) -> object:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.SetSpacing(*spacing_mm[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    return image
