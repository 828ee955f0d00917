"""Samples from pseudo-labels: a teacher's trusted masks on unlabelled slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.dataset.manifest import dataset_of
from EfficientMedSAM2Lib.learning.samples.augment import crop_bounds, random_view
from EfficientMedSAM2Lib.learning.samples.sources.components import tight_box
from EfficientMedSAM2Lib.learning.samples.sources.sample import SliceSample, sample_without_neighbour

REFRESH_EVERY = 1000  # draws between two looks for new files: labelling may still be going on


@dataclass(frozen=True)
class _PseudoObject:
    image: np.ndarray  # (H, W) uint8, shared by the objects of a slice
    packed: np.ndarray
    box_rc: tuple[int, int, int, int]
    score: float
    name: str


class PseudoSource:
    """Draws samples from a folder of pseudo-label files; usable once it holds an object."""

    def __init__(self, folder: Path, wide_probability: float = 0.3, leave_out: Iterable[str] = ()):
        """Read what is there.

        Args:
            folder: where `pseudo_labels` writes its `.npz` files.
            wide_probability: share of views larger than about 2.6 times the object.
            leave_out: data sets whose images are not used. Then neither is a file that no record tells the image of.
        """
        self.folder = folder
        self._leave_out = set(leave_out)
        self.wide_probability = wide_probability
        self._known: set[str] = set()
        self._slices: list[list[_PseudoObject]] = []
        self._until_refresh = REFRESH_EVERY
        self.refresh()

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._slices)

    def refresh(self) -> None:
        """Read files that are new since the last time."""
        from EfficientMedSAM2Lib.learning.pseudo.labels import load_labels, read_sources

        sources = read_sources(self.folder) if self._leave_out else {}
        for path in sorted(self.folder.glob("*.npz")):
            if path.name in self._known:
                continue
            if self._leave_out:
                if path.name not in sources:
                    continue  # its record may be written later
                if dataset_of(sources[path.name]) in self._leave_out:
                    self._known.add(path.name)
                    continue
            self._known.add(path.name)
            image, masks, scores = load_labels(path)
            objects = []
            for mask, score in zip(masks, scores):
                box = tight_box(mask)
                if box is not None:
                    objects.append(_PseudoObject(image, np.packbits(mask), box, float(score), path.stem))
            if objects:
                self._slices.append(objects)

    def draw(self, rng: np.random.Generator) -> SliceSample:
        """A random sample: first a slice, then one of its objects, so that no busy slice takes over."""
        self._until_refresh -= 1
        if self._until_refresh <= 0:
            self._until_refresh = REFRESH_EVERY
            self.refresh()
        if not self._slices:
            raise UserError(f"'{self.folder}' holds no pseudo-labels: run the pseudo_labels command first.")
        while True:
            objects = self._slices[int(rng.integers(len(self._slices)))]
            sample = self._sample(objects[int(rng.integers(len(objects)))], rng)
            if sample is not None:
                return sample

    def _sample(self, item: _PseudoObject, rng: np.random.Generator) -> SliceSample | None:
        shape = (item.image.shape[0], item.image.shape[1])
        view = random_view(item.box_rc, shape, (1.0, 1.0), rng, self.wide_probability)
        bounds = crop_bounds(view, shape)
        if bounds is None:
            return None
        crop = (slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3]))
        mask = np.unpackbits(item.packed, count=item.image.size).reshape(shape)[crop]
        pixels = item.image[crop].astype(np.float32) / 255.0
        return sample_without_neighbour(
            pixels, mask, view, (bounds[0], bounds[2]), rng, item.score, f"pseudo/{item.name}"
        )
