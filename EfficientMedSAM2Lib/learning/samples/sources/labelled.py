"""Samples from labelled images: an object, a view of it, and its mask on a neighbouring slice."""

from __future__ import annotations

import numpy as np
import torch

from EfficientMedSAM2Lib.evaluation.dataset.images import windowed
from EfficientMedSAM2Lib.learning.samples.augment import crop_bounds, random_view
from EfficientMedSAM2Lib.learning.samples.random_window import random_window
from EfficientMedSAM2Lib.learning.samples.sources.components import continued_part, random_part, tight_box
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex, ObjectKey
from EfficientMedSAM2Lib.learning.samples.sources.sample import MIN_VISIBLE_PX, SliceSample, finish, resample

FARTHEST_NEIGHBOUR_MM = 12.0


class LabelledSource:
    """Draws samples from an object index."""

    def __init__(self, index: ObjectIndex, wide_probability: float = 0.3, neighbour_probability: float = 0.5):
        """Keep the index.

        Args:
            index: the objects.
            wide_probability: share of views larger than about 2.6 times the object.
            neighbour_probability: share of samples from volumes that carry a neighbour slice's mask.
        """
        self.index = index
        self.wide_probability = wide_probability
        self.neighbour_probability = neighbour_probability

    def draw(self, rng: np.random.Generator) -> SliceSample:
        """A random sample; objects that fall out of their own view are drawn again."""
        while True:
            sample = self.sample(self.index.draw(rng), rng)
            if sample is not None:
                return sample

    def sample(self, key: ObjectKey, rng: np.random.Generator) -> SliceSample | None:
        """A sample of one object, None when too little of it is in view."""
        image = self.index.images[key.image]
        row0, row1, column0, column1 = key.box_rc
        part = random_part(self.index.mask(key)[row0:row1, column0:column1], rng)
        own_box = tight_box(part)
        if own_box is None:
            return None
        box = (own_box[0] + row0, own_box[1] + row0, own_box[2] + column0, own_box[3] + column0)
        voxels = image.slice_voxels(key.axis, key.slice)
        shape = (voxels.shape[0], voxels.shape[1])
        view = random_view(box, shape, image.slice_spacing(key.axis), rng, self.wide_probability)
        bounds = crop_bounds(view, shape)
        if bounds is None:
            return None
        crop = (slice(bounds[0], bounds[1]), slice(bounds[2], bounds[3]))
        mask = np.zeros(shape, bool)
        mask[row0:row1, column0:column1] = part
        mask = mask[crop]
        pixels = np.ascontiguousarray(voxels[crop])
        masks = [mask]
        steps = self._neighbour_step(key, rng)
        if steps:
            masks.append(continued_part(self.index.mask(key, key.slice + steps)[crop], mask))
        window = random_window(image, pixels, mask, rng)
        seen, found, valid = resample(windowed(pixels, window), masks, view, (bounds[0], bounds[2]))
        if float(found[0].sum()) < MIN_VISIBLE_PX:
            return None
        neighbour = found[1] if steps else torch.zeros_like(found[0])
        return SliceSample(
            image=finish(seen, valid, rng),
            mask=found[0],
            neighbour_mask=neighbour,
            neighbour_valid=bool(steps) and bool(neighbour.any()),
            neighbour_distance_mm=steps * image.spacing_mm[key.axis],
            pixel_scale=view.pixel_scale,
            confidence=1.0,
            name=f"{image.name}:{key.axis}:{key.slice}:{'u' if key.union >= 0 else ''}{max(key.union, key.value)}",
        )

    def _neighbour_step(self, key: ObjectKey, rng: np.random.Generator) -> int:
        """How many slices away the neighbour is, signed; 0 for none."""
        image = self.index.images[key.image]
        count = image.voxels.shape[key.axis]
        if count < 2 or rng.random() >= self.neighbour_probability:
            return 0
        # In mm rather than in slices: thin slices hardly change from one to the next.
        # Far ones as well: a network that only saw near ones learnt to copy them, and at 10 mm a lung became a liver.
        distance_mm = FARTHEST_NEIGHBOUR_MM * rng.random() ** 1.5
        steps = max(1, round(distance_mm / image.spacing_mm[key.axis])) * (1 if rng.random() < 0.5 else -1)
        return steps if 0 <= key.slice + steps < count else (-steps if 0 <= key.slice - steps < count else 0)
