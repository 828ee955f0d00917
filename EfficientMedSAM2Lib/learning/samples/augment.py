"""Random fields of view: where the network looks, and resampling a slice with its masks into that square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

SIZE_PX = 256


@dataclass(frozen=True)
class View:
    """Affine map of the network's square onto a slice: `slice_xy = matrix @ view_xy + offset_xy`, in pixel edges.

    Pixel (row r, column c) covers [c, c + 1) x [r, r + 1); its centre is (c + 0.5, r + 0.5). `matrix` holds slice
    pixels per network pixel, so the same view works for slices of any spacing.
    """

    matrix: tuple[tuple[float, float], tuple[float, float]]
    offset_xy: tuple[float, float]
    size_px: int = SIZE_PX

    @property
    def pixel_scale(self) -> float:
        """Network pixels per slice pixel (geometric mean of both directions)."""
        (a, b), (c, d) = self.matrix
        return float(abs(a * d - b * c) ** -0.5)

    @property
    def shrink(self) -> float:
        """Slice pixels per network pixel along the axis that is minified most."""
        return float(np.linalg.norm(np.array(self.matrix), 2))

    def moved(self, shift_xy: tuple[float, float]) -> View:
        """The same view shifted by (x, y) slice pixels."""
        return View(self.matrix, (self.offset_xy[0] + shift_xy[0], self.offset_xy[1] + shift_xy[1]), self.size_px)

    def corners_xy(self) -> np.ndarray:
        """Corners (4, 2) of the square in slice pixels."""
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], float) * self.size_px
        return corners @ np.array(self.matrix).T + np.array(self.offset_xy)


def random_view(
    box_rc: tuple[int, int, int, int],
    slice_shape: tuple[int, int],
    spacing_rc_mm: tuple[float, float],
    rng: np.random.Generator,
    wide_probability: float = 0.3,
    size_px: int = SIZE_PX,
) -> View:
    """A square field of view around an object, as a box or a click would open it.

    Args:
        box_rc: half-open box of the object: row0, row1, column0, column1 in pixels.
        slice_shape: (rows, columns) of the slice.
        spacing_rc_mm: pixel spacing of rows and columns; the square is square in mm.
        rng: source of randomness.
        wide_probability: share of the views that are wide, up to the whole slice, as a click without a box gives them.
        size_px: side of the network's input.

    Returns:
        The view, with rotation, flips and anisotropic scale in it; the middle of the object's box is inside it.
    """
    row_mm, column_mm = spacing_rc_mm
    height_mm = (box_rc[1] - box_rc[0]) * row_mm
    width_mm = (box_rc[3] - box_rc[2]) * column_mm
    longest_mm = max(height_mm, width_mm)
    middle_mm = 0.5 * np.array([(box_rc[2] + box_rc[3]) * column_mm, (box_rc[0] + box_rc[1]) * row_mm])
    whole_mm = max(slice_shape[0] * row_mm, slice_shape[1] * column_mm)
    if rng.random() < wide_probability:
        most = max(whole_mm * 1.05, 2.6 * longest_mm)
        side_mm = float(np.exp(rng.uniform(np.log(2.2 * longest_mm), np.log(most))))
        shift_mm = rng.uniform(-0.9, 0.9, 2) * 0.5 * (side_mm - longest_mm)
        if rng.random() < 0.75:
            # Black borders teach little: such a view stays within the slice where it can.
            extent = np.array([slice_shape[1] * column_mm, slice_shape[0] * row_mm])
            half = np.minimum(0.5 * side_mm, 0.5 * extent)
            shift_mm = np.clip(middle_mm + shift_mm, half, extent - half) - middle_mm
    else:
        side_mm = longest_mm * float(rng.triangular(1.3, 2.0, 2.6))
        shift_mm = np.clip(rng.normal(0.0, 0.1, 2) * longest_mm, -0.4 * (side_mm - longest_mm), 0.4 * longest_mm)
    # Fewer than about 16 voxels across leave nothing but interpolation to look at.
    side_mm = max(side_mm, 16.0 * min(row_mm, column_mm) * rng.uniform(0.8, 1.8))

    angle = np.deg2rad(rng.uniform(-20.0, 20.0)) if rng.random() < 0.5 else 0.0
    if rng.random() < 0.2:
        angle += 0.5 * np.pi * int(rng.integers(1, 4))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flips = np.where(rng.random(2) < (0.5, 0.25), -1.0, 1.0)
    stretch = np.exp(rng.uniform(-0.22, 0.22)) ** np.array([0.5, -0.5]) if rng.random() < 0.4 else np.ones(2)
    to_mm = rotation @ np.diag(flips * stretch) * (side_mm / size_px)
    to_pixels = np.diag([1.0 / column_mm, 1.0 / row_mm])
    matrix = to_pixels @ to_mm
    # Turned and stretched, a square need not hold the middle of an object that it held before.
    middle_px = np.clip(np.linalg.solve(to_mm, -shift_mm), -0.48 * size_px, 0.48 * size_px)
    center_xy = to_pixels @ (middle_mm - to_mm @ middle_px)
    offset = center_xy - matrix @ np.full(2, 0.5 * size_px)
    rows = ((float(matrix[0, 0]), float(matrix[0, 1])), (float(matrix[1, 0]), float(matrix[1, 1])))
    return View(rows, (float(offset[0]), float(offset[1])), size_px)


def crop_bounds(view: View, slice_shape: tuple[int, int], margin_px: int = 2) -> tuple[int, int, int, int] | None:
    """Half-open row0, row1, column0, column1 of the part of the slice that the view touches; None when it misses it."""
    corners = view.corners_xy()
    low = np.floor(corners.min(axis=0)).astype(int) - margin_px
    high = np.ceil(corners.max(axis=0)).astype(int) + margin_px
    row0, row1 = max(int(low[1]), 0), min(int(high[1]), slice_shape[0])
    column0, column1 = max(int(low[0]), 0), min(int(high[0]), slice_shape[1])
    return (row0, row1, column0, column1) if row0 < row1 and column0 < column1 else None


def sample_planes(planes: torch.Tensor, view: View, origin_rc: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """Resample planes of a slice into the view, bilinear, 0 outside, pre-averaged where the view minifies.

    Masks go through the same call: thresholded at 0.5 they keep every voxel centre and get smooth borders in between.

    Args:
        planes: (C, h, w) float, a crop of the slice.
        view: where to look, in pixels of the whole slice.
        origin_rc: row and column of the crop's first pixel in the slice.

    Returns:
        (C, size, size) float tensor.
    """
    (a, b), (c, d) = view.matrix
    offset_x, offset_y = view.offset_xy[0] - origin_rc[1], view.offset_xy[1] - origin_rc[0]
    factor = int(view.shrink + 0.25)
    if factor >= 2:
        planes = F.avg_pool2d(planes[None], factor, ceil_mode=True, count_include_pad=False)[0]
        a, b, c, d = a / factor, b / factor, c / factor, d / factor
        offset_x, offset_y = offset_x / factor, offset_y / factor
    height, width = planes.shape[-2:]
    centers = torch.arange(view.size_px, dtype=torch.float32) + 0.5
    # Pixel edges -> grid_sample's -1 ... 1 with align_corners=False.
    across_x, down_x = centers * (2 * a / width), centers * (2 * b / width)
    across_y, down_y = centers * (2 * c / height), centers * (2 * d / height)
    grid = torch.stack(
        (
            across_x[None, :] + (down_x + (2 * offset_x / width - 1))[:, None],
            across_y[None, :] + (down_y + (2 * offset_y / height - 1))[:, None],
        ),
        dim=-1,
    )
    return F.grid_sample(planes[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def augment_intensity(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Change an image as scanners, protocols and windows do; values stay in [0, 1].

    Hand-written: MONAI's transforms of the same kinds take twice the time (2.0 instead of 1.1 ms a sample on a core).

    Args:
        image: (C, H, W) float in [0, 1]; for clips the slices may be the channels.
        rng: source of randomness.

    Returns:
        A new tensor of the same shape.
    """

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    image = image.clone()
    if chance(0.15):
        image = _lower_resolution(image, float(rng.uniform(1.5, 4.0)))
    if chance(0.15):
        image = blur(image, int(rng.integers(1, 5)))
    if chance(0.2):
        bias = torch.from_numpy(rng.normal(0.0, 0.25, (1, 1, 4, 4)).astype(np.float32))
        field = F.interpolate(bias, size=image.shape[-2:], mode="bilinear", align_corners=True)[0]
        image = image * torch.exp_(field)
    if chance(0.3):
        image = image.clamp_(0.0, 1.0).pow_(float(np.exp(rng.uniform(-0.6, 0.6))))
    if chance(0.4):
        center = float(image.mean())
        image = (image - center).mul_(float(rng.uniform(0.6, 1.5))).add_(center + float(rng.uniform(-0.12, 0.12)))
    if chance(0.25):
        deviation = float(rng.uniform(0.01, 0.08))
        noise = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
        # Half the time as speckle: the noise of ultrasound and of low-count images grows with the signal.
        image = image + (noise.mul_(deviation) if rng.random() < 0.6 else noise.mul_(2.0 * deviation).mul_(image))
    image = image.clamp_(0.0, 1.0)
    if chance(0.1):
        image = 1.0 - image
    return image


def blur(image: torch.Tensor, passes: int) -> torch.Tensor:
    """Nearly Gaussian blur of (C, H, W) by repeated 3 x 3 means: sigma 0.8 px times the root of the passes.

    A tenth of the time of a convolution with one channel, which is what a sample can afford.
    """
    for _ in range(passes):
        image = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[0]
    return image


def _lower_resolution(image: torch.Tensor, factor: float) -> torch.Tensor:
    """What is left of (C, H, W) after a scan with larger pixels."""
    height, width = image.shape[-2:]
    small = F.interpolate(image[None], size=(int(height / factor), int(width / factor)), mode="area")
    return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0]
