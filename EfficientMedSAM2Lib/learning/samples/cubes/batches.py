"""Batches of cubes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from EfficientMedSAM2Lib.learning.samples.batches import Manifests, MixedBatches, Mixture, Source, load_split
from EfficientMedSAM2Lib.learning.samples.cubes.cube import CubeSample, LabelledCube, collate_cubes, show
from EfficientMedSAM2Lib.learning.samples.cubes.labelled import CubeSource, deep_enough
from EfficientMedSAM2Lib.learning.samples.cubes.unnamed import InventedSource, SupervoxelSource
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex

CUBE_MIX = {"labels": 0.62, "painted": 0.23, "supervoxels": 0.07, "shapes": 0.08}
"""Shares of the sources. With a quarter of supervoxels and 30 % of shapes a first half hour of training gave less."""


class ShownCubes:
    """Draws samples from a source of cubes."""

    def __init__(self, source: Source[LabelledCube]) -> None:
        self.source = source

    def draw(self, rng: np.random.Generator) -> CubeSample:
        """A random one."""
        return show(self.source.draw(rng), rng)


def cube_source(
    manifest_paths: Manifests,
    mix: Mapping[str, float] | None = None,
    size: int = 64,
    leave_out: Sequence[str] = (),
) -> Mixture[LabelledCube]:
    """Load the volumes of the train split, and those without labels, to draw cubes around their objects.

    Args:
        manifest_paths: one or several, each an `index.json` or a folder of image/label pairs.
        mix: shares of "labels", "painted", "supervoxels" and "shapes".
        size: cells along a cube's edges.
        leave_out: data sets of which nothing is used.

    Raises:
        ValueError: there is no labelled volume, or no such data set.
    """
    mix = mix or CUBE_MIX
    images = deep_enough(load_split(manifest_paths, "train", True, leave_out, only_volumes=True))
    index = ObjectIndex(images)
    sources: dict[str, Source[LabelledCube]] = {
        "labels": CubeSource(index, size),
        "painted": CubeSource(index, size, is_painted=True),
        "shapes": InventedSource(size),
    }
    if mix.get("supervoxels", 0.0) > 0:
        unlabelled = deep_enough(load_split(manifest_paths, "unlabelled", False, leave_out, only_volumes=True))
        sources["supervoxels"] = SupervoxelSource([*images, *unlabelled], size)
    return Mixture(sources, mix)


def cube_batches(source: Source[LabelledCube], batch_size: int = 4, seed: int = 0) -> MixedBatches[CubeSample]:
    """Batches of a source's cubes: of `cube_source`, or of `CachedCubes`, which are shown differently each time."""
    return MixedBatches({"cubes": ShownCubes(source)}, {"cubes": 1.0}, collate_cubes, batch_size, seed)
