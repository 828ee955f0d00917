"""A program written for nnInteractive, on our session: with a predictor that knows the truth, and with the network."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from oracle_predictor import OraclePredictor
from scene import FIRST, LAST, SHAPE, first_tube, tube_truth

from EfficientMedSAM2Lib import nnInteractiveInferenceSession


@pytest.fixture
def image():
    return np.where(tube_truth(), 60, -80).astype(np.int16)[None]


@pytest.fixture
def session(image):
    session = nnInteractiveInferenceSession(device=torch.device("cpu"), predictor=OraclePredictor(tube_truth()))
    session.set_image(image, image_properties={"spacing": (3.0, 1.0, 1.0)})
    session.set_target_buffer(torch.zeros(image.shape[1:], dtype=torch.uint8))
    return session


def shown(session):
    buffer = session.target_buffer
    return (buffer.numpy() if hasattr(buffer, "numpy") else buffer) > 0


@pytest.mark.slow
def test_the_example_of_the_readme(tmp_path, caplog):
    """Its calls in its order, on the shipped network and a small image."""
    centre = np.mgrid[:12, :64, :64] - np.array([6, 32, 32])[:, None, None, None]
    ball = ((3 * centre[0]) ** 2 + centre[1] ** 2 + centre[2] ** 2) < 15**2
    img = (100 * ball + np.random.default_rng(0).normal(0, 4, ball.shape)).astype(np.float32)[None]
    session = nnInteractiveInferenceSession(
        device=torch.device("cuda:0"),
        use_torch_compile=False,
        verbose=False,
        torch_n_threads=2,
        do_autozoom=True,
        use_pinned_memory=True,
    )
    session.initialize_from_trained_model_folder(str(tmp_path))
    assert "the shipped ones are used" in caplog.text
    assert session.license == "Apache-2.0"
    session.set_image(img)
    target_tensor = torch.zeros(img.shape[1:], dtype=torch.uint8)
    session.set_target_buffer(target_tensor)
    session.add_bbox_interaction([[6, 7], [17, 48], [17, 48]], include_interaction=True)
    session.add_point_interaction((6, 32, 32), include_interaction=True)
    session.add_point_interaction((6, 2, 2), include_interaction=False)
    scribble = np.zeros(img.shape[1:], np.uint8)
    scribble[4, 28:36, 32] = 1
    session.add_scribble_interaction(scribble, include_interaction=True)
    lasso = np.zeros(img.shape[1:], np.uint8)
    lasso[7, 15:50, 15] = lasso[7, 15:50, 49] = lasso[7, 15, 15:50] = lasso[7, 49, 15:50] = 1
    session.add_lasso_interaction(lasso, include_interaction=True)
    results = session.target_buffer.clone()
    assert torch.equal(results, target_tensor)
    found = results.numpy() > 0
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.8, "a 3D answer"
    session.set_target_buffer(torch.zeros(img.shape[1:], dtype=torch.uint8))
    session.reset_interactions()
    assert not session.target_buffer.any()
    assert torch.equal(results, target_tensor), "the earlier object's buffer is not touched"
    session.set_image(img[:, :6])
    session.set_target_buffer(torch.zeros(img[:, :6].shape[1:], dtype=torch.uint8))


def test_each_prompt_is_answered_in_3d(session):
    assert session.add_point_interaction((10, 7, 6), True) == [[FIRST, LAST + 1], [5, 11], [4, 10]]
    assert np.array_equal(shown(session), first_tube())
    assert session.target_buffer.dtype == torch.uint8
    assert session.target_buffer.max() == 1
    cut = session.add_bbox_interaction(bbox_coords=[[8, 10], [5, 7], [0, 22]], include_interaction=False)
    assert cut is not None
    assert not shown(session)[8:10, 5:7].any()


def test_prompts_are_gathered_until_a_prediction(session):
    assert session.add_point_interaction(coordinates=[10, 7, 6], include_interaction=True, run_prediction=False) is None
    assert not shown(session).any()
    session.add_point_interaction((6, 7, 6), True, run_prediction=False)
    assert session._predict() == [[FIRST, LAST + 1], [5, 11], [4, 10]]
    assert np.array_equal(shown(session), first_tube())


def run_challenge(session, boxes, clicks, prev_pred):
    """The calls of its entry to the CVPR 2025 challenge, which predicts once for all prompts of an object."""
    result = torch.zeros(SHAPE, dtype=torch.uint8)
    for number, (box, of_object) in enumerate(zip(boxes, clicks), start=1):
        if prev_pred is not None:
            session.add_initial_seg_interaction((prev_pred == number).astype(np.uint8), run_prediction=False)
        else:
            session.reset_interactions()
        session.add_bbox_interaction(box, include_interaction=True, run_prediction=False)
        for kind, click in of_object:
            session.add_point_interaction(click, include_interaction=kind == "fg", run_prediction=False)
        session.new_interaction_centers = [session.new_interaction_centers[-1]]
        session.new_interaction_zoom_out_factors = [session.new_interaction_zoom_out_factors[-1]]
        session._predict()
        assert session.new_interaction_centers == []
        result[session.target_buffer > 0] = number
    return result.numpy()


def test_the_challenge_s_script(session):
    boxes = [[[FIRST, LAST + 1], [4, 12], [3, 11]], [[0, 3], [13, 15], [13, 15]]]
    first = run_challenge(session, boxes, [[], []], None)
    assert np.array_equal(first == 1, first_tube())
    # Of the second object nothing was found before, which is no reason to stop.
    earlier = first * (first == 1)
    clicks = [[("fg", (10, 7, 6)), ("bg", (10, 1, 1))], [("bg", (1, 1, 1))]]
    second = run_challenge(session, boxes, clicks, earlier)
    assert np.array_equal(second == 1, first_tube())


def test_middles_of_what_waits(session):
    session.add_point_interaction((10.2, 7, 6), True, run_prediction=False)
    session.add_bbox_interaction([[10, 11], [4, 12], [3, 11]], True, run_prediction=False)
    session.add_scribble_interaction(np.ones((1, 1, 4)), True, False, interaction_bbox=[[10, 11], [7, 8], [5, 9]])
    assert session.new_interaction_centers == [[10, 7, 6], [10, 8, 7], [10, 8, 7]]
    assert len(session.new_interaction_zoom_out_factors) == 3
    session.undo()
    assert len(session.new_interaction_centers) == len(session.new_interaction_zoom_out_factors) == 2
    session.reset_interactions()
    assert session.new_interaction_centers == []


def test_what_is_empty_is_no_interaction(session, caplog):
    for add in (session.add_scribble_interaction, session.add_lasso_interaction):
        assert add(np.zeros(SHAPE, np.uint8), True) is None
        assert "the interaction is left out" in caplog.text
    assert session.undo() is False
    session.add_point_interaction((10, 7, 6), True)
    assert session.add_initial_seg_interaction(np.zeros(SHAPE, np.uint8)) is None
    assert not shown(session).any(), "an empty segmentation is a new start"
    assert session.add_initial_seg_interaction(first_tube()) is None, "the caller has the mask"
    smaller = first_tube()
    smaller[10] = False
    assert session.add_initial_seg_interaction(smaller, run_prediction=True) == [[10, 11], [5, 11], [4, 10]]


def test_a_session_without_an_image_can_be_reset():
    nnInteractiveInferenceSession(predictor=OraclePredictor(tube_truth())).reset_interactions()


def test_undo_takes_back_the_prompt_and_all_that_it_led_to(session):
    assert session.undo() is False
    session.add_point_interaction((10, 7, 6), True)
    before = shown(session).copy()
    session.add_point_interaction((10, 15, 15), True)
    assert not np.array_equal(shown(session), before)
    session.add_scribble_interaction(np.pad(np.ones((1, 1, 1)), ((9, 14), (7, 12), (6, 15))), False)
    assert session.undo() is True
    assert session.undo() is True
    assert np.array_equal(shown(session), before)
    assert session.undo() is True
    assert not shown(session).any()
    assert session.undo() is False
    session.supports_undo = False
    session.add_point_interaction((10, 7, 6), True)
    assert session.undo() is False


def test_an_earlier_result_is_refined_in_3d(session):
    earlier = first_tube()
    earlier[:, 8:] = False
    session.add_initial_seg_interaction(torch.from_numpy(earlier.astype(np.float32)))
    assert np.array_equal(shown(session), earlier)
    session.add_point_interaction((10, 9, 6), True)
    changed = np.flatnonzero((shown(session) != earlier).any(axis=(1, 2)))
    assert len(changed) > 3
    assert 10 in changed
    assert session.undo()
    assert np.array_equal(shown(session), earlier)


def test_a_part_of_a_drawing_with_its_place(session):
    session.add_scribble_interaction(
        np.ones((1, 1, 4), np.float16), include_interaction=True, interaction_bbox=[[10, 11], [7, 8], [5, 9]]
    )
    assert np.array_equal(shown(session), first_tube())
    for bad in ([[10, 11], [7, 8], [5, 8]], [[10, 11], [7, 8], [20, 24]]):
        with pytest.raises(ValueError, match="interaction_bbox"):
            session.add_lasso_interaction(np.ones((1, 1, 4)), True, interaction_bbox=bad)


def test_a_prediction_is_cancelled_at_any_slice(session):
    seen = []

    def progress(done, total):
        seen.append((done, total))
        if done == 3:
            threading.Thread(target=session.cancel).start()
            session._cancelled.wait(5)

    session.on_progress = progress
    session.add_point_interaction((10, 7, 6), True)
    assert len(seen) == 3
    assert shown(session).any(axis=(1, 2)).sum() == 4, "what was found until then is shown"
    session.on_progress = None
    session.add_point_interaction((10, 7, 7), True)
    assert np.array_equal(shown(session), first_tube()), "the next one goes on"


def test_an_interruption_leaves_what_was_found(session):
    def interrupt(done, total):
        raise KeyboardInterrupt

    session.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        session.add_point_interaction((10, 7, 6), True)
    assert shown(session).any(axis=(1, 2)).sum() == 2
    session.on_progress = None
    assert session.undo()
    assert not shown(session).any()


def test_three_slices_are_not_colours(image):
    session = nnInteractiveInferenceSession(predictor=OraclePredictor(tube_truth()[..., 4:7]))
    session.set_image(torch.from_numpy(image[..., 4:7]))
    assert session.original_image_shape == (1, *SHAPE[:2], 3)
    session.add_point_interaction((10, 7, 1), True)
    assert session.target_buffer.shape == (*SHAPE[:2], 3)
    assert shown(session).any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.set_image(np.zeros((5, 6, 7))), ValueError, r"\(1, x, y, z\), not \(5, 6, 7\); give img\[None\]"),
        (lambda s: s.set_image(np.zeros((2, 5, 6, 7))), ValueError, r"\(1, x, y, z\)"),
        (lambda s: s.set_image(np.zeros((1, 5, 6, 7)), {"spacing": (1, 2)}), ValueError, "three numbers"),
        (lambda s: s.set_target_buffer(np.zeros((5, 6, 7))), ValueError, "image's shape"),
        (lambda s: s.add_point_interaction((50, 1, 1), True), ValueError, "outside"),
        (lambda s: s.add_bbox_interaction([[1, 1], [1, 2], [1, 2]], True), ValueError, "zero size"),
        (lambda s: s.add_scribble_interaction(np.ones((5, 6, 7)), True), ValueError, "shape"),
        (lambda s: s.add_initial_seg_interaction(np.zeros((5, 6, 7))), ValueError, "shape"),
        (lambda s: s.add_point_interaction(None, True), ValueError, "voxel coordinates"),
    ],
)
def test_bad_input_changes_nothing(session, call, error, message):
    with pytest.raises(error, match=message):
        call(session)
    assert session.undo() is False
    assert not shown(session).any()


def test_what_it_says_of_itself():
    session = nnInteractiveInferenceSession()
    assert session.supported_interactions == dict.fromkeys(session.SUPPORTED_INTERACTION_KEYS, True)
    session.set_do_autozoom(False)
    assert session.do_autozoom is False
    with pytest.raises(RuntimeError, match="call set_image first"):
        session.add_point_interaction((1, 1, 1), True)
    assert session.undo() is False
