"""Views of slices: points, masks and intensities go there and come back to where they were."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.predictors.viewport import (
    NO_OBJECT_LOGIT,
    Viewport,
    crop,
    paste,
    positive_part,
    resample,
    whole_slice,
)

UNIT = IntensityWindow(0.0, 1.0)
viewports = st.builds(Viewport, st.integers(-40, 90), st.integers(-40, 90), st.integers(5, 150), st.integers(5, 150))


def from_network(viewport, points, size=256):
    """Points (N,2) in network pixels to slice pixels."""
    return (points + 0.5) * viewport[2:] / size - 0.5 + viewport[:2]


@given(viewports, st.tuples(st.floats(-100, 200), st.floats(-100, 200)))
def test_points_come_back(viewport, point):
    there = viewport.to_network(np.array([point]))
    assert np.allclose(from_network(viewport, there), [point], atol=1e-2)


@given(viewports)
def test_pixel_edges_meet_network_edges(viewport):
    corners = np.array(
        [
            [viewport.x0 - 0.5, viewport.y0 - 0.5],
            [viewport.x0 + viewport.width - 0.5, viewport.y0 + viewport.height - 0.5],
        ]
    )
    assert np.allclose(viewport.to_network(corners), [[-0.5, -0.5], [255.5, 255.5]], atol=1e-3)
    # A box of all pixels of the viewport is a box of all pixels of the network's input.
    box = [viewport.x0, viewport.y0, viewport.x0 + viewport.width - 1, viewport.y0 + viewport.height - 1]
    assert np.allclose(viewport.box_to_network(box), [0, 0, 255, 255], atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(viewports, st.booleans())
def test_crop_shows_what_lies_there(viewport, colour):
    """A smooth slice, seen in a viewport, has at each network pixel the value of the place it comes from."""
    y, x = np.mgrid[0:120, 0:100]
    slice_array = (x + 2 * y) / 340
    seen = crop(np.stack([slice_array] * 3, -1) if colour else slice_array, viewport, UNIT)
    assert seen.shape == (1, 3, 256, 256)
    assert seen.dtype == np.float32
    grid = np.stack(np.meshgrid(np.arange(256), np.arange(256)), -1).reshape(-1, 2)
    place = from_network(viewport, grid)
    step = max(viewport.width, viewport.height) / 256 + 1
    inside = ((place > step) & (place < np.array([99, 119]) - step)).all(1)
    # At the border of the viewport there is no further pixel to interpolate with.
    inside &= ((place > np.array(viewport[:2])) & (place < np.array(viewport[:2]) + np.array(viewport[2:]) - 1)).all(1)
    expected = (place[:, 0] + 2 * place[:, 1]) / 340
    assert np.allclose(seen[0, 0].ravel()[inside], expected[inside], atol=0.012)
    outside = ((place < -step) | (place > np.array([99, 119]) + step)).any(1)
    assert not seen[0, 1].ravel()[outside].any()


@settings(max_examples=60, deadline=None)
@given(viewports, st.sampled_from([32, 64, 97]), st.integers(0, 2**31))
def test_crop_agrees_with_torch(viewport, size, seed):
    """A crop is torch's antialiased resize of the viewport, padded with black where it leaves the slice."""
    slice_array = np.random.default_rng(seed).random((70, 60), dtype=np.float32)
    left, top = max(-viewport.x0, 0), max(-viewport.y0, 0)
    whole = np.pad(slice_array, ((top, 200), (left, 200)))
    part = whole[viewport.y0 + top :, viewport.x0 + left :][: viewport.height, : viewport.width]
    padded = np.pad(part, ((0, viewport.height - part.shape[0]), (0, viewport.width - part.shape[1])))
    expected = F.interpolate(torch.from_numpy(padded)[None, None], (size, size), mode="bilinear", antialias=True)
    assert np.allclose(crop(slice_array, viewport, UNIT, size)[:, :1], expected.numpy(), atol=1e-5)


def test_crop_far_outside_is_black_and_nan_is_black():
    assert not crop(np.ones((9, 9)), Viewport(50, 50, 30, 30), UNIT).any()
    assert not crop(np.full((9, 9), np.nan), Viewport(0, 0, 9, 9), UNIT).any()


@settings(max_examples=40, deadline=None)
@given(viewports, st.integers(0, 2**31))
def test_paste_agrees_with_torch(viewport, seed):
    """Where the viewport is at least as fine as its grid, pasting is torch's bilinear resize, and -32 elsewhere."""
    logits = np.random.default_rng(seed).normal(size=(2, 16, 16)).astype(np.float32)
    full = paste(logits, viewport, (70, 60))
    assert full.shape == (2, 70, 60)
    part = viewport.clipped((70, 60))
    beyond = np.ones((70, 60), bool)
    beyond[part.y0 : part.y0 + part.height, part.x0 : part.x0 + part.width] = False
    assert (full[:, beyond] == NO_OBJECT_LOGIT).all()
    if min(viewport.width, viewport.height) >= 16:
        big = F.interpolate(torch.from_numpy(logits)[None], (viewport.height, viewport.width), mode="bilinear")[
            0
        ].numpy()
        dx, dy = part.x0 - viewport.x0, part.y0 - viewport.y0
        expected = big[:, dy : dy + part.height, dx : dx + part.width]
        assert np.allclose(full[:, ~beyond].reshape(expected.shape), expected, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(viewports, st.integers(0, 2**31))
def test_positive_part_holds_all_that_is_positive(viewport, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(-2.0, 1.5, size=(16, 16)).astype(np.float32)
    part = positive_part(logits, viewport, (70, 60))
    mask = paste(logits, viewport, (70, 60)) > 0
    rebuilt = np.zeros_like(mask)
    if part.width:
        inner = resample(logits, viewport, part, (part.height, part.width)) > 0
        rebuilt[part.y0 : part.y0 + part.height, part.x0 : part.x0 + part.width] = inner
    assert (rebuilt == mask).all()


@given(st.integers(0, 40), st.integers(0, 40), st.integers(20, 60))
def test_a_disc_survives_the_round_trip(x, y, radius):
    """Mask to a viewport's grid and back: Dice near 1, centre of mass where it was."""
    rows, columns = np.mgrid[0:200, 0:200]
    disc = (rows - 90 - y) ** 2 + (columns - 70 - x) ** 2 <= radius**2
    viewport = Viewport(70 + x - 2 * radius, 90 + y - 2 * radius, 4 * radius, 4 * radius)
    back = (
        paste(resample(np.where(disc, 10.0, -10.0), whole_slice(disc.shape), viewport, (64, 64)), viewport, disc.shape)
        > 0
    )
    assert 2 * (back & disc).sum() / (back.sum() + disc.sum()) > 0.96
    assert np.allclose(np.argwhere(back).mean(0), np.argwhere(disc).mean(0), atol=0.3)


def test_area_average_keeps_the_mean():
    logits = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    whole = whole_slice(logits.shape)
    assert np.isclose(resample(logits, whole, whole, (32, 32)).mean(), logits.mean(), atol=1e-4)
