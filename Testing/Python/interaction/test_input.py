"""Volumes of every kind, bad input in clear sentences, and reasons for empty results."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from oracle_predictor import OraclePredictor
from scene import SHAPE, make_session, run, tube_truth

from EfficientMedSAM2Lib.core.windows import PRESETS, IntensityWindow
from EfficientMedSAM2Lib.interaction import InteractiveSession


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64, bool])
@pytest.mark.parametrize("colour", [False, True])
def test_every_real_volume_is_taken_and_left_as_it_was(dtype, colour):
    truth = tube_truth()
    volume = np.where(truth, 60, 10).astype(dtype)
    if colour:
        volume = np.repeat(volume[..., None], 3, axis=3)
    if np.issubdtype(dtype, np.floating):
        volume[0, 0, 0] = np.nan
    digest = hashlib.sha256(volume.tobytes()).hexdigest()
    session = InteractiveSession(OraclePredictor(truth))
    session.set_image(volume)
    session.add_point_interaction((10, 7, 6), True)
    run(session.propagate())
    assert hashlib.sha256(volume.tobytes()).hexdigest() == digest
    assert volume.flags.writeable, "the caller's own array stays writeable"
    assert session.shape_kji == SHAPE


def test_one_slice_volumes_work():
    truth = tube_truth()[10:11]
    session = InteractiveSession(OraclePredictor(truth))
    session.set_image(truth.astype(np.uint8))
    session.add_point_interaction((0, 7, 6), True)
    assert run(session.propagate()) == []
    assert session.last_message == "All slices in this range are up to date."


def test_slicing_axis_is_the_thickest():
    truth = tube_truth()
    session = InteractiveSession(OraclePredictor(truth))
    session.set_image(truth.astype(np.uint8), np.diag([5.0, 1.0, 2.0, 1.0]))
    assert session.default_axis == 2
    assert session.spacing_kji == (2.0, 1.0, 5.0)
    session.add_point_interaction((10, 7, 6), True)
    assert session.prompts()[0].axis == 2


def test_window_is_chosen_or_given():
    session, predictor, truth = make_session()
    assert session.window == PRESETS["ct"]
    session.set_image(truth.astype(np.float32), window=(0, 2))
    assert session.window == IntensityWindow(0.0, 2.0)
    session.add_point_interaction((10, 7, 6), True)
    assert predictor.states[-1]["window"] == IntensityWindow(0.0, 2.0)


def test_a_new_image_starts_anew():
    session, _predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    propagation = session.propagate()
    next(propagation)
    session.set_image(np.zeros((4, 5, 6), dtype=np.uint8))
    assert run(propagation) == []
    assert session.segments == ()
    assert not session.can_undo
    assert session.shape_kji == (4, 5, 6)


BAD_CALLS = [
    (lambda s: s.add_point_interaction((24, 7, 6), True), "outside the volume"),
    (lambda s: s.add_point_interaction((-1, 7, 6), True), "outside the volume"),
    (lambda s: s.add_point_interaction((np.nan, 7, 6), True), "outside the volume"),
    (lambda s: s.add_point_interaction((7, 6), True), "voxel coordinates"),
    (lambda s: s.add_point_interaction((10, 7, 6), True, axis=3), "axis must be"),
    (lambda s: s.add_bbox_interaction([[10, 10], [5, 9], [4, 10]], True), "zero size"),
    (lambda s: s.add_bbox_interaction([[10, 11], [9, 5], [4, 10]], True), "zero size"),
    (lambda s: s.add_bbox_interaction([[30, 31], [5, 9], [4, 10]], True), "outside the volume"),
    (lambda s: s.add_bbox_interaction([5, 9, 4, 10], True), "must be \\[\\[k0"),
    (lambda s: s.add_line_interaction((10, 5, 5), (11, 5, 5), axis=0), "no length"),
    (lambda s: s.add_line_interaction((10, 5, np.nan), (10, 6, 6)), "finite"),
    (lambda s: s.add_line_interaction((10, 5, 5), (10, 5, 5)), "no length"),
    (lambda s: s.add_line_interaction((10, 5, 5), (10, 5, 50)), "outside the volume"),
    (lambda s: s.add_initial_seg_interaction(np.ones((3, 3, 3))), "shape"),
    (lambda s: s.add_initial_seg_interaction(np.ones(SHAPE[1:])), "say which slice"),
    (lambda s: s.add_initial_seg_interaction(np.zeros(SHAPE)), "empty"),
    (lambda s: s.add_initial_seg_interaction(np.ones(SHAPE[1:]), index=24), "Slice 24"),
    (lambda s: s.mask("liver"), "no segment 'liver' \\(segments: none yet\\)"),
    (lambda s: s.propagate("liver"), "no segment"),
    (lambda s: s.remove_segment("liver"), "no segment"),
]


@pytest.mark.parametrize(("call", "sentence"), BAD_CALLS)
def test_bad_input_is_refused_in_one_sentence_and_changes_nothing(call, sentence):
    session, predictor, _ = make_session()
    with pytest.raises(ValueError, match=sentence) as caught:
        call(session)
    assert "\n" not in str(caught.value)
    assert session.segments == ()
    assert not session.can_undo
    assert predictor.prompted == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"direction": "up"}, "direction"),
        ({"limits": (30, 40)}, "hold no slice"),
        ({"limits": 3}, "half-open"),
        ({"axis": 1}, "no prompted slice along axis 1"),
    ],
)
def test_bad_propagation_arguments_are_refused_at_the_call(options, sentence):
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    with pytest.raises(ValueError, match=sentence):
        session.propagate(**options)


def test_nothing_works_without_an_image():
    session = InteractiveSession(OraclePredictor(tube_truth()))
    for call in (session.undo, session.propagate, session.mask, lambda: session.add_point_interaction((0, 0, 0), True)):
        with pytest.raises(ValueError, match="set_image"):
            call()


@pytest.mark.parametrize(
    "volume",
    [
        np.zeros((5, 5)),
        np.zeros((2, 5, 5, 4)),
        np.zeros((0, 5, 5)),
        np.zeros((2, 2, 2), dtype=complex),
        np.array([[["a"]]]),
    ],
)
def test_bad_volumes_are_refused(volume):
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    with pytest.raises(ValueError, match="volume"):
        session.set_image(volume)
    assert session.mask().any(), "the session keeps its image"


def test_bad_windows_and_matrices_are_refused():
    session, _, truth = make_session()
    with pytest.raises(ValueError, match="window"):
        session.set_image(truth, window="lung")
    with pytest.raises(ValueError, match="low < high"):
        session.set_image(truth, window=(3, 3))
    with pytest.raises(ValueError, match="ijk_to_ras"):
        session.set_image(truth, np.zeros((4, 4)))


def test_box_over_the_edge_is_clipped():
    session, _, _ = make_session()
    session.add_bbox_interaction([[10, 11], [-5, 12], [-3, 11]], True)
    assert session.prompts()[0].box_kji == ((10, 11), (0, 12), (0, 11))


def test_points_between_voxels_go_to_the_nearest():
    session, _, _ = make_session()
    session.add_point_interaction((9.6, 7.4, 6.0), True)
    assert session.prompts()[0].index_kji == (10, 7, 6)


def test_empty_results_say_why():
    session, _, _ = make_session()
    assert session.add_point_interaction((10, 1, 1), True) is None
    assert "Nothing found at the prompt (score 0.05)" in session.last_message

    volume = np.where(tube_truth(), 60, -80)
    session.set_image(volume, window=(0, 100))
    session.add_point_interaction((10, 7, 20), True)
    assert "below the intensity window 0 to 100" in session.last_message
    session.set_image(volume, window=(-200, -100))
    session.add_bbox_interaction([[1, 2], [6, 10], [5, 9]], True)
    assert "above the intensity window" in session.last_message

    session.add_bbox_interaction([[10, 11], [4, 12], [3, 11]], False, segment="2")
    assert "keep out" in session.last_message
    session.add_bbox_interaction([[10, 11], [2, 12], [3, 11]], True, segment="2")
    assert "negative box" in session.last_message
    session.add_point_interaction((10, 6, 6), True, segment="2")
    assert session.last_message == ""


def test_a_slice_emptied_by_negative_points_is_no_failure():
    session, _, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    while session.mask()[10].any():
        assert session.last_message == ""
        session.add_point_interaction((10, *np.argwhere(session.mask()[10])[0].tolist()), False)
    assert session.last_message.startswith("The slice is empty now")


def test_a_call_from_inside_the_predictor_is_refused():
    session, predictor, _ = make_session()
    session.add_point_interaction((10, 7, 6), True)
    original = predictor._maybe_fail
    predictor._maybe_fail = lambda frame: session.undo()
    with pytest.raises(ValueError, match="is computing a slice"):
        run(session.propagate())
    predictor._maybe_fail = original
    assert session.mask().any()


def test_the_room_needs_neither_torch_nor_simpleitk():
    code = "import sys, EfficientMedSAM2Lib.interaction; print({'torch', 'SimpleITK', 'timm', 'vtk'} & {*sys.modules})"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "set()"
