"""Batches of training samples, mixed from labels, pseudo-labels and synthesis."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, Union

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, load_images
from EfficientMedSAM2Lib.evaluation.dataset.manifest import Split, read_manifest
from EfficientMedSAM2Lib.learning.samples.clips import Clip, LabelledClips, SyntheticClips
from EfficientMedSAM2Lib.learning.samples.sources.labelled import LabelledSource
from EfficientMedSAM2Lib.learning.samples.sources.object_index import ObjectIndex
from EfficientMedSAM2Lib.learning.samples.sources.pseudo import PseudoSource
from EfficientMedSAM2Lib.learning.samples.sources.sample import SliceSample
from EfficientMedSAM2Lib.learning.samples.sources.superpixels import SuperpixelSource
from EfficientMedSAM2Lib.learning.samples.synthesis import SyntheticSource

Manifests = Union[str, Path, Sequence[Union[str, Path]]]
SLICE_MIX = {"labels": 0.5, "pseudo": 0.1, "superpixels": 0.2, "synthetic": 0.2}
"""Shares of the sources of slices."""
Sample = TypeVar("Sample")
Drawn = TypeVar("Drawn", covariant=True)


class Source(Protocol[Drawn]):
    """Anything samples (`SliceSample`) or clips (`Clip`) can be drawn from."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """A random one."""
        ...


class Mixture(Generic[Sample]):
    """Several sources as one.

    Args:
        sources: name -> source.
        mix: name -> share of what is drawn; names without a source are left out and the rest takes their part.

    Raises:
        UserError: nothing is left to draw from.
    """

    def __init__(self, sources: Mapping[str, Source[Sample]], mix: Mapping[str, float]):
        usable = {name: source for name, source in sources.items() if mix.get(name, 0.0) > 0}
        if not usable:
            raise ValueError(f"No source to draw from: have {sorted(sources)}, mix asks for {sorted(mix)}.")
        shares = np.array([mix[name] for name in usable])
        self.sources = list(usable.values())
        self._shares = shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> Sample:
        """From one of the sources, in their shares."""
        return self.sources[int(rng.choice(len(self.sources), p=self._shares))].draw(rng)


class MixedBatches(IterableDataset[dict[str, Any]], Generic[Sample]):
    """Endless batches; wrap in `DataLoader(batches, batch_size=None, num_workers=1)`.

    Args:
        sources: name -> source; all must give samples that fit into one batch.
        mix: name -> share of the samples, as for `Mixture`.
        collate: makes a batch of a list of samples: `collate_slices` or `collate_clips`.
        batch_size: samples per batch.
        seed: the same seed gives the same batches, however many workers make them.
        views: with a number, only so many different samples are drawn, and come again in random order: what a
            teacher says of them can then be kept. None: no two samples are the same.

    Attributes:
        first: Number of the first batch: a training that goes on does not begin anew with the same samples.

    Raises:
        UserError: nothing is left to draw from.
    """

    def __init__(
        self,
        sources: Mapping[str, Source[Sample]],
        mix: Mapping[str, float],
        collate: Callable[[Sequence[Sample]], dict[str, Any]],
        batch_size: int = 16,
        seed: int = 0,
        views: int | None = None,
    ):
        self.source = Mixture(sources, mix)
        self.collate = collate
        self.batch_size = batch_size
        self.seed = seed
        self.views = views
        self.first = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        generators = self._generators()
        while True:
            yield self.collate([self.source.draw(next(generators)) for _ in range(self.batch_size)])

    def _generators(self) -> Iterator[np.random.Generator]:
        """The generator of each sample to come."""
        rank, worker, workers = process_numbers()
        if self.views is None:
            # Workers hand out their batches in turn.
            for number in count(self.first + worker, workers):
                rng = np.random.default_rng([self.seed, rank, number])
                for _ in range(self.batch_size):
                    yield rng
        rng = np.random.default_rng([self.seed, rank, worker, self.first])
        while self.views is not None:
            for number in rng.permutation(self.views):
                yield np.random.default_rng([self.seed, int(number)])


def slice_batches(
    manifest_paths: Manifests,
    pseudo_folder: str | Path | None = None,
    mix: Mapping[str, float] | None = None,
    batch_size: int = 16,
    seed: int = 0,
    wide_probability: float = 0.3,
    views: int | None = None,
    leave_out: Sequence[str] = (),
) -> MixedBatches[SliceSample]:
    """Load the train split and whatever pseudo-labels there are, and make batches of them.

    Args:
        manifest_paths: one or several, each an `index.json` or a folder of image/label pairs.
        pseudo_folder: where the pseudo-labels are; None or an empty folder leaves them out.
        mix: shares of "labels", "pseudo", "superpixels" and "synthetic".
        batch_size: samples per batch.
        seed: source of randomness.
        wide_probability: share of views larger than about 2.6 times the object.
        views: number of different samples; see `MixedBatches`.
        leave_out: data sets of which nothing is used: neither labels nor pseudo-labels, nor their shapes in synthesis.

    Raises:
        UserError: there is no such data set, or nothing else.
    """
    mix = mix or SLICE_MIX
    images, index = load_training_images(manifest_paths, leave_out)
    sources: dict[str, Source[SliceSample]] = {
        "labels": LabelledSource(index, wide_probability),
        "synthetic": SyntheticSource(images),
    }
    if mix.get("superpixels", 0.0) > 0:
        sources["superpixels"] = SuperpixelSource([*images, *load_unlabelled_images(manifest_paths, leave_out)])
    if pseudo_folder is not None and any(Path(pseudo_folder).glob("*.npz")):
        pseudo = sources["pseudo"] = PseudoSource(Path(pseudo_folder), wide_probability, leave_out)
        if leave_out and len(pseudo) == 0:
            raise UserError(f"'{pseudo_folder}' tells of no pseudo-labels that they are of other data sets.")
    return MixedBatches(sources, mix, collate_slices, batch_size, seed, views)


def clip_batches(
    manifest_paths: Manifests,
    mix: Mapping[str, float] | None = None,
    batch_size: int = 4,
    length: int = 4,
    seed: int = 0,
    wide_probability: float = 0.2,
    leave_out: Sequence[str] = (),
) -> MixedBatches[Clip]:
    """Load the train split and make batches of clips.

    Args:
        manifest_paths: one or several, each an `index.json` or a folder of image/label pairs.
        mix: shares of "labels" and "synthetic".
        batch_size: clips per batch.
        length: slices per clip, T.
        seed: source of randomness.
        wide_probability: share of clips of labelled volumes seen through views larger than about 2.6 times the object.
        leave_out: as for `slice_batches`.

    Raises:
        UserError: as `slice_batches`.
    """
    images, index = load_training_images(manifest_paths, leave_out)
    sources: dict[str, Source[Clip]] = {
        "labels": LabelledClips(index, length, wide_probability),
        "synthetic": SyntheticClips(images, length),
    }
    return MixedBatches(sources, mix or {"labels": 0.7, "synthetic": 0.3}, collate_clips, batch_size, seed)


def load_training_images(
    manifest_paths: Manifests, leave_out: Sequence[str] = ()
) -> tuple[list[LoadedImage], ObjectIndex]:
    """The labelled images of the train splits in memory but for some data sets, and the index of their objects.

    Raises:
        UserError: there is no such data set, or nothing else.
    """
    images = load_split(manifest_paths, "train", True, leave_out)
    if not images:
        raise UserError("There is no labelled image to train on; leave out fewer data sets.")
    return images, ObjectIndex(images)


def load_unlabelled_images(manifest_paths: Manifests, leave_out: Sequence[str] = ()) -> list[LoadedImage]:
    """The images without labels in memory, but for some data sets.

    Raises:
        UserError: there is no such data set.
    """
    return load_split(manifest_paths, "unlabelled", False, leave_out)


def load_split(
    manifest_paths: Manifests, split: Split, labelled: bool, leave_out: Sequence[str] = (), only_volumes: bool = False
) -> list[LoadedImage]:
    """The images of one split in memory, with labels or without any, but for some data sets and perhaps flat ones.

    Raises:
        UserError: there is no such data set.
    """
    paths = [manifest_paths] if isinstance(manifest_paths, (str, Path)) else manifest_paths
    manifests = [read_manifest(path) for path in paths]
    known = {entry.dataset for manifest in manifests for entry in manifest.entries}
    unknown = sorted(set(leave_out) - known)
    if unknown:
        raise UserError(f"There is no data set {unknown[0]!r}; there are {', '.join(sorted(known))}.")
    images: list[LoadedImage] = []
    for manifest in manifests:
        own = {entry.dataset for entry in manifest.entries}
        kept = manifest.leaving_out(name for name in leave_out if name in own)
        entries = kept.select(split, labelled=labelled)
        images += load_images(kept, [entry for entry in entries if entry.dim == 3 or not only_volumes])
    return images


def process_numbers() -> tuple[int, int, int]:
    """Rank of this process, number of this worker, count of workers; also keeps a worker to one thread, for training
    needs the others."""
    worker = get_worker_info()
    if worker is not None:
        torch.set_num_threads(1)
    # Set by Lightning and torchrun: with several GPUs every process must see other samples.
    rank = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
    return (rank, 0, 1) if worker is None else (rank, worker.id, worker.num_workers)


def collate_slices(samples: Sequence[SliceSample]) -> dict[str, Any]:
    """Stack samples.

    Returns:
        `image` (B, 3, S, S) in [0, 1], `mask` and `neighbour_mask` (B, S, S) of 0 and 1, `neighbour_valid` (B,) bool,
        `neighbour_distance_mm` (B,) signed, `pixel_scale` (B,) network pixels per slice pixel, `confidence` (B,),
        `name` list of B.
    """
    return {
        "image": torch.stack([sample.image.expand(3, -1, -1) for sample in samples]),
        "mask": torch.stack([sample.mask for sample in samples]),
        "neighbour_mask": torch.stack([sample.neighbour_mask for sample in samples]),
        "neighbour_valid": torch.tensor([sample.neighbour_valid for sample in samples]),
        "neighbour_distance_mm": torch.tensor([sample.neighbour_distance_mm for sample in samples]),
        "pixel_scale": torch.tensor([sample.pixel_scale for sample in samples]),
        "confidence": torch.tensor([sample.confidence for sample in samples]),
        "name": [sample.name for sample in samples],
    }


def collate_clips(clips: Sequence[Clip]) -> dict[str, Any]:
    """Stack clips.

    Returns:
        `images` (B, T, 3, S, S) in [0, 1], `masks` (B, T, S, S) of 0 and 1, `distance_mm` (B, T) signed from the first
        slice, `present` (B, T) bool, `pixel_scale` (B,) network pixels per slice pixel, `pixel_mm` (B,) side of a
        network pixel, `name` list of B.
    """
    masks = torch.stack([clip.masks for clip in clips])
    return {
        "images": torch.stack([clip.images[:, None].expand(-1, 3, -1, -1) for clip in clips]),
        "masks": masks,
        "distance_mm": torch.stack([clip.distance_mm for clip in clips]),
        "present": masks.flatten(2).any(dim=2),
        "pixel_scale": torch.tensor([clip.pixel_scale for clip in clips]),
        "pixel_mm": torch.tensor([clip.pixel_mm for clip in clips]),
        "name": [clip.name for clip in clips],
    }
