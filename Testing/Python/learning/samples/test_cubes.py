"""Cubes around objects: the right object in the right place, seen differently each time, kept in files."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from EfficientMedSAM2Lib.core.context_cube import CUBE_CHANNELS
from EfficientMedSAM2Lib.learning.samples.batches import MixedBatches
from EfficientMedSAM2Lib.learning.samples.cubes import cache as caching
from EfficientMedSAM2Lib.learning.samples.cubes.batches import cube_batches, cube_source
from EfficientMedSAM2Lib.learning.samples.cubes.cache import CachedCubes, fill_cache, missing_files
from EfficientMedSAM2Lib.learning.samples.cubes.cube import LEAST_CELLS, LabelledCube, cut, random_cube, show
from EfficientMedSAM2Lib.learning.samples.cubes.prompts import faulty

SOURCES = ("labels", "painted", "supervoxels", "shapes")
SIZE = 32


@pytest.fixture
def sources(manifest_path: Path):
    return {name: cube_source(manifest_path, {name: 1.0}, SIZE) for name in SOURCES if name != "supervoxels"}


def thin_ball(spacing=(3.0, 1.0, 1.0)):
    """A ball of radius 15 mm in thick slices, and a second one beside it with the same label."""
    k, j, i = np.mgrid[0:24, 0:80, 0:80]
    left = (3 * (k - 11)) ** 2 + (j - 40) ** 2 + (i - 25) ** 2 < 15**2
    right = (3 * (k - 11)) ** 2 + (j - 40) ** 2 + (i - 62) ** 2 < 12**2
    return left, right


def test_the_part_that_is_meant_is_cut_out():
    left, right = thin_ball()
    labels = (left | right).astype(np.uint8)
    voxels = np.where(left | right, 200, 50).astype(np.int16)
    rng = np.random.default_rng(0)
    for _ in range(8):
        place = random_cube((26, 55, 11, 40), 11, (3.0, 1.0, 1.0), rng, 64)
        cube = cut(voxels, labels, 11, left[11], place, lambda v: v / 255, lambda v: v == 1)
        assert cube is not None
        cell_mm = np.prod([1 / cells for cells in cube.thickness]) * 3.0  # volume of a cell in mm³
        inside = cube.mask.astype(float) / 255
        if all(ends == (0, 64) for ends in cube.extent):
            assert inside.sum() * cell_mm == pytest.approx(left.sum() * 3.0, rel=0.1)
        assert cube.image[inside > 0.9].min() > 150
        assert cube.image[cube.validity()].min() <= 55
        assert not inside[~cube.validity()].any()
        middle = round(cube.position)
        assert (inside[middle] > 0.5).sum() >= LEAST_CELLS
    missed = random_cube((26, 55, 11, 40), 1, (3.0, 1.0, 1.0), rng, 64)
    assert cut(voxels, labels, 1, left[1], missed, lambda v: v / 255, lambda v: v == 1) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "supervoxels"])
def test_sources_give_cubes_that_the_network_can_learn_from(sources, name):
    rng = np.random.default_rng(1)
    for _ in range(6):
        cube = sources[name].draw(rng)
        assert cube.image.shape == cube.mask.shape == (SIZE,) * 3
        assert cube.image.dtype == cube.mask.dtype == np.uint8
        sample = show(cube, rng)
        assert sample.inputs.shape == (CUBE_CHANNELS, SIZE, SIZE, SIZE)
        assert np.isfinite(sample.inputs).all()
        assert 0 <= sample.mask.min() < 0.5 < sample.mask.max() <= 1
        told = sample.inputs[1]
        assert (told > 0).any()
        assert not told[~sample.valid].any()
        # What is told is about what is true: wrong in places, not elsewhere.
        assert ((told > 0) & (sample.mask > 0.5)).sum() >= 0.5 * (told > 0).sum()
        image = cube.image.astype(float)[cube.validity()]
        assert image.std() > 3


def test_painted_cubes_show_the_labels_in_other_contrasts(sources):
    contrasts = []
    for name in ("labels", "painted"):
        rng = np.random.default_rng(2)
        cubes = [sources[name].draw(rng) for _ in range(10)]
        contrasts.append([c.image[c.mask > 200].mean() - c.image[c.validity() & (c.mask == 0)].mean() for c in cubes])
    assert (np.array(contrasts[0]) >= -1).all(), "in the images labels are bright"
    assert (np.array(contrasts[1]) < -5).any()
    assert (np.array(contrasts[1]) > 5).any()


@pytest.mark.slow
def test_supervoxels_need_no_labels(tmp_path):
    from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage
    from EfficientMedSAM2Lib.learning.samples.cubes.unnamed import SupervoxelSource

    left, right = thin_ball()
    rng = np.random.default_rng(4)
    voxels = (40 + 150 * left + 90 * right + rng.normal(0, 3, left.shape)).astype(np.int16)
    image = LoadedImage("a", "set", "MR", voxels, np.zeros(left.shape, np.uint8), (3.0, 1.0, 1.0), (0.0, 255.0))
    cube = SupervoxelSource([image], SIZE).draw(rng)
    inside, outside = cube.mask > 200, cube.validity() & (cube.mask == 0)
    assert inside.any()
    assert abs(cube.image[inside].mean() - cube.image[outside].mean()) > 5


def test_the_known_slice_is_where_it_is_said_to_be():
    """Mirrored and turned as it may be, the mask told is that of the cells told."""
    mask = np.zeros((SIZE,) * 3, np.uint8)
    mask[4:20, 8:20, 10:26] = 255
    image = np.where(mask, 180, 40).astype(np.uint8)
    cube = LabelledCube(image, mask, ((2, 30), (0, 32), (0, 32)), 6.0, (3.0, 1.0, 1.0))
    seen = set()
    for seed in range(40):
        sample = show(cube, np.random.default_rng(seed))
        told, valid = sample.inputs[1], sample.valid
        assert np.array_equal(np.flatnonzero(valid.any(axis=(1, 2))), np.arange(2, 30))
        planes = np.flatnonzero((told > 0).any(axis=(1, 2)))
        # The object's slices 4...19, mirrored 12...27: three cells around 6, or around 25.
        if len(planes) == 3 and (told[planes[1]] != 0).all():
            seen.add(int(planes[1]))
        right = (told > 0) == (sample.mask > 0.5)
        assert right[told != 0].mean() > 0.7
    assert {6, 25} & seen
    assert len({show(cube, np.random.default_rng(seed)).inputs.tobytes() for seed in range(5)}) == 5


def test_masks_are_as_wrong_as_a_network_s():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:64, 0:64]
    radius = np.hypot(rows - 32, columns - 32)
    ring = ((radius < 20) & (radius > 12)).astype(np.float32)
    dices, filled = [], 0
    for _ in range(200):
        found = faulty(ring, rng) > 0.5
        dices.append(2 * (found & (ring > 0)).sum() / (found.sum() + ring.sum()))
        filled += bool(found[32, 32])
    assert 0.2 <= np.mean(np.array(dices) == 1) <= 0.5
    assert min(dices) > 0.3
    assert 10 <= filled <= 70
    assert not faulty(np.zeros((64, 64), np.float32), rng).any()


def test_batches_are_the_same_with_any_workers_and_go_on_where_they_are_told(sources):
    def first(count, workers, begin=0):
        batches = cube_batches(sources["labels"], batch_size=2, seed=5)
        batches.first = begin
        loader = DataLoader(batches, batch_size=None, num_workers=workers)
        return [batch["inputs"] for batch in islice(loader, count)]

    expected = first(4, 0)
    assert not np.array_equal(expected[0], expected[1])
    for found, wanted in ((first(4, 2), expected), (first(2, 0, begin=2), expected[2:])):
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted))


def test_a_cache_is_filled_once_and_after_an_interruption_only_what_is_missing(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "CUBES_PER_FILE", 3)
    folder = tmp_path / "cubes"
    files = missing_files(folder, 8)
    assert len(files) == 3
    assert len(list(fill_cache(files, sources["labels"], seed=1))) == 3
    assert missing_files(folder, 8) == []
    assert sorted(folder.iterdir()) == files, "a temporary file was left"
    kept = files[1].read_bytes()
    files[1].unlink()
    list(fill_cache(missing_files(folder, 8), sources["labels"], seed=1))
    assert files[1].read_bytes() == kept
    batch = next(iter(cube_batches(CachedCubes(folder), batch_size=2)))
    assert batch["inputs"].shape == (2, CUBE_CHANNELS, SIZE, SIZE, SIZE)
    drawn = np.random.default_rng([1, 0])
    first = [sources["labels"].draw(drawn) for _ in range(3)]
    found = [CachedCubes(folder).draw(np.random.default_rng(seed)) for seed in range(100)]
    for cube in first:
        same = [other for other in found if np.array_equal(other.image, cube.image)]
        assert same
        assert np.array_equal(same[0].mask, cube.mask)
        assert same[0].extent == cube.extent
        assert same[0].position == cube.position
        assert same[0].thickness == cube.thickness


def test_an_empty_cache_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no cubes"):
        CachedCubes(tmp_path)


def test_batches_of_other_samples_go_on_too():
    class Numbers:
        def draw(self, rng):
            return float(rng.random())

    def batches(first):
        mixed = MixedBatches({"n": Numbers()}, {"n": 1.0}, lambda drawn: {"n": list(drawn)}, 2, 3)
        mixed.first = first
        return list(islice(mixed, 3))

    assert batches(1)[:2] == batches(0)[1:]
