"""Intensity windows: which range of a volume's values is spread over what the network and the reader see.

Only the two bounds are kept per volume; they are applied to copies of slices, never to the volume.

Choice (``choose_window``)
    * CT (known by the modality, or by its histogram: air near -1000 HU and soft tissue near 0 HU): the preset
      ``"ct"``, -400 ... 400 HU. One wide soft-tissue window for every CT, because predicting the organ goes badly wrong
      when it goes wrong. It is twice the usual abdominal width: liver against lesion keeps its contrast, enhanced
      vessels and spongy bone are not yet saturated, and lung stays plainly darker than any tissue around it.
      The narrower and wider presets (brain, lung, bone, ...) are the user's to pick.
    * 8-bit colour: 0 ... 255 as it is.
    * anything else: 0.5 ... 99.5 percentile of the foreground.
The bounds of the window become 0 and 1, never the extremes of the clipped data: the same tissue has the same grey
whatever else is shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError

#: How many values statistics are made of: enough for percentiles, and quick on any volume.
SAMPLE_SIZE = 1_000_000
#: A value that fills at least this share of the sample may be background.
MINIMUM_BACKGROUND_SHARE = 0.01
ZERO_BACKGROUND_SHARE = 0.2
#: Less foreground than this share of the sample is a small object on a background, not an image with padding.
SPARSE_SHARE = 0.01
PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class IntensityWindow:
    """Range of intensities mapped to 0 ... 1, in the volume's own units (HU for CT)."""

    low: float
    high: float
    name: str = "custom"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UserError(f"An intensity window needs low < high, both finite; got {self.low} and {self.high}.")

    @classmethod
    def from_width_level(cls, width: float, level: float, name: str = "custom") -> IntensityWindow:
        """The radiologist's way of naming a window: its width and its centre."""
        return cls(level - width / 2.0, level + width / 2.0, name)

    @property
    def width(self) -> float:
        """Difference of the bounds."""
        return self.high - self.low

    @property
    def level(self) -> float:
        """Middle of the bounds."""
        return (self.low + self.high) / 2.0


#: CT presets in HU; width and level as used by the MedSAM family, bone as on radiopaedia.org/articles/windowing-ct.
PRESETS = {
    "ct": IntensityWindow.from_width_level(800, 0, "ct"),
    "abdomen": IntensityWindow.from_width_level(400, 40, "abdomen"),
    "lung": IntensityWindow.from_width_level(1500, -600, "lung"),
    "mediastinum": IntensityWindow.from_width_level(350, 50, "mediastinum"),
    "brain": IntensityWindow.from_width_level(80, 40, "brain"),
    "bone": IntensityWindow.from_width_level(1800, 400, "bone"),
}


def preset_window(name: str) -> IntensityWindow:
    """Preset by name, upper or lower case; UserError lists the names there are."""
    try:
        return PRESETS[name.strip().lower()]
    except KeyError:
        raise UserError(f"There is no window preset {name!r}; choose one of {', '.join(sorted(PRESETS))}.") from None


def parse_window(text: str) -> IntensityWindow:
    """A window from "LOW,HIGH" or the name of a preset.

    Raises:
        UserError: It is neither.
    """
    low, comma, high = text.partition(",")
    if not comma:
        return preset_window(text)
    try:
        bounds = float(low), float(high)
    except ValueError:
        presets = ", ".join(sorted(PRESETS))
        raise UserError(f"The window {text!r} is neither LOW,HIGH nor one of {presets}.") from None
    return IntensityWindow(*bounds)


def choose_window(volume: np.ndarray, modality: str | None = None) -> IntensityWindow:
    """Window for a whole volume, by modality and by its values.

    Args:
        volume: Grey ``(D, H, W)`` or ``(H, W)``, or colour ``(D, H, W, 3 or 4)``; any real type, NaN and inf allowed.
        modality: DICOM modality or free text that starts with it ("CT", "MR T1", ...); None lets the values decide.
    """
    array = _real_array(volume)
    colour = array.ndim == 4
    if colour:
        array = array[..., :3]  # the fourth channel is opacity
    sample = _sample(array)
    if len(sample) == 0:
        return IntensityWindow(0.0, 1.0, "empty")
    if colour and array.dtype == np.uint8:
        return IntensityWindow(0.0, 255.0, "8-bit colour")
    if not colour and array.dtype != np.uint8 and _is_ct(sample, modality):
        return PRESETS["ct"]
    return _foreground_window(sample) or _full_range_window(array)


#: What is said of a volume without contrast.
NOTHING_TO_SEE = "There is nothing to see in the scan: all its voxels have the same value, or none."


