"""One panel of a preview: a slice with contours and prompts, direction letters, scale and position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.boxes import Box, union
from EfficientMedSAM2Lib.core.geometry import ijk_to_ras_points, slice_axis, spacing_of
from EfficientMedSAM2Lib.core.planes import PLANE_NAMES, Plane, shows_patient
from EfficientMedSAM2Lib.core.windows import IntensityWindow, apply_window
from EfficientMedSAM2Lib.imaging.markups import Markup
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.volumes import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Nothing smaller than this is shown, so that a lesion is seen with its surroundings.
MINIMUM_VIEW_MM = 80.0
#: How curves are drawn.
CURVE_STYLES: dict[str, Any] = {"lasso": ":", "scribble": "-"}


@dataclass(frozen=True)
class DrawnPrompt:
    """A prompt in voxels: a box, or points with their signs; a line or curve joins its points."""

    markup: Markup
    box: Box | None
    points_kji: np.ndarray
    color: Any

    def slices(self, axis: int) -> list[int]:
        """Slices to show it on: those of its points, or the middle one of a box."""
        if self.box is not None:
            return [(self.box[axis][0] + self.box[axis][1] - 1) // 2]
        return np.floor(self.points_kji[:, axis] + 0.5).astype(int).tolist()

    @property
    def extent(self) -> Box:
        """Half-open box of voxels around it."""
        if self.box is not None:
            return self.box
        voxels = np.floor(self.points_kji + 0.5).astype(int)
        return [[int(low), int(high) + 1] for low, high in zip(voxels.min(axis=0), voxels.max(axis=0))]

    def touches(self, axis: int, index: int) -> bool:
        """Whether any of it lies on a slice."""
        if self.box is not None:
            return self.box[axis][0] <= index < self.box[axis][1]
        return bool((np.floor(self.points_kji[:, axis] + 0.5) == index).any())


@dataclass(frozen=True)
class PreviewCase:
    """All there is to draw. `boxes` are those of the segments that are not empty."""

    volume: Volume
    segments: Sequence[Segment]
    colors: Sequence[Any]
    boxes: Sequence[Box]
    drawn: Sequence[DrawnPrompt]
    window: IntensityWindow

    @property
    def has_scale(self) -> bool:
        """False for a photograph, whose millimetres mean nothing."""
        return shows_patient(self.volume.ijk_to_ras, self.volume.shape_kji)


def part_to_show(plane: Plane, case: PreviewCase) -> tuple[float, ...]:
    """Part of a plane to show, in mm on the screen (left, right, bottom, top): what matters and as much around it."""
    volume = case.volume
    spacing_kji = spacing_of(volume.ijk_to_ras)[::-1]
    size = [volume.shape_kji[array_axis] * spacing_kji[array_axis] for array_axis in (plane.across, plane.down)]
    region = union(*case.boxes, *(prompt.extent for prompt in case.drawn))
    if region is None:
        return (0.0, size[0], size[1], 0.0)
    corners = [plane.position(np.array(region)[:, end] - 0.5, volume.shape_kji) for end in (0, 1)]
    limits = []
    for n, array_axis in enumerate((plane.across, plane.down)):
        low, high = sorted(corner[n] * spacing_kji[array_axis] for corner in corners)
        length = min(size[n], max(1.8 * (high - low), MINIMUM_VIEW_MM))
        start = min(max((low + high - length) / 2, 0.0), size[n] - length)
        # nearly all of it: show all of it
        limits += [start, start + length] if length < 0.75 * size[n] else [0.0, size[n]]
    return (limits[0], limits[1], limits[3], limits[2])


def draw_panel(axes: Axes, plane: Plane, index: int, view: tuple[float, ...], case: PreviewCase) -> None:
    """One slice with contours, prompts, direction letters, scale and position."""
    volume = case.volume
    spacing_kji = spacing_of(volume.ijk_to_ras)[::-1]
    step = np.array([spacing_kji[plane.across], spacing_kji[plane.down]])
    picture = apply_window(plane.image(volume.array, index), case.window)
    rows, columns = picture.shape[:2]
    extent = (0.0, columns * step[0], rows * step[1], 0.0)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="bilinear", aspect="equal")
    x, y = (np.arange(columns) + 0.5) * step[0], (np.arange(rows) + 0.5) * step[1]
    for segment, color in zip(case.segments, case.colors):
        mask = plane.image(segment.mask, index)
        if mask.any():
            # one voxel around, so that a mask at the border of the image is closed too
            closed = np.pad(mask.astype(np.float32), 1)
            x_closed, y_closed = np.r_[x[0] - step[0], x, x[-1] + step[0]], np.r_[y[0] - step[1], y, y[-1] + step[1]]
            axes.contourf(x_closed, y_closed, closed, levels=[0.5, 2.0], colors=[color], alpha=0.22)
            axes.contour(x_closed, y_closed, closed, levels=[0.5], colors=[color], linewidths=1.5)
    touched = [prompt for prompt in case.drawn if prompt.touches(plane.axis, index)]
    for prompt in touched:
        _draw_prompt(axes, prompt, plane, index, step, volume.shape_kji)
    axes.set_xlim(view[0], view[1])
    axes.set_ylim(view[2], view[3])
    axes.set_axis_off()
    axes.set_anchor("C")
    edge: dict[str, Any] = {"color": "0.9", "fontsize": 9, "transform": axes.transAxes, "path_effects": _halo(2)}
    axes.text(0.02, 0.5, plane.letters[0], va="center", **edge)
    axes.text(0.5, 0.985, plane.letters[1], ha="center", va="top", **edge)
    if case.has_scale:
        _scale_bar(axes, view)
    middle = np.array([(size - 1) / 2 for size in volume.shape_kji])
    middle[plane.axis] = index
    center_ras = ijk_to_ras_points(middle[::-1], volume.ijk_to_ras)
    title = f"{plane.name}  slice {index}"
    if plane.name in PLANE_NAMES.values():
        along = next(axis for axis, name in PLANE_NAMES.items() if name == plane.name)
        title += f"   {'RAS'[along] if center_ras[along] >= 0 else 'LPI'[along]} {abs(center_ras[along]):.0f} mm"
    prompted = bool(touched) and plane.axis == slice_axis(spacing_of(volume.ijk_to_ras), volume.shape_kji)
    axes.set_title(
        title + ("   prompted" if prompted else ""), color="white" if prompted else "0.65", fontsize=9, pad=4
    )


def _draw_prompt(
    axes: Axes, prompt: DrawnPrompt, plane: Plane, index: int, step: np.ndarray, shape_kji: Sequence[int]
) -> None:
    from matplotlib.patches import Rectangle

    halo = _halo(3)
    if prompt.box is not None:
        first, last = (np.array(plane.position(np.array(prompt.box)[:, end] - 0.5, shape_kji)) * step for end in (0, 1))
        corner, size = np.minimum(first, last), np.abs(last - first)
        axes.add_patch(
            Rectangle(
                corner, *size, fill=False, edgecolor=prompt.color, linestyle="--", linewidth=1.3, path_effects=halo
            )
        )
        return
    places = np.array([plane.position(point, shape_kji) for point in prompt.points_kji]) * step
    if prompt.markup.kind == "line":
        axes.plot(*places.T, color=prompt.color, linewidth=1.5, marker="o", markersize=4, path_effects=halo)
        return
    on_slice = np.floor(prompt.points_kji[:, plane.axis] + 0.5) == index
    if prompt.markup.is_curve:
        x, y = np.where(on_slice[:, None], places, np.nan).T  # no line through what lies on other slices
        color = prompt.color if all(prompt.markup.positive) else "red"
        style = CURVE_STYLES[prompt.markup.kind]
        axes.plot(x, y, color=color, linewidth=1.8, linestyle=style, path_effects=halo)
        return
    for place, shown, positive in zip(places, on_slice, prompt.markup.positive):
        if shown:
            shape: dict[str, Any] = {"marker": "o", "markersize": 6, "color": prompt.color, "markeredgecolor": "white"}
            if not positive:
                shape = {"marker": "x", "markersize": 7, "color": "red", "markeredgewidth": 2}
            axes.plot(*place, **shape)


def _halo(width: float) -> list[Any]:
    """A dark rim, so that light lines and letters are seen on light tissue."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="black")]


def _scale_bar(axes: Axes, view: tuple[float, ...]) -> None:
    """A round length of a fifth of the view or less, lower right."""
    length = max((mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm <= (view[1] - view[0]) / 4), default=1)
    right, bottom = view[1] - 0.03 * (view[1] - view[0]), view[2] - 0.03 * (view[2] - view[3])
    axes.plot(
        [right - length, right],
        [bottom, bottom],
        color="0.9",
        linewidth=2,
        solid_capstyle="butt",
        path_effects=_halo(3.5),
    )
    axes.text(
        right - length / 2,
        bottom,
        f"{length} mm",
        color="0.9",
        fontsize=7,
        ha="center",
        va="bottom",
        path_effects=_halo(2),
    )
