"""Batches of cubes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.training.samples.batches import Manifests, MixedBatches, Mixture, Source
from EfficientMedSAM2Lib.training.samples.cubes.cube import CubeSample, LabelledCube, collate_cubes, show
from EfficientMedSAM2Lib.training.samples.cubes.labelled import CubeSource, deep_enough
from EfficientMedSAM2Lib.training.samples.cubes.unnamed import InventedSource, SupervoxelSource
from EfficientMedSAM2Lib.training.samples.manifest import Split, read_manifest
from EfficientMedSAM2Lib.training.samples.slices import LoadedImage, load_images
from EfficientMedSAM2Lib.training.samples.sources.object_index import ObjectIndex

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
    manifest_paths: Manifests, mix: Mapping[str, float] | None = None, size: int = 64
) -> Mixture[LabelledCube]:
    """Load the volumes of the train split, and those without labels, to draw cubes around their objects.

    Args:
        manifest_paths: one or several, each an `index.json` or a folder of image/label pairs.
        mix: shares of "labels", "painted", "supervoxels" and "shapes".
        size: cells along a cube's edges.

    Raises:
        ValueError: there is no labelled volume.
    """
    mix = mix or CUBE_MIX
    images = _volumes(manifest_paths, "train", labelled=True)
    index = ObjectIndex(images)
    sources: dict[str, Source[LabelledCube]] = {
        "labels": CubeSource(index, size),
        "painted": CubeSource(index, size, is_painted=True),
        "shapes": InventedSource(size),
    }
    if mix.get("supervoxels", 0.0) > 0:
        unlabelled = _volumes(manifest_paths, "unlabelled", labelled=False)
        sources["supervoxels"] = SupervoxelSource([*images, *unlabelled], size)
    return Mixture(sources, mix)


def cube_batches(source: Source[LabelledCube], batch_size: int = 4, seed: int = 0) -> MixedBatches[CubeSample]:
    """Batches of a source's cubes: of `cube_source`, or of `CachedCubes`, which are shown differently each time."""
    return MixedBatches({"cubes": ShownCubes(source)}, {"cubes": 1.0}, collate_cubes, batch_size, seed)


def _volumes(manifest_paths: Manifests, split: Split, labelled: bool) -> list[LoadedImage]:
    paths = [manifest_paths] if isinstance(manifest_paths, (str, Path)) else manifest_paths
    found = []
    for path in paths:
        manifest = read_manifest(path)
        entries = [entry for entry in manifest.select(split, labelled=labelled) if entry.dim == 3]
        found += deep_enough(load_images(manifest, entries))
    return found
