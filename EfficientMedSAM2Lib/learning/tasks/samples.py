"""Samples of the cases, and what the image encoder says of them: computed once, since the encoder does not learn.

On two cores the encoder's forward and backward pass is most of a training step; with its features kept, a step costs
what the decoder costs. 400 views take 0.14 GB in FP16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from EfficientMedSAM2Lib.core.boxes import bounding_box, in_plane_axes
from EfficientMedSAM2Lib.core.geometry import slice_axis
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, windowed
from EfficientMedSAM2Lib.learning.samples.augment import SIZE_PX, View
from EfficientMedSAM2Lib.learning.samples.batches import collate_slices
from EfficientMedSAM2Lib.learning.samples.prompts import random_click
from EfficientMedSAM2Lib.learning.samples.sources.labelled import LabelledSource
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex
from EfficientMedSAM2Lib.learning.samples.sources.sample import SliceSample, sample_without_neighbour
from EfficientMedSAM2Lib.models import EfficientMedSAM2, HeuristicsConfig, ImageFeatures
from EfficientMedSAM2Lib.predictors.slices.proposals import search_side_mm
from EfficientMedSAM2Lib.predictors.viewport_choice import task_view_side_mm

VIEWS, FEWEST, MOST = 400, 24, 100
"""Views of all cases together, and of one case."""
SHARE_OF_SEARCH_VIEWS = 0.3
SHARE_FOUND = 0.4
"""Of these, those of the second look of a search, around what the first has found."""
SHARE_WITHOUT = 0.4
"""Of these, those on which the structure is not."""
SHARE_OF_CLICK_VIEWS = 0.2
"""Of all views, those of a first click."""
WIDE = 0.3
_AT_ONCE = 8


@dataclass
class CaseSamples:
    """Samples of one case with their features.

    Attributes:
        samples: As the other trainings have them; images are not kept where nobody asks for them again.
        searched: (N,) bool, as a search sees them: views that are asked about without a prompt, too.
        clicks: (N,2) the click (x, y) in network pixels, as pixel edges, of views as a first click sees them; NaN of
            others.
        features: Of N views, in FP16.
    """

    samples: list[SliceSample]
    searched: np.ndarray
    clicks: np.ndarray
    features: ImageFeatures

    def is_drawn(self, number: int) -> bool:
        """Whether a view is as a box or a mask sees it."""
        return not self.searched[number] and not np.isfinite(self.clicks[number]).all()


def sample_case(model: EfficientMedSAM2, image: LoadedImage, count: int, seed: Sequence[int]) -> CaseSamples:
    """Draw views of one case and encode them.

    Args:
        model: Network for inference.
        image: The case; its structure has the value 1.
        count: Number of views.
        seed: The same seed gives the same views.
    """
    rng = np.random.default_rng(list(seed))
    source = LabelledSource(ObjectIndex([image]), WIDE)
    kinds = rng.random(count)
    searched = kinds < SHARE_OF_SEARCH_VIEWS
    clicked = kinds >= 1 - SHARE_OF_CLICK_VIEWS
    clicks = np.full((count, 2), np.nan)
    views, samples = _TaskViews(image, model.heuristics), []
    for number in range(count):
        if clicked[number]:
            sample, clicks[number] = views.clicked(rng)
        else:
            sample = views.searched(rng) if searched[number] else source.draw(rng)
        samples.append(sample)
    parts: list[ImageFeatures] = []
    with torch.no_grad():
        for first in range(0, count, _AT_ONCE):
            images = torch.stack([sample.image.expand(3, -1, -1) for sample in samples[first : first + _AT_ONCE]])
            parts.append(model.encode_image(images).map(lambda part: part.half()))
    features = ImageFeatures(*(None if part[0] is None else torch.cat(part) for part in zip(*parts)))
    if not model.config.is_fine:  # nobody looks at them again
        samples = [replace(sample, image=sample.image[:, :1, :1].clone()) for sample in samples]
    return CaseSamples(samples, searched, clicks, features)


def views_per_case(cases: int) -> int:
    """How many views of each of so many cases are drawn."""
    return int(np.clip(VIEWS // cases, FEWEST, MOST))


class _TaskViews:
    """Views of a case as a search and a first click see it.

    Args:
        image: The case; its structure has the value 1.
        heuristics: Of the network.
    """

    def __init__(self, image: LoadedImage, heuristics: HeuristicsConfig) -> None:
        self.image, self.heuristics = image, heuristics
        self.size_mm = structure_size_mm(image)
        self.axis = slice_axis(image.spacing_mm[::-1], image.voxels.shape[:3])
        areas = image.labels.sum(axis=in_plane_axes(self.axis), dtype=np.int64)
        self.present, self.absent = np.flatnonzero(areas), np.flatnonzero(areas == 0)
        self.spacing = image.slice_spacing(self.axis)

    def searched(self, rng: np.random.Generator) -> SliceSample:
        """A view with or without the structure, as it is seen where nobody has given a prompt (`propose`)."""
        is_absent = len(self.absent) and rng.random() < SHARE_WITHOUT
        number = int(rng.choice(self.absent if is_absent else self.present))
        mask = self._mask(number)
        rows, columns = mask.shape
        side, reach = search_side_mm((rows, columns), self.spacing, self.size_mm), 0.4
        middle = (rng.uniform(0, rows), rng.uniform(0, columns))
        if rng.random() < SHARE_FOUND:
            side, reach = task_view_side_mm(self.size_mm, (rows, columns), self.spacing, self.heuristics), 0.15
        side *= float(rng.uniform(0.9, 1.1))
        if mask.any():
            # The structure is somewhere in the view, as a rule whole.
            shift = rng.uniform(-reach, reach, 2) * side / np.array(self.spacing)
            middle = tuple(np.argwhere(mask).mean(axis=0) + shift)
        return self._sample(number, mask, _square_view(middle, side, (rows, columns), self.spacing), rng)

    def clicked(self, rng: np.random.Generator) -> tuple[SliceSample, np.ndarray]:
        """A view as a first click on the structure opens it (`task_view`), and that click (x, y) in network pixels."""
        number = int(rng.choice(self.present))
        mask = self._mask(number)
        rows, columns = mask.shape
        click = random_click(mask, rng)
        assert click is not None
        side = task_view_side_mm(self.size_mm, (rows, columns), self.spacing, self.heuristics)
        view = _square_view(click[::-1], side * float(rng.uniform(0.9, 1.1)), (rows, columns), self.spacing)
        return self._sample(number, mask, view, rng), (np.array(click) - view.offset_xy) / np.diag(view.matrix)

    def _mask(self, number: int) -> np.ndarray:
        return self.image.slice_labels(self.axis, number) > 0

    def _sample(self, number: int, mask: np.ndarray, view: View, rng: np.random.Generator) -> SliceSample:
        pixels = windowed(self.image.slice_voxels(self.axis, number), self.image.window)
        name = f"{self.image.name}:{self.axis}:{number}"
        sample = sample_without_neighbour(pixels, mask, view, (0, 0), rng, 1.0, name, least_px=0)
        assert sample is not None
        return sample


def structure_size_mm(image: LoadedImage) -> float:
    """Longest side, in mm, of the box of everything labelled, on the slices."""
    axis = slice_axis(image.spacing_mm[::-1], image.voxels.shape[:3])
    box = bounding_box(image.labels > 0)
    assert box is not None
    return max((box[other][1] - box[other][0]) * image.spacing_mm[other] for other in in_plane_axes(axis))


def _square_view(
    middle_rc: tuple[float, ...], side_mm: float, shape: tuple[int, int], spacing_mm: tuple[float, float]
) -> View:
    """A view of a square in mm around a place, moved so that it does not look beyond the slice more than it must."""
    extents = [side_mm / step for step in spacing_mm]
    starts = []
    for place, extent, length in zip(middle_rc, extents, shape):
        free = length - extent
        starts.append(float(np.clip(place - extent / 2, 0, free)) if free > 0 else free / 2)
    matrix = ((extents[1] / SIZE_PX, 0.0), (0.0, extents[0] / SIZE_PX))
    return View(matrix, (starts[1], starts[0]), SIZE_PX)


class SampleBatches:
    """Random batches of several cases, each case as often as the others.

    Args:
        cases: Of which to draw.
        size: Samples in a batch.
        rng: Source of randomness.
    """

    def __init__(self, cases: Sequence[CaseSamples], size: int, rng: np.random.Generator) -> None:
        self.cases, self.size, self.rng = list(cases), size, rng

    def __iter__(self) -> Iterator[tuple[dict[str, Any], ImageFeatures]]:
        while True:
            yield self.draw()

    def draw(self) -> tuple[dict[str, Any], ImageFeatures]:
        """A batch as `collate_slices` makes it, with `searched` (B,) and `clicks` (B,2) besides, and its features in
        float32."""
        chosen = self.rng.integers(len(self.cases), size=self.size)
        picks = [(self.cases[case], int(self.rng.integers(len(self.cases[case].samples)))) for case in chosen]
        return batch_of(picks)


def batch_of(picks: Sequence[tuple[CaseSamples, int]]) -> tuple[dict[str, Any], ImageFeatures]:
    """Chosen samples of cases as a batch; as `SampleBatches.draw` gives it."""
    batch = collate_slices([case.samples[number] for case, number in picks])
    parts = zip(*(case.features.select(slice(number, number + 1)) for case, number in picks))
    features = ImageFeatures(*(None if part[0] is None else torch.cat(part).float() for part in parts))
    batch["searched"] = np.array([bool(case.searched[number]) for case, number in picks])
    batch["clicks"] = np.array([case.clicks[number] for case, number in picks])
    return batch, features


__all__ = ["CaseSamples", "SampleBatches", "batch_of", "sample_case", "structure_size_mm", "views_per_case"]
