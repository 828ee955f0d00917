"""Cubes kept in a few files, so that a machine that trains need not draw them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import replacing
from EfficientMedSAM2Lib.learning.samples.batches import Source
from EfficientMedSAM2Lib.learning.samples.cubes.cube import LabelledCube

CUBES_PER_FILE = 100
_PATTERN = "cubes-*.npz"


class CachedCubes:
    """Draws cubes from a folder that `fill_cache` wrote.

    Raises:
        UserError: There are none.
    """

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob(_PATTERN))
        if not self.files:
            raise UserError(f"There are no cubes in {folder}; name a folder that --cache has filled.")

    def draw(self, rng: np.random.Generator) -> LabelledCube:
        """A random cube; only its own part of a file is read."""
        with np.load(self.files[int(rng.integers(len(self.files)))]) as file:
            number = int(rng.integers(CUBES_PER_FILE))
            image, mask = file[f"cube_{number}"]
            extent = tuple((int(first), int(end)) for first, end in file["extent"][number])
            thickness = tuple(float(cells) for cells in file["thickness"][number])
            return LabelledCube(image, mask, extent, float(file["position"][number]), thickness)  # type: ignore[arg-type]


def missing_files(folder: Path, count: int) -> list[Path]:
    """Files that a folder lacks of those that hold so many cubes."""
    files = [folder / _PATTERN.replace("*", f"{number:04d}") for number in range(-(-count // CUBES_PER_FILE))]
    return [file for file in files if not file.is_file()]


def fill_cache(files: Iterable[Path], source: Source[LabelledCube], seed: int = 0) -> Iterator[Path]:
    """Draw cubes into files, each written under a temporary name first; what a file holds depends on nothing but its
    name and the seed, so that a filling that was interrupted can go on.

    Args:
        files: From `missing_files`.
        source: From `cube_source`.
        seed: Source of randomness.

    Yields:
        Each file that was written.
    """
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([seed, int(file.stem.rsplit("-", 1)[1])])
        cubes = [source.draw(rng) for _ in range(CUBES_PER_FILE)]
        arrays = {f"cube_{number}": np.stack([cube.image, cube.mask]) for number, cube in enumerate(cubes)}
        for name in ("extent", "position", "thickness"):
            arrays[name] = np.array([getattr(cube, name) for cube in cubes])
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        yield file