def has_contrast(volume: np.ndarray) -> bool:
    """False where all finite voxels of a volume are the same, or none is finite: there is nothing to see in it."""
    array = _real_array(volume)
    for part in (array[len(array) // 2], array):  # nearly always the middle slice tells
        values = part if np.issubdtype(part.dtype, np.integer) else part[np.isfinite(part)]
        if values.size and values.min() < values.max():
            return True
    return False


def apply_window(array: np.ndarray, window: IntensityWindow) -> np.ndarray:
    """Copy of ``array`` with the window spread over 0 ... 1, clipped, float32. NaN and infinite values become 0."""
    values = _real_array(array)
    # float32 holds every 16-bit value exactly; wider types are shifted towards zero in double precision first
    wide = values.dtype.itemsize > 2 and values.dtype != np.float32
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.subtract(values, window.low, dtype=np.float64 if wide else np.float32)
        scaled *= 1.0 / window.width
        if np.issubdtype(values.dtype, np.floating):
            scaled[~np.isfinite(values)] = 0.0
        np.clip(scaled, 0.0, 1.0, out=scaled)
    return scaled.astype(np.float32, copy=False)


def _is_hounsfield(sample: np.ndarray) -> bool:
    """HU test on finite values: a peak of air, a peak of soft tissue, next to nothing where CT has nothing.

    Padding outside the scanner's circle (one constant, often -2048 or -3024) is left out first.
    """
    padding = sample.min()
    values = sample[sample != padding] if padding < -1100 else sample
    if len(values) == 0:
        return False
    air = np.mean((values >= -1100) & (values <= -800))
    soft_tissue = np.mean((values >= -200) & (values <= 200))
    impossible = np.mean((values < -1100) | (values > 3200))
    return bool(air > 0.01 and soft_tissue > 0.02 and impossible < 0.02)


def _is_ct(sample: np.ndarray, modality: str | None) -> bool:
    """By modality where there is one, unless the values contradict it; by the values otherwise."""
    if modality is None or not modality.strip():
        return _is_hounsfield(sample)
    return modality.strip().upper().startswith("CT") and _may_be_hounsfield(sample)


def _may_be_hounsfield(sample: np.ndarray) -> bool:
    """False for a CT that was stored without its offset of 1024, standardised, or already windowed to 8 bit."""
    low, high = sample.min(), sample.max()
    if high - low < 30:  # standardised, or scaled to 0 ... 1
        return False
    eight_bit = low == 0 and 200 <= high <= 255
    # with the offset left in, water is 1024: where bone should be rare
    return bool(low < 0 or (not eight_bit and np.mean(sample > 900) < 0.1))


def _real_array(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype == bool:
        return array.view(np.uint8)
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise UserError(f"Intensities must be real numbers, not {array.dtype}.")
    return array


def _sample(array: np.ndarray) -> np.ndarray:
    """Finite values on a regular coarse grid over the image axes, float64, about SAMPLE_SIZE of them at most."""
    step = [1, 1, 1]
    image_axes = array.shape[:3]
    while np.prod([-(-size // s) for size, s in zip(image_axes, step)]) > SAMPLE_SIZE:
        # thin out the axis that has most samples left, so that thin volumes keep all their slices
        remaining = [-(-size // s) for size, s in zip(image_axes, step)]
        step[int(np.argmax(remaining))] += 1
    values = array[tuple(slice(None, None, s) for s, _ in zip(step, image_axes))].reshape(-1).astype(np.float64)
    return values[np.isfinite(values)] if np.issubdtype(array.dtype, np.floating) else values


def _foreground_window(sample: np.ndarray) -> IntensityWindow | None:
    """Percentiles of what is not background; None when the sample has no contrast at all."""
    low, high = sample.min(), sample.max()
    if low == high:
        return None
    background = sample == low
    foreground = sample[~background] if background.mean() >= MINIMUM_BACKGROUND_SHARE else sample
    # skull-stripped and standardised images have a background of 0 in the middle of their range
    zero = foreground == 0.0
    if zero.mean() >= ZERO_BACKGROUND_SHARE and not zero.all():
        foreground = foreground[~zero]
    first, last = np.percentile(foreground, PERCENTILES)
    if first == last or len(foreground) < SPARSE_SHARE * len(sample):
        # a few bright voxels on an empty background, or two values in all: what matters is their contrast to it
        first, last = low, max(last, foreground.max() if first == last else last)
    if first == last:
        # what differs from the background lies below it
        last = high
    return IntensityWindow(float(first), float(last), "percentile")


def _full_range_window(array: np.ndarray) -> IntensityWindow:
    """From every voxel: the coarse grid may have missed the few that differ. Constant volumes map to 0."""
    values = array if np.issubdtype(array.dtype, np.integer) else array[np.isfinite(array)]
    low, high = float(values.min()), float(values.max())
    if low < high:
        return IntensityWindow(low, high, "full range")
    step = max(1.0, abs(low) * 1e-3)
    # near the largest number there is, the window lies below the value
    return (
        IntensityWindow(low, low + step, "constant")
        if math.isfinite(low + step)
        else IntensityWindow(low - step, low, "constant")
    )
