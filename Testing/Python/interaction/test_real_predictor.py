"""The session on the real volume predictor and a real CT. Weights are random: only the wiring is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicerio
from scene import run

from EfficientMedSAM2Lib import (
    EfficientMedSAM2VolumePredictor,
    InteractiveSession,
    build_efficient_medsam2_model,
)
from EfficientMedSAM2Lib.imaging.volumes import read_volume


@pytest.fixture(scope="module")
def predictor():
    model = build_efficient_medsam2_model("mobilenet", checkpoint="random", device="cpu")
    return EfficientMedSAM2VolumePredictor(model)


@pytest.fixture(scope="module")
def scan():
    return read_volume(Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd")


@pytest.fixture
def session(predictor, scan):
    session = InteractiveSession(predictor)
    session.set_image(scan.array, scan.ijk_to_ras, modality="CT")
    return session


def middle_box(session, half=20):
    box = [[size // 2 - half, size // 2 + half] for size in session.shape_kji]
    middle = session.shape_kji[session.default_axis] // 2
    box[session.default_axis] = [middle, middle + 1]
    return box


def test_box_propagation_correction_undo_and_redo(session, scan):
    before = scan.array.copy()
    axis = session.default_axis
    box = middle_box(session)
    start = box[axis][0]
    session.add_bbox_interaction(box, True, segment="organ")
    looks = [session.mask("organ")]
    limits = (start - 3, start + 4)
    updates = run(session.propagate("organ", limits=limits, stop_when_lost=False))
    looks.append(session.mask("organ"))
    assert sorted(u.index for u in updates) == [i for i in range(*limits) if i != start]
    assert all(0.0 <= u.score <= 1.0 for u in updates)
    assert all(np.array_equal(u.mask, looks[-1].take(u.index, axis)) for u in updates)

    click = [bounds[0] + 20 for bounds in box]
    click[axis] = start + 2
    session.add_point_interaction(click, True, segment="organ")
    looks.append(session.mask("organ"))
    assert session.stale_slices("organ") == [start + 1, start + 3]
    propagation = session.propagate("organ", limits=limits, stop_when_lost=False)
    assert sorted(u.index for u in propagation) == [start + 1, start + 3]
    looks.append(session.mask("organ"))

    for look in (*looks[-2::-1], np.zeros_like(looks[0])):
        after = session.mask("organ")
        changed = session.undo()
        difference = after ^ session.mask("organ")
        if changed is not None:
            difference[tuple(slice(*bounds) for bounds in changed)] = False
        assert not difference.any()
        assert np.array_equal(session.mask("organ"), look)
    assert session.undo() is None
    for look in looks:
        session.redo()
        assert np.array_equal(session.mask("organ"), look)
    assert np.array_equal(scan.array, before)


def test_the_same_action_after_undo_gives_the_same(session):
    box = middle_box(session)
    axis = session.default_axis
    session.add_bbox_interaction(box, True)
    limits = (box[axis][0], box[axis][0] + 3)
    run(session.propagate(limits=limits, stop_when_lost=False))
    first = session.mask()
    session.undo()
    run(session.propagate(limits=limits, stop_when_lost=False))
    assert np.array_equal(session.mask(), first)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_prompt_kind_on_every_axis(session, axis):
    box = middle_box(session)
    center = [(low + high) // 2 for low, high in box]
    other = [c if a == axis else c - 10 for a, c in enumerate(center)]
    session.add_point_interaction(center, True, "point", axis)
    session.add_line_interaction(other, center, "line", axis)
    session.add_bbox_interaction([[c - 5, c + 5] for c in center], True, "roi", axis)
    mask = np.zeros(session.shape_kji, dtype=bool)
    mask[tuple(slice(c - 5, c + 5) for c in center)] = True
    session.add_initial_seg_interaction(mask, "mask", axis)
    session.add_bbox_interaction([[c - 2, c + 2] for c in center], False, "mask", axis)
    session.add_point_interaction(center, True, "mask", axis)
    session.add_initial_seg_interaction(np.zeros_like(mask.take(0, axis)), "mask", axis, center[axis] + 6)
    limits = (center[axis] - 7, center[axis] + 8)
    for name in session.segments:
        run(session.propagate(name, limits=limits, axis=axis))
        session.prefetch(center[axis] + 8, axis, name)
    while session.can_undo:
        session.undo()
    assert session.segments == ()


@pytest.mark.parametrize("value", [0, -1000, np.nan])
def test_in_a_scan_without_contrast_nothing_is_found(predictor, value):
    """Whatever a network makes of it."""
    session = InteractiveSession(predictor)
    session.set_image(np.full((6, 64, 64), value, np.float32))
    session.add_bbox_interaction([[3, 4], [20, 40], [20, 40]], True)
    assert not session.mask("1").any()
    assert "nothing to see" in session.last_message
    session.add_point_interaction((3, 30, 30), True)
    assert not session.mask("1").any()


def test_how_sure_each_voxel_is(predictor):
    """Finite where the network has found it, on prompted and propagated slices; infinite where the user has said it."""
    session = InteractiveSession(predictor)
    volume = np.zeros((4, 64, 64), np.int16)
    volume[:, 20:40, 20:40] = 100
    session.set_image(volume, np.diag([1.0, 1.0, 3.0, 1.0]), modality="CT")
    session.add_bbox_interaction([[0, 1], [18, 42], [18, 42]], True, segment="organ")
    assert len(list(session.propagate("organ", limits=(0, 2), stop_when_lost=False))) == 1
    whole = [[0, size] for size in volume.shape]
    sure, mask = session.certainty("organ", whole), session.mask("organ")
    np.testing.assert_array_equal(np.isneginf(sure), ~mask)
    assert mask[0].any()
    assert (sure[mask] >= 0).all()
    assert np.isfinite(sure[mask]).all()
    drawn = np.zeros(volume.shape[1:], bool)
    drawn[30:35, 30:35] = True
    session.add_initial_seg_interaction(drawn, "organ", 0, 0)
    np.testing.assert_array_equal(np.isposinf(session.certainty("organ", whole)[0]), drawn)


def test_of_many_objects_on_a_slice_nothing_is_encoded_twice(monkeypatch):
    """The whole slice once for all of them; around each only what is its own."""
    from EfficientMedSAM2Lib.interaction import PointPrompt
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    session = build_session(encoder="mobilenet", runtime="onnx", threads=2)
    network, seen = session.predictor.model, []
    encode = network.encode_image
    monkeypatch.setattr(
        network, "encode_image", lambda image: seen.extend(part.tobytes() for part in image) or encode(image)
    )
    plane = np.random.default_rng(0).normal(20, 5, (256, 256)).astype(np.int16)
    places = [(j, i) for j in (40, 120, 200) for i in (40, 120, 200)]
    rows, columns = np.indices(plane.shape)
    for j, i in places:
        plane[(rows - j) ** 2 + (columns - i) ** 2 < 12**2] += 100
    session.set_image(plane[None].repeat(3, axis=0), np.diag([1.0, 1.0, 3.0, 1.0]), modality="CT")
    names = session.add_each_interaction([PointPrompt((1, j, i), True, 0) for j, i in places])
    assert len(seen) == len(set(seen))
    assert len(seen) < 4 * len(places), "of four viewports that a click may need, one is common to all"
    for name, (j, i) in zip(names, places):
        mask = session.mask(name)[1]
        assert mask[j, i]
        assert not any(mask[other] for other in places if other != (j, i))
