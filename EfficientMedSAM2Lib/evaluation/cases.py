"""Objects to segment: drawn from a manifest, the same ones for every network and every run with the same seed."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.geometry import slice_axis
from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
from EfficientMedSAM2Lib.evaluation.metrics import is_compact, size_class

SLICES_PER_LABEL = 8  # of one image; a limit takes one slice of every image before the second of any
PARTS_PER_LABEL = 3
MIN_AREA_PX = 24
MIN_SIDE_PX = 4
MIN_SLICES = 3
WHOLE_PART = 0.9  # a label with one part of at least this share is one object


@dataclass(frozen=True)
class ObjectCase:
    """One object: a mask on a slice, or in a volume.

    Attributes:
        image: the image it is in.
        label: name of the label.
        axis: kji axis the slices are perpendicular to.
        index: the slice; for volumes the one that is prompted.
        mask: (H, W) bool on that slice.
        volume_mask: (D, H, W) bool in kji order, for volumes.
    """

    image: LoadedImage
    label: str
    axis: int
    index: int
    mask: np.ndarray
    volume_mask: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Where the object is, for tables and pictures."""
        return f"{self.image.name} [{'kji'[self.axis]}={self.index}] {self.label}"

    @property
    def seed(self) -> int:
        """A number that depends on nothing but what the object is."""
        rows, columns = np.nonzero(self.mask)
        return zlib.crc32(f"{self.name} {int(rows.sum())} {int(columns.sum())}".encode())

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Pixel spacing (rows, columns) of the slice."""
        return self.image.slice_spacing(self.axis)

    @property
    def compact(self) -> bool:
        """Whether the mask on the slice is one solid thing."""
        return is_compact(self.mask)

    @property
    def size(self) -> str:
        """Size class of the mask on the slice."""
        return size_class(self.mask)


def objects_of(image: LoadedImage, generator: np.random.Generator, as_volumes: bool) -> Iterator[ObjectCase]:
    """List objects of an image: parts of labels on a few slices, or whole parts in the volume."""
    axis = slice_axis(image.spacing_mm[::-1], image.voxels.shape[:3])
    values = np.unique(image.labels)
    for value in values[values > 0]:
        label = "instance" if image.is_instance_map else image.label_names.get(int(value), f"label {value}")
        found = (image.labels if image.is_volume else image.labels[:1]) == value
        if as_volumes:
            yield from _volume_objects(image, found, label, axis)
        else:
            yield from _slice_objects(image, found, label, axis, generator)


def choose_cases(
    images: Iterable[LoadedImage], limit: int | None = None, seed: int = 0, as_volumes: bool = False
) -> list[ObjectCase]:
    """Choose the objects of an evaluation.

    Args:
        images: labelled images.
        limit: at most so many objects per data set, spread over its labels and images.
        seed: another number gives other slices and objects.
        as_volumes: whole objects in volumes instead of slices; flat images have none.

    Returns:
        The objects, data set by data set.
    """
    queues: dict[str, dict[str, dict[str, list[ObjectCase]]]] = defaultdict(lambda: defaultdict(dict))
    for image in images:
        if as_volumes and not image.is_volume:
            continue
        generator = np.random.default_rng([seed, zlib.crc32(image.name.encode())])
        for case in objects_of(image, generator, as_volumes):
            queues[image.dataset][case.label].setdefault(image.name, []).append(case)
    chosen: list[ObjectCase] = []
    for dataset in sorted(queues):
        generator = np.random.default_rng([seed, zlib.crc32(dataset.encode())])
        of_labels = [
            _interleave(_shuffled(list(of_image.values()), generator)) for of_image in queues[dataset].values()
        ]
        chosen += list(_interleave(of_labels))[:limit]
    return chosen


def _slice_objects(
    image: LoadedImage, found: np.ndarray, label: str, axis: int, generator: np.random.Generator
) -> Iterator[ObjectCase]:
    areas = found.sum(axis=in_plane_axes(axis))
    present = np.flatnonzero(areas >= MIN_AREA_PX)
    if len(present) == 0:
        return
    # The slice where it is largest first, then others: ends of an organ are slices too.
    others = generator.permutation(present[present != areas.argmax()])[: SLICES_PER_LABEL - 1]
    for index in [int(areas.argmax()), *(int(other) for other in others)]:
        for part in _parts(found.take(index, axis=axis)):
            if np.count_nonzero(part) >= MIN_AREA_PX and _thinnest(part) >= MIN_SIDE_PX:
                yield ObjectCase(image, label, axis, index, part)


def _volume_objects(image: LoadedImage, found: np.ndarray, label: str, axis: int) -> Iterator[ObjectCase]:
    for part in _parts(found):
        areas = part.sum(axis=in_plane_axes(axis))
        present = np.flatnonzero(areas)
        if len(present) < MIN_SLICES:
            continue
        middle = int(present[len(present) // 2])
        mask = part.take(middle, axis=axis)
        if np.count_nonzero(mask) >= MIN_AREA_PX and _thinnest(mask) >= MIN_SIDE_PX:
            yield ObjectCase(image, label, axis, middle, mask, part)


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    """Largest connected parts, or the whole mask where one part is nearly all of it."""
    from scipy import ndimage

    labels, number = ndimage.label(mask, structure=np.ones((3,) * mask.ndim, int))
    areas = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    if number == 1 or areas.max() >= WHOLE_PART * areas.sum():
        return [mask]
    return [labels == 1 + part for part in np.argsort(-areas, kind="stable")[:PARTS_PER_LABEL]]


def _thinnest(mask: np.ndarray) -> int:
    return min(int(np.ptp(np.flatnonzero(mask.any(axis=axis)))) + 1 for axis in (0, 1))


def _interleave(queues: Iterable[Iterable[ObjectCase]]) -> Iterator[ObjectCase]:
    """Take one object of each queue in turn."""
    waiting = [iter(queue) for queue in queues]
    while waiting:
        still = []
        for queue in waiting:
            case = next(queue, None)
            if case is not None:
                yield case
                still.append(queue)
        waiting = still


def _shuffled(queues: list[list[ObjectCase]], generator: np.random.Generator) -> list[list[ObjectCase]]:
    return [queues[position] for position in generator.permutation(len(queues))]
