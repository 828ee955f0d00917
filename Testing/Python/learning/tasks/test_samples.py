"""Views that a task learns from: as boxes, a search and a first click see the structure, and prompts that fit each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.learning.samples.augment import SIZE_PX
from EfficientMedSAM2Lib.learning.tasks.samples import CaseSamples, SampleBatches, sample_case, structure_size_mm
from EfficientMedSAM2Lib.learning.tasks.training import task_prompts
from EfficientMedSAM2Lib.models import EfficientMedSAM2, HeuristicsConfig, ImageFeatures, ModelConfig

from .synthetic_cases import finished_case

COUNT = 60
IMAGE = finished_case(3).image


@pytest.fixture(scope="module")
def case():
    class Network:
        """Sees nothing: what is asked for are the views."""

        config, heuristics = ModelConfig(), HeuristicsConfig(task_view_zoom=1.2)

        def encode_image(self, images):
            assert images.shape[1:] == (3, SIZE_PX, SIZE_PX)
            nothing = torch.zeros(len(images), 1, 1, 1)
            return ImageFeatures(*(nothing for _ in ImageFeatures._fields))

    network: EfficientMedSAM2 = Network()  # type: ignore[assignment]
    return sample_case(network, IMAGE, COUNT, [0])


def is_clicked(case: CaseSamples) -> np.ndarray:
    return np.isfinite(case.clicks).all(axis=1)


def test_a_click_lies_on_the_structure_in_a_view_that_suits_its_size(case):
    numbers = np.flatnonzero(is_clicked(case))
    assert 4 <= len(numbers) < COUNT / 2
    side_mm = 1.2 * structure_size_mm(IMAGE)
    for number in numbers:
        sample, (x, y) = case.samples[number], case.clicks[number]
        assert sample.mask[int(y), int(x)] == 1
        assert SIZE_PX / sample.pixel_scale == pytest.approx(side_mm, rel=0.11)  # voxels are of 1 mm
        assert not case.searched[number]
        assert not case.is_drawn(number)


def test_a_search_looks_from_afar_and_then_closely(case):
    sides = np.array([SIZE_PX / case.samples[number].pixel_scale for number in np.flatnonzero(case.searched)])
    close = 1.2 * structure_size_mm(IMAGE)
    assert ((sides < 1.11 * close) | (sides > 0.89 * 64)).all()
    assert (sides < 1.11 * close).any()
    assert (sides > 0.89 * 64).any()
    masks = [bool(case.samples[number].mask.any()) for number in np.flatnonzero(case.searched)]
    assert any(masks)
    assert not all(masks)


def test_each_view_is_asked_about_as_it_will_be(case):
    rng = np.random.default_rng(0)
    batch, _ = SampleBatches([case], COUNT, rng).draw()
    prompts = task_prompts(batch, SIZE_PX // 4, rng)
    clicked, searched = np.isfinite(batch["clicks"]).all(axis=1), batch["searched"]
    lone = (prompts.labels >= 0).sum(dim=1).numpy() == 1
    boxed = prompts.boxes.isfinite().all(dim=1).numpy()
    unprompted = (prompts.labels < 0).all(dim=1).numpy() & ~boxed & ~prompts.has_mask.numpy()
    unprompted &= ~prompts.neighbour_mm.isfinite().numpy()
    assert clicked.any()
    assert (lone & ~boxed)[clicked].all()
    assert not prompts.has_mask[clicked].any()
    torch.testing.assert_close(prompts.points[clicked, 0], torch.from_numpy(batch["clicks"][clicked]).float() - 0.5)
    assert (prompts.labels[clicked, 0] == 1).all()
    assert unprompted[searched].any()
    assert not unprompted[~searched].any()
    absent = ~batch["mask"].flatten(1).any(dim=1).numpy()
    assert unprompted[absent].all()
