"""What SAM2's and MedSAM2's own scripts call, read and hand over, beyond points, boxes and propagation."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor, EfficientMedSAM2VolumePredictor


@pytest.fixture
def predictor(model):
    return EfficientMedSAM2VolumePredictor(model)


@pytest.fixture
def state(predictor):
    return predictor.init_state(np.random.default_rng(0).random((6, 40, 50), np.float32))


def test_each_pixel_is_left_to_the_surest_object(predictor):
    """As SAM2's and MedSAM2's scripts do it after they have followed each object alone."""
    logits = torch.tensor([[[3.0, -1.0, 2.0, -20.0]], [[1.0, 2.0, 2.5, -15.0]]])[:, :, None]
    found = predictor._apply_non_overlapping_constraints(logits)
    assert isinstance(found, torch.Tensor)
    assert found.shape == (2, 1, 1, 4)
    assert found[0, 0, 0].tolist() == [3.0, -10.0, -10.0, -20.0]
    assert found[1, 0, 0].tolist() == [-10.0, 2.0, 2.5, -15.0]
    assert logits[0, 0, 0, 1] == -1
    assert torch.equal(predictor._apply_non_overlapping_constraints(logits[:1]), logits[:1])
    assert isinstance(predictor._apply_non_overlapping_constraints(logits.numpy()), np.ndarray)


def test_the_volume_predictor_is_a_module_to_scripts(model):
    predictor = EfficientMedSAM2VolumePredictor(copy.deepcopy(model), fill_hole_area=8)
    assert predictor.to("cpu") is predictor
    assert predictor.to(device=torch.device("cpu")).eval() is predictor
    assert predictor.train(False).cpu() is predictor
    with pytest.raises(RuntimeError, match="does not train"):
        predictor.train()
    assert not predictor.training
    assert predictor.image_size == 256
    assert predictor.fill_hole_area == 8
    predictor.fill_hole_area = 0
    assert predictor._propagator.max_hole_area == 0
    assert sum(p.numel() for p in predictor.parameters()) == predictor.model.parameter_count()
    assert next(predictor.parameters()).device.type == "cpu"
    assert len(list(predictor.named_parameters())) == len(list(predictor.parameters()))
    weights = predictor.state_dict()
    other = EfficientMedSAM2VolumePredictor(copy.deepcopy(model))
    next(other.parameters()).data += 1
    other.load_state_dict(weights)
    assert torch.equal(next(other.parameters()), next(predictor.parameters()))
    assert predictor.to(torch.bfloat16).model.compute_dtype == torch.bfloat16
    state = predictor.init_state(np.zeros((2, 40, 40)))
    assert predictor.add_new_points_or_box(state, 0, 1, box=[5, 5, 20, 20])[2].dtype == torch.float32


@pytest.mark.slow
def test_prompts_that_sam2_answers(predictor, state):
    for prompts in (
        {"points": np.zeros((0, 2)), "labels": []},
        {"points": [[5, 5]], "labels": [-1]},
        {"points": [[500, -80]], "labels": [1]},
        {"box": [5, 5, 5, 9]},
        {"box": [30, 20, 10, 5]},
        {"box": [90, 90, 99, 99]},
    ):
        predictor.reset_state(state)
        _, ids, logits = predictor.add_new_points_or_box(state, 2, 1, **prompts)
        assert ids == [1]
        assert logits.shape == (1, 1, 40, 50)
        assert torch.isfinite(logits).all()
        assert len(list(predictor.propagate_in_video(state))) == 4


def test_scalars_of_torch_and_numpy(predictor, state):
    _, ids, _ = predictor.add_new_points_or_box(state, torch.tensor(2), torch.tensor(7), box=[5, 5, 20, 20])
    assert ids == [7]
    mask = np.zeros((40, 50), bool)
    mask[5:9, 5:9] = True
    frame_idx, ids, _ = predictor.add_new_mask(state, np.int64(4), torch.tensor(7), mask)
    assert (frame_idx, ids) == (4, [7])
    assert list(state["tracks"][7].prompts) == [2, 4]
    frames = [f for f, _, _ in predictor.propagate_in_video(state, torch.tensor(2), max_frame_num_to_track=np.int32(2))]
    assert frames == [2, 3, 4]
    assert predictor.slice_mask(state, torch.tensor(7), torch.tensor(4)).sum() == 16
    assert [f for f, _, _ in predictor.propagate_object(state, 7, torch.tensor(2), torch.arange(3, 5))] == [3, 4]
    predictor.clear_all_prompts_in_frame(state, torch.tensor(2), torch.tensor(7))
    assert list(state["tracks"][7].prompts) == [4]
    assert predictor.remove_object(state, torch.tensor(7)) == ([], [])
    for bad in (torch.tensor(2.5), "2", None, torch.tensor([1, 2])):
        with pytest.raises(ValueError, match="no slice"):
            predictor.add_new_points_or_box(state, bad, 1, box=[5, 5, 20, 20])


def test_a_mask_of_another_size_is_resized(predictor, state):
    large = np.zeros((80, 100), np.uint8)
    large[20:40, 30:60] = 255
    predictor.add_new_mask(state, 1, 1, torch.from_numpy(large))
    expected = np.zeros((40, 50), bool)
    expected[10:20, 15:30] = True
    assert (predictor.slice_mask(state, 1, 1) == expected).all()
    for bad in (np.zeros((1, 40, 50), bool), np.zeros((0, 5), bool)):
        with pytest.raises(ValueError, match=r"must be \(H,W\)"):
            predictor.add_new_mask(state, 1, 1, bad)


def test_what_was_given_is_in_the_state(predictor, state):
    assert dict(state["point_inputs_per_obj"]) == {}
    predictor.add_new_points_or_box(state, 2, "a", points=[[9, 8]], labels=[1], box=[5, 5, 20, 20])
    mask = np.zeros((40, 50), bool)
    mask[5:9, 5:9] = True
    predictor.add_new_mask(state, 4, "b", mask)
    points, masks = state["point_inputs_per_obj"], state["mask_inputs_per_obj"]
    assert {number: sorted(inputs) for number, inputs in points.items()} == {0: [2], 1: []}
    assert {number: sorted(inputs) for number, inputs in masks.items()} == {0: [], 1: [4]}
    assert points[0][2]["point_labels"].tolist() == [[2, 3, 1]]
    assert points[0][2]["point_coords"].tolist() == [[[5, 5], [20, 20], [9, 8]]]
    assert (masks[1][4][0, 0] == mask).all()
    predictor.add_new_points(state, 4, "b", points=[[6, 6]], labels=[1], clear_old_points=False)
    assert sorted(points[1]) == [4]
    assert masks[1] == {}
    with pytest.raises(KeyError):
        points[2]
    assert len(state["images"]) == state["num_frames"] == 6


def test_what_is_not_wanted_is_not_computed(predictor, state, monkeypatch):
    import EfficientMedSAM2Lib.predictors.volume_predictor as module

    monkeypatch.setattr(module, "video_logits", lambda *_: pytest.fail("logits of the whole slice"))
    assert predictor.add_new_points_or_box(state, 2, 1, box=[5, 5, 20, 20], need_output=False) == (2, [1], None)
    assert predictor.add_new_mask(state, 3, 1, np.ones((40, 50), bool), need_output=False) == (3, [1], None)


@pytest.mark.slow
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])  # noqa: S301
def test_predictors_and_states_are_pickled(predictor, state, model, copied):
    predictor.add_new_points_or_box(state, 2, 1, box=[5, 5, 20, 20])
    other, other_state = copied((predictor, state))
    for frame_idx, ids, logits in predictor.propagate_in_video(state):
        _, other_ids, other_logits = next(
            other.propagate_in_video(other_state, start_frame_idx=frame_idx, max_frame_num_to_track=0)
        )
        assert ids == other_ids
        assert torch.equal(logits, other_logits)

    images = EfficientMedSAM2ImagePredictor(model)
    images.set_image(np.random.default_rng(0).random((40, 50)))
    masks = images.predict(box=[5, 5, 20, 20], return_logits=True)[0]
    assert (copied(images).predict(box=[5, 5, 20, 20], return_logits=True)[0] == masks).all()


def test_a_video_file(predictor):
    """clip.mp4 is six frames of 48 x 64 pixels in MPEG-4, of the greys 20, 50, ... 170."""
    pytest.importorskip("decord")
    path = Path(__file__).parent / "clip.mp4"
    for source in (str(path), path, path.read_bytes()):
        state = predictor.init_state(video_path=source)
        assert (state["num_frames"], state["video_height"], state["video_width"]) == (6, 48, 64)
        for number in (4, 0, 5, 1):
            assert np.abs(state["images"][number].astype(int) - 20 - 30 * number).max() <= 6
    state = pickle.loads(pickle.dumps(state))  # noqa: S301
    predictor.add_new_points_or_box(state, 0, 1, box=[5, 5, 30, 30])
    assert [f for f, _, _ in predictor.propagate_in_video(state)] == list(range(6))


def test_without_decord_one_line_says_what_to_do(predictor, tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    with pytest.raises(ValueError, match=r"clip\.mp4 does not exist"):
        predictor.init_state(video_path=str(path))
    path.write_bytes(b"no video")
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(ValueError, match="pip install decord") as refusal:
        predictor.init_state(video_path=str(path))
    assert "\n" not in str(refusal.value)
    monkeypatch.undo()
    pytest.importorskip("decord")
    with pytest.raises(ValueError, match="cannot be read as a video") as refusal:
        predictor.init_state(video_path=str(path))
    assert "\n" not in str(refusal.value)


def test_a_folder_of_jpeg_frames_may_be_named_like_a_video(predictor, tmp_path):
    from PIL import Image

    folder = tmp_path / "clip.mp4"
    folder.mkdir()
    for number in (10, 2, 0):
        Image.fromarray(np.full((40, 50, 3), 20 * number, np.uint8)).save(folder / f"{number}.jpg")
    state = predictor.init_state(video_path=str(folder))
    assert [int(state["images"][n][0, 0, 0]) for n in range(3)] == [0, 40, 200]


def test_masks_beside_the_jpeg_frames_are_no_frames(predictor, tmp_path):
    """As in SAM2; a folder of PNG alone has frames all the same."""
    from PIL import Image

    for number in range(3):
        Image.fromarray(np.full((40, 50, 3), 20 * number, np.uint8)).save(tmp_path / f"{number:05}.JPG", "JPEG")
        Image.fromarray(np.full((40, 50), number, np.uint8)).save(tmp_path / f"{number:05}.png")
        (tmp_path / f"._{number:05}.JPG").write_bytes(b"what macOS leaves behind")
    assert predictor.init_state(str(tmp_path))["num_frames"] == 3
    for path in tmp_path.glob("*.JPG"):
        path.unlink()
    assert predictor.init_state(str(tmp_path))["num_frames"] == 3


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), (False, False)),
        ((True,), (True, False)),
        ((False, True), (False, True)),
        ((True, True, True), (True, True)),
    ],
)
def test_flags_may_be_given_by_position(predictor, tmp_path, flags, expected):
    from PIL import Image

    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "0.jpg")
    state = predictor.init_state(str(tmp_path), *flags)
    assert (state["offload_video_to_cpu"], state["offload_state_to_cpu"]) == expected
    assert (state["video_height"], state["video_width"]) == (40, 50)
    # MedSAM2 has height and width before them.
    state = predictor.init_state(torch.zeros(2, 3, 16, 16), 40, 50, *flags[:2])
    assert (state["offload_video_to_cpu"], state["offload_state_to_cpu"]) == expected
    assert (state["video_height"], state["video_width"]) == (40, 50)


def test_every_label_of_a_mask_is_inside(predictor, state):
    """As SAM2 reads it."""
    labels = np.zeros((40, 50), np.uint8)
    labels[5:9, 5:9], labels[20:30, 20:30] = 1, 7
    predictor.add_new_mask(state, 1, 1, labels)
    assert np.array_equal(predictor.slice_mask(state, 1, 1), labels > 0)


@pytest.mark.parametrize("count", [1, 3])
def test_boxes_in_the_form_of_the_prompt_encoder(model, count):
    """(B,1,4), as MedSAM's scripts make them."""
    predictor = EfficientMedSAM2ImagePredictor(model)
    predictor.set_image(np.random.default_rng(0).random((40, 50)))
    boxes = np.array([[5, 5, 20, 20], [15, 10, 40, 30], [1, 1, 9, 9]], float)[:count]
    wanted, _, _ = predictor.predict(box=boxes, multimask_output=False)
    found, scores, _ = predictor.predict(box=torch.from_numpy(boxes)[:, None], multimask_output=False)
    assert np.array_equal(found, wanted)
    assert scores.shape == ((count, 1) if count > 1 else (1,))
