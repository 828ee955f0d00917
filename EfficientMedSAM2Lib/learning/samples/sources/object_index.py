"""Index of every object on every slice of the loaded images, and how likely each is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage

MIN_AREA_PX = 12
MIN_SIDE_PX = 3
_SIZE_EDGES_PX = (10, 20, 40, 80)  # longest box side: five size buckets
_COLUMNS = ("image", "axis", "slice", "union", "value", "area", "row0", "row1", "column0", "column1")


@dataclass(frozen=True)
class ObjectKey:
    """One object on one slice. `union` is -1 for a single label value, else the position in the image's unions."""

    image: int
    axis: int
    slice: int
    union: int
    value: int
    box_rc: tuple[int, int, int, int]  # half-open row0, row1, column0, column1


class ObjectIndex:
    """Table of objects (`rows`, int32 (N, 10)) with their roundness and sampling probability."""

    def __init__(self, images: Sequence[LoadedImage], max_share: float = 0.15):
        """Scan the images.

        Args:
            images: loaded images; positions in this list are what keys refer to.
            max_share: largest share of the samples that one data set may have.

        Raises:
            ValueError: there is no object large enough.
        """
        self.images = list(images)
        tables = [_scan(number, image) for number, image in enumerate(self.images)]
        self.rows = np.concatenate([rows for rows, _ in tables]) if tables else np.zeros((0, 10), np.int32)
        self.roundness = np.concatenate([roundness for _, roundness in tables]) if tables else np.zeros(0)
        if len(self.rows) == 0:
            raise ValueError("No labelled object is large enough to train on: check the label maps.")
        self.probability = _balance(self.images, self.rows, self.roundness, max_share)
        self._cumulative = np.cumsum(self.probability)

    def __len__(self) -> int:
        return len(self.rows)

    def draw(self, rng: np.random.Generator) -> ObjectKey:
        """A random object, data sets, labels and sizes balanced."""
        row = int(np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1]))
        return self.key(min(row, len(self.rows) - 1))

    def key(self, row: int) -> ObjectKey:
        """The object in one row of the table."""
        entry = [int(value) for value in self.rows[row]]
        return ObjectKey(entry[0], entry[1], entry[2], entry[3], entry[4], (entry[6], entry[7], entry[8], entry[9]))

    def mask(self, key: ObjectKey, slice_index: int | None = None) -> np.ndarray:
        """Mask (H, W) bool of the object's label on its own or on another slice."""
        image = self.images[key.image]
        return self.belongs(key, image.slice_labels(key.axis, key.slice if slice_index is None else slice_index))

    def belongs(self, key: ObjectKey, labels: np.ndarray) -> np.ndarray:
        """Which label values of the object's image, in any shape, are the object's: bool."""
        if key.union < 0:
            return np.asarray(labels == key.value)
        return np.asarray(_lookup(self.images[key.image], key.union)[labels])


def _lookup(image: LoadedImage, union: int) -> np.ndarray:
    table = np.zeros(int(np.iinfo(image.labels.dtype).max) + 1, bool)
    table[list(list(image.unions.values())[union])] = True
    return table


def _scan(number: int, image: LoadedImage) -> tuple[np.ndarray, np.ndarray]:
    rows: list[tuple[int, ...]] = []
    roundness: list[float] = []
    for union in range(-1, len(image.unions)):
        labels = image.labels if union < 0 else _lookup(image, union)[image.labels].astype(np.uint8)
        occupied = [np.flatnonzero(labels.any(axis=tuple(o for o in range(3) if o != axis))) for axis in range(3)]
        if any(len(indices) == 0 for indices in occupied):
            continue
        corner = [int(indices[0]) for indices in occupied]
        crop = labels[tuple(slice(int(indices[0]), int(indices[-1]) + 1) for indices in occupied)]
        for axis in _useful_axes(image):
            step = 1 if axis == 0 or crop.shape[axis] < 100 else 2
            offset = [corner[other] for other in range(3) if other != axis]
            turned = np.ascontiguousarray(np.moveaxis(crop, axis, 0)[::step])
            for position, value, area, inner, box in _objects_of(turned):
                place = (box[0] + offset[0], box[1] + offset[0], box[2] + offset[1], box[3] + offset[1])
                rows.append((number, axis, corner[axis] + position * step, union, value, area, *place))
                # Inner boundary pixels of a disc of this area, divided by those found: 1 for a disc, ~0 for a ribbon.
                roundness.append(min(1.0, 3.2 * area**0.5 / max(area - inner, 1)))
    return np.array(rows, np.int32).reshape(-1, len(_COLUMNS)), np.array(roundness)


def _useful_axes(image: LoadedImage) -> tuple[int, ...]:
    if not image.is_volume:
        return (0,)
    spacing = image.spacing_mm
    across = min(image.voxels.shape[:3])
    return (0, 1, 2) if max(spacing) <= 3.0 * min(spacing) and across >= 16 else (0,)


