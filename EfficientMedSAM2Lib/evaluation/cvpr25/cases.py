"""Cases of the challenge: a scan with all its classes, and a box for each where the case has boxes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, load_image
from EfficientMedSAM2Lib.evaluation.dataset.manifest import Manifest, ManifestEntry
from EfficientMedSAM2Lib.evaluation.prompts import tight_box
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, NpzPrompts, read_npz_prompts

UNKNOWN_MODALITY = "unknown"
MAX_BOX_SHIFT = 5  # pixels of a slice of 256, outwards on each side, as the challenge's boxes are


@dataclass(frozen=True)
class ChallengeCase:
    """One scan of the challenge.

    Attributes:
        image: Voxels (D,H,W) or (D,H,W,3) and labels (D,H,W).
        boxes: By label; a case without any begins with clicks.
    """

    image: LoadedImage
    boxes: dict[int, NpzPrompts]

    @property
    def name(self) -> str:
        """File name."""
        return Path(self.image.name).name

    @property
    def modality(self) -> str:
        """First word of the modality."""
        return (self.image.modality.split() or [UNKNOWN_MODALITY])[0]

    @property
    def labels(self) -> list[int]:
        """Values of the classes."""
        values = np.unique(self.image.labels)
        return [int(value) for value in values if value]


def challenge_cases(manifest: Manifest, entries: Iterable[ManifestEntry], seed: int = 0) -> Iterator[ChallengeCase]:
    """Read cases one after the other; those without any label are left out.

    An `.npz` brings its boxes, or begins with clicks where it has none. For other images boxes are made as the
    challenge's were.

    Raises:
        ValueError: A file cannot be read.
    """
    for entry in entries:
        image = load_image(manifest, entry)
        if image.labels.any():
            path = manifest.image_path(entry)
            boxes = _boxes_of_file(path, image) if path.suffix.lower() == NPZ_SUFFIX else challenge_boxes(image, seed)
            yield ChallengeCase(image, boxes)


def challenge_boxes(image: LoadedImage, seed: int = 0) -> dict[int, NpzPrompts]:
    """Boxes as the challenge made them: on the middle voxel's slice, widened at random, with first and last slice."""
    generator = np.random.default_rng([seed, zlib.crc32(image.name.encode())])
    boxes = {}
    for label in (int(value) for value in np.unique(image.labels) if value):
        mask = image.labels == label
        slices = np.nonzero(mask)[0]
        k = int(slices[len(slices) // 2])
        x0, y0, x1, y1 = (int(side) for side in tight_box(mask[k]))
        height, width = mask.shape[1:]
        shift = int(generator.integers(0, MAX_BOX_SHIFT + 1))
        dx, dy = int(shift * width / 256), int(shift * height / 256)
        rows = (max(0, y0 - dy), min(height, y1 + dy + 1))
        columns = (max(0, x0 - dx), min(width, x1 + dx + 1))
        boxes[label] = NpzPrompts(label, ((k, k + 1), rows, columns), (int(slices[0]), int(slices[-1]) + 1))
    return boxes


def _boxes_of_file(path: Path, image: LoadedImage) -> dict[int, NpzPrompts]:
    """The n-th box is that of the n-th class, whether the reference is in the same file or in another."""
    boxes = [prompts for prompts in read_npz_prompts(path) if prompts.box_kji is not None]
    labels = [int(value) for value in np.unique(image.labels) if value]
    if boxes and len(boxes) != len(labels):
        raise ValueError(f"{path} has {len(boxes)} boxes for {len(labels)} classes; it needs one for each.")
    return dict(zip(labels, boxes))
