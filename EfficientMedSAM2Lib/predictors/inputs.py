"""What users hand in, checked and brought to one form. Everything wrong is a UserError that says what to do.

Prompts that SAM2 answers are answered: a thin or reversed box, one that lies outside, points outside, none at all. Who
wants them refused, as `InteractiveSession` does, checks before it asks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow, choose_window, preset_window

NEGATIVE, POSITIVE = 0, 1
_PADDING, _FIRST_CORNER, _SECOND_CORNER = -1, 2, 3
"""SAM2's other labels: nothing, and a box given as two points."""


class NotFiniteError(UserError):
    """Numbers that are NaN or infinite."""


def to_numpy(values: Any) -> np.ndarray:
    """An array, list or torch tensor as numpy, without a copy where possible."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        return values.numpy()
    return np.asarray(values)


def as_image(image: Any) -> np.ndarray:
    """A picture as (H,W) or (H,W,3).

    Args:
        image: HxW, HxWx1, HxWx3, HxWx4 (opacity is dropped), (1,H,W), (3,H,W), (1,1,H,W), (1,3,H,W), (1,1,3,H,W), of
            any real type: numpy array, torch tensor or PIL image.

    Raises:
        UserError: Any other shape or type, or no pixels.
    """
    if hasattr(image, "getbands") and image.mode not in ("L", "I", "F", "I;16", "RGB"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    array = to_numpy(image)
    if array.dtype.kind not in "buif":
        raise UserError(f"An image needs real numbers, not {array.dtype}.")
    given: tuple[int, ...] = array.shape
    if array.ndim in (4, 5) and all(size == 1 for size in given[:-3]):
        array = array.reshape(given[-3:])
        if array.shape[0] in (1, 3):
            array = np.moveaxis(array, 0, -1)
    elif array.ndim == 3 and given[-1] not in (1, 3, 4) and given[0] in (1, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    elif array.ndim == 3 and array.shape[-1] == 4:
        array = array[..., :3]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or array.size == 0:
        raise UserError(
            f"An image must be HxW, HxWx3, (1,1,H,W) or (1,3,H,W) and not empty; this one has shape {given}."
        )
    return array


def as_mask(mask: Any) -> np.ndarray:
    """A mask of any shape as bool.

    Args:
        mask: bool; whole numbers, of which one besides 0 says what is inside (1, 255, a label); or floats, such as
            probabilities, inside above 0.5.

    Raises:
        UserError: NaN or infinite values, several labels, or no numbers.
    """
    array = to_numpy(mask)
    if array.dtype == bool:
        return array
    if array.dtype.kind not in "uif":
        raise UserError(f"A mask needs bool or real numbers, not {array.dtype}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError("The mask has values that are not finite; give bool, or probabilities from 0 to 1.")
    if array.dtype.kind in "ui" or (array == np.rint(array)).all():
        inside = np.asarray(array != 0)
        values = array[inside]
        if len(values) and (values != values[0]).any():
            labels = np.unique(values)
            listed = ", ".join(f"{label:g}" for label in labels[:4]) + (", ..." if len(labels) > 4 else "")
            raise UserError(f"The mask has several labels ({listed}); choose one, as in mask == {labels[0]:g}.")
        return inside
    return np.asarray(array > 0.5)


def as_window(window: Any, image: np.ndarray, modality: str | None) -> IntensityWindow:
    """The window that is asked for: an `IntensityWindow`, (low, high), a preset's name, or None to choose by the image.

    Args:
        window: See above.
        image: (D,H,W) or (D,H,W,3).
        modality: DICOM modality, or None.
    """
    if window is None:
        return choose_window(image, modality)
    if isinstance(window, str):
        return preset_window(window)
    if hasattr(window, "low") and hasattr(window, "high"):
        return IntensityWindow(float(window.low), float(window.high))
    try:
        low, high = (float(value) for value in window)
    except (TypeError, ValueError) as error:
        raise UserError(f"A window is a preset's name or two numbers (low, high), not {window!r}.") from error
    return IntensityWindow(low, high)


def as_spacing(spacing: Any, count: int) -> tuple[float, ...]:
    """`count` spacings in mm; None means 1 mm everywhere."""
    values = np.ones(count) if spacing is None else np.asarray(spacing, dtype=np.float64).ravel()
    if values.shape != (count,) or not np.isfinite(values).all() or (values <= 0).any():
        raise UserError(f"Spacing must be {count} positive numbers in mm, not {spacing!r}.")
    return tuple(float(value) for value in values)


def as_clicks(
    points: Any, labels: Any, slice_shape: tuple[int, int], in_pixels: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Clicks of one object.

    Args:
        points: (N,2) as (x, y), or None.
        labels: (N,) 1 inside, 0 outside; SAM2's -1 is dropped, and its 2 with 3 are the corners of a box.
        slice_shape: Rows and columns of the slice.
        in_pixels: Whether points are in pixels; else 0...1 of the slice.

    Returns:
        Points (N,2) float64 in pixels of the slice, labels (N,) int64, box (4,) or None. A point inside the object that
        lies outside the slice is moved to the nearest pixel, one outside the object says nothing there.

    Raises:
        UserError: Shapes or labels do not fit, or a point is not a number.
    """
    if points is None and labels is None:
        return np.zeros((0, 2)), np.zeros(0, np.int64), None
    if points is None or labels is None:
        raise UserError("Give points and labels together: one label (1 inside, 0 outside) for each point.")
    xy, marks = to_numpy(points).astype(np.float64), to_numpy(labels)
    xy, marks = xy.reshape(-1, 2) if xy.size == 0 else xy, marks.reshape(-1)
    if xy.ndim == 3 and len(xy) == 1:
        xy = xy[0]
    if xy.ndim == 1 and xy.shape == (2,):
        xy = xy[None]
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) != len(marks):
        raise UserError(
            f"Points must be (N,2) as (x, y) with N labels; got shapes {np.shape(points)} and {np.shape(labels)}."
        )
    if not np.isin(marks, (_PADDING, NEGATIVE, POSITIVE, _FIRST_CORNER, _SECOND_CORNER)).all():
        raise UserError(f"Labels must be 1 (inside) or 0 (outside), not {sorted(set(marks.tolist()))}.")
    marks = marks.astype(np.int64)
    xy, marks = xy[marks != _PADDING], marks[marks != _PADDING]
    xy = _pixels(xy, slice_shape, in_pixels)
    height, width = slice_shape
    # One pixel of grace: x = width is what some viewers report for the right edge.
    outside = ((xy < -1) | (xy > (width, height))).any(axis=1)
    xy, marks = (values[~(outside & (marks == NEGATIVE))] for values in (xy, marks))
    first, second = xy[marks == _FIRST_CORNER], xy[marks == _SECOND_CORNER]
    if len(first) != len(second) or len(first) > 1:
        raise UserError("A box given as points needs one point with label 2 and one with label 3.")
    box = as_box(np.concatenate([first[0], second[0]]), slice_shape) if len(first) else None
    is_click = marks <= POSITIVE
    return xy[is_click].clip(0, (width - 1, height - 1)), marks[is_click], box


def as_box(box: Any, slice_shape: tuple[int, int], in_pixels: bool = True) -> np.ndarray | None:
    """A box XYXY of first and last pixels (4,) float64, its corners in order, cut to the slice; None stays None.

    What of it lies outside the slice is moved to the slice's border.

    Raises:
        UserError: Not four numbers.
    """
    if box is None:
        return None
    corners = to_numpy(box).astype(np.float64)
    if corners.size != 4:
        raise UserError(f"A box is four numbers x0, y0, x1, y1; got shape {corners.shape}.")
    corners = _pixels(corners.reshape(2, 2), slice_shape, in_pixels)
    height, width = slice_shape
    return np.sort(corners, axis=0).clip(0, (width - 1, height - 1)).ravel()


def _pixels(xy: np.ndarray, slice_shape: tuple[int, int], in_pixels: bool) -> np.ndarray:
    if not np.isfinite(xy).all():
        raise NotFiniteError("Coordinates must be finite numbers, not NaN or infinite.")
    # SAM2 divides by the size without a shift of half a pixel.
    return xy if in_pixels else xy * np.array([slice_shape[1], slice_shape[0]])


def as_number(value: Any) -> Any:
    """A scalar of torch or numpy as the plain number that it holds, so that it can be a key; anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value