def _objects_of(labels: np.ndarray) -> Iterator[tuple[int, int, int, int, tuple[int, int, int, int]]]:
    """Objects large enough in a stack (N, H, W): slice, value, area, inner area, box (row0, row1, column0, column1)."""
    from scipy import ndimage

    same = np.zeros(labels.shape, bool)  # pixels whose four neighbours in the slice have the same value
    same[:, 1:-1, 1:-1] = (
        (labels[:, 1:-1, 1:-1] == labels[:, :-2, 1:-1])
        & (labels[:, 1:-1, 1:-1] == labels[:, 2:, 1:-1])
        & (labels[:, 1:-1, 1:-1] == labels[:, 1:-1, :-2])
        & (labels[:, 1:-1, 1:-1] == labels[:, 1:-1, 2:])
    )
    for position, plane in enumerate(labels):
        areas = np.bincount(plane.ravel())
        if len(areas) < 2:
            continue
        inner = np.bincount(plane[same[position]], minlength=len(areas))
        for value, box in enumerate(ndimage.find_objects(plane), start=1):
            if box is None or areas[value] < MIN_AREA_PX:
                continue
            rows, columns = box
            if min(rows.stop - rows.start, columns.stop - columns.start) < MIN_SIDE_PX:
                continue
            place = (rows.start, rows.stop, columns.start, columns.stop)
            yield position, value, int(areas[value]), int(inner[value]), place


def _balance(images: list[LoadedImage], rows: np.ndarray, roundness: np.ndarray, max_share: float) -> np.ndarray:
    """Probability per object: data set -> label -> size bucket -> object, each level tempered."""
    datasets = np.array([images[number].dataset for number in rows[:, 0]])
    # In an instance map every value is another object of one kind, so the value does not make a label of its own.
    kinds = np.array(
        ["instances" if images[r[0]].is_instance_map else _kind_name(images[r[0]], int(r[3]), int(r[4])) for r in rows]
    )
    longest = np.maximum(rows[:, 7] - rows[:, 6], rows[:, 9] - rows[:, 8])
    buckets = np.digitize(longest, _SIZE_EDGES_PX)
    isotropic = np.array([max(image.spacing_mm) <= 1.5 * min(image.spacing_mm) for image in images])
    own = np.clip(roundness, 0.1, 1.0) * np.where(rows[:, 1] == 0, 1.0, np.where(isotropic[rows[:, 0]], 0.5, 0.15))
    probability = np.zeros(len(rows))
    shares: dict[str, float] = {}
    limits: dict[str, float] = {}
    for dataset in np.unique(datasets):
        in_set = np.flatnonzero(datasets == dataset)
        labels = np.unique(kinds[in_set])
        compactness = 0.0
        for label in labels:
            in_label = in_set[kinds[in_set] == label]
            typical = float(np.clip(np.median(roundness[in_label]), 0.08, 1.0))
            compactness += typical / len(labels)
            weights = np.zeros(len(in_label))
            for bucket in np.unique(buckets[in_label]):
                here = buckets[in_label] == bucket
                # Objects under ten pixels have hardly a boundary to learn from.
                share = here.sum() ** 0.5 * (0.4 if bucket == 0 else 1.0)
                weights[here] = share * own[in_label][here] / own[in_label][here].sum()
            probability[in_label] = weights / weights.sum() * len(in_label) ** 0.3 * typical
        probability[in_set] /= probability[in_set].sum()
        count = len(np.unique(rows[in_set, 0]))
        # Diversity of a set: patients count most, then kinds of labels, then slices of the same patients.
        shares[str(dataset)] = (
            count**0.25 * len(labels) ** 0.3 * len(in_set) ** 0.2 * compactness * images[rows[in_set[0], 0]].weight
        )
        # However many images show it, one kind of structure in one kind of image teaches little after a while.
        limits[str(dataset)] = min(max_share, 0.08 * len(labels) ** 0.4)
    for dataset, share in _capped(shares, limits).items():
        probability[datasets == dataset] *= share
    return probability


def _kind_name(image: LoadedImage, union: int, value: int) -> str:
    return list(image.unions)[union] if union >= 0 else image.label_names.get(value, str(value))


def _capped(shares: dict[str, float], limits: dict[str, float]) -> dict[str, float]:
    """Shares that sum to 1, none above its limit as far as the number of sets allows it."""
    slack = max(1.0, 1.0 / sum(limits.values()))
    bounds = {name: limit * slack for name, limit in limits.items()}
    result = {name: share / sum(shares.values()) for name, share in shares.items()}
    for _ in range(50):
        above = {name for name, share in result.items() if share >= bounds[name] - 1e-9}
        rest = sum(share for name, share in result.items() if name not in above)
        free = 1.0 - sum(bounds[name] for name in above)
        if not above or rest <= 0:
            break
        result = {name: bounds[name] if name in above else share * free / rest for name, share in result.items()}
    total = sum(result.values())
    return {name: share / total for name, share in result.items()}
