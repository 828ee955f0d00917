"""Scripts written for SAM2 and MedSAM2, with only the constructor changed, on a network with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor


@pytest.fixture
def predictor(model):
    return EfficientMedSAM2VolumePredictor(model)


@pytest.fixture
def video_dir(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).save(tmp_path / f"{number:05d}.jpg")
    return str(tmp_path)


def test_sam2_video_script(predictor, video_dir):
    inference_state = predictor.init_state(video_path=video_dir)
    predictor.reset_state(inference_state)

    box = np.array([20, 10, 60, 50], dtype=np.float32)
    frame_idx, out_obj_ids, out_mask_logits = predictor.add_new_points_or_box(
        inference_state=inference_state, frame_idx=4, obj_id=1, box=box
    )
    assert (frame_idx, out_obj_ids) == (4, [1])
    assert out_mask_logits.shape == (1, 1, 60, 80)
    assert out_mask_logits.dtype == torch.float32

    points = np.array([[40, 30], [45, 35]], dtype=np.float32)
    labels = np.array([1, 0], np.int32)
    predictor.add_new_points_or_box(
        inference_state=inference_state, frame_idx=4, obj_id=1, points=points, labels=labels, box=box
    )
    mask = np.zeros((60, 80), dtype=bool)
    mask[10:30, 20:50] = True
    _, out_obj_ids, out_mask_logits = predictor.add_new_mask(inference_state, frame_idx=7, obj_id=2, mask=mask)
    assert out_obj_ids == [1, 2]
    assert ((out_mask_logits[1, 0] > 0).numpy() == mask).all()

    video_segments = {}
    for out_frame_idx, out_obj_ids, out_mask_logits in predictor.propagate_in_video(inference_state):
        video_segments[out_frame_idx] = {
            out_obj_id: (out_mask_logits[i] > 0.0).cpu().numpy() for i, out_obj_id in enumerate(out_obj_ids)
        }
    assert sorted(video_segments) == list(range(4, 12))
    assert all(set(found) == {1, 2} for found in video_segments.values())
    assert (video_segments[7][2][0] == mask).all()
    for out_frame_idx, _, _ in predictor.propagate_in_video(inference_state, start_frame_idx=7, reverse=True):
        video_segments[out_frame_idx] = {}
    assert sorted(video_segments) == list(range(12))

    # Objects may be added after tracking.
    predictor.add_new_points(inference_state, 2, "third", np.array([[10, 10]]), np.array([1]))
    assert inference_state["obj_ids"] == [1, 2, "third"]
    assert inference_state["obj_id_to_idx"]["third"] == 2

    ids, updated = predictor.remove_object(inference_state, 1)
    assert ids == [2, "third"]
    assert [f for f, _ in updated] == [4]
    assert updated[0][1].shape == (2, 1, 60, 80)
    assert predictor.remove_object(inference_state, 1) == ([2, "third"], [])
    with pytest.raises(RuntimeError, match="doesn't exist"):
        predictor.remove_object(inference_state, 1, strict=True)
    predictor.reset_state(inference_state)
    assert inference_state["obj_ids"] == []
    with pytest.raises(RuntimeError, match="No input points or masks"):
        next(predictor.propagate_in_video(inference_state))


@pytest.mark.slow
def test_sam2_frame_ranges(predictor):
    state = predictor.init_state(np.random.default_rng(0).random((10, 32, 32)))
    predictor.add_new_points_or_box(state, 0, 1, box=[5, 5, 20, 20])

    def frames(**kwargs):
        return [f for f, _, _ in predictor.propagate_in_video(state, **kwargs)]

    assert frames(reverse=True) == []  # nothing lies before slice 0
    assert frames(max_frame_num_to_track=3) == [0, 1, 2, 3]
    assert frames(start_frame_idx=8, max_frame_num_to_track=5) == [8, 9]
    assert frames(start_frame_idx=2, reverse=True) == [2, 1, 0]
    assert frames(start_frame_idx=6, max_frame_num_to_track=2, reverse=True) == [6, 5, 4]


@pytest.mark.slow
def test_medsam2_script(predictor):
    """Prepared slices: resized to a square, scaled, normalised; prompts in the pixels of the original."""
    rng = np.random.default_rng(0)
    video_height, video_width = 90, 70
    img_resized = torch.from_numpy(rng.random((9, 3, 128, 128), dtype=np.float32))
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    img_resized = (img_resized - mean) / std
    segs_3d = np.zeros((9, video_height, video_width), dtype=np.uint8)
    with torch.inference_mode():
        inference_state = predictor.init_state(img_resized, video_height, video_width)
        _, _, out_mask_logits = predictor.add_new_points_or_box(
            inference_state=inference_state, frame_idx=4, obj_id=1, box=np.array([10, 20, 50, 60])
        )
        mask_prompt = (out_mask_logits[0] > 0.0).squeeze(0).cpu().numpy()
        assert mask_prompt.shape == (video_height, video_width)
        _, _, masks = predictor.add_new_mask(inference_state, frame_idx=4, obj_id=1, mask=mask_prompt)
        segs_3d[4][(masks[0] > 0.0).cpu().numpy()[0]] = 1
        for out_frame_idx, _, logits in predictor.propagate_in_video(inference_state, start_frame_idx=4):
            segs_3d[out_frame_idx, (logits[0] > 0.0).cpu().numpy()[0]] = 1
        predictor.reset_state(inference_state)
        inference_state = predictor.init_state(images=img_resized, video_height=video_height, video_width=video_width)
        predictor.add_new_mask(inference_state, frame_idx=4, obj_id=1, mask=mask_prompt)
        seen = [f for f, _, _ in predictor.propagate_in_video(inference_state, start_frame_idx=4, reverse=True)]
    assert seen == [4, 3, 2, 1, 0]
    assert (segs_3d[4].astype(bool) == mask_prompt).all()


def test_prepared_slices_are_unprepared():
    """MedSAM2's normalisation is taken back, so that black is black again outside the slice."""
    from EfficientMedSAM2Lib.predictors.volume.frames import TensorFrames

    picture = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    frames = TensorFrames((picture - mean) / std, 64, 64)
    assert np.allclose(frames[1], picture[1].permute(1, 2, 0).numpy(), atol=1e-5)
    assert np.allclose(TensorFrames(picture, 64, 64)[1], picture[1].permute(1, 2, 0).numpy())


@pytest.mark.slow
@pytest.mark.parametrize(
    "volume",
    [
        np.random.default_rng(0).integers(-1000, 2000, (5, 40, 30)).astype(np.int16),
        np.random.default_rng(0).integers(0, 255, (5, 40, 30, 3)).astype(np.uint8),
        np.zeros((5, 40, 30)),
        np.full((5, 40, 30), np.nan, np.float32),
        np.ones((1, 40, 30)),
    ],
    ids=["int16", "rgb", "constant", "nan", "one slice"],
)
def test_every_kind_of_volume(predictor, volume):
    before = volume.copy()
    state = predictor.init_state(volume, spacing=(5, 0.7, 0.9))
    predictor.add_new_points_or_box(state, 0, 1, points=[[12, 20]], labels=[1])
    for f, mask, score in predictor.propagate_object(state, 1, 0, range(1, len(volume))):
        assert mask.shape == (40, 30)
        assert mask.dtype == bool
        assert 0 <= score <= 1
        assert predictor.slice_score(state, 1, f) == score
    assert np.array_equal(volume, before, equal_nan=volume.dtype.kind == "f")


@pytest.mark.slow
def test_repeat_is_exact(predictor):
    volume = np.random.default_rng(3).normal(size=(8, 50, 50)).astype(np.float32)

    def run():
        state = predictor.init_state(volume, spacing=(2, 1, 1))
        predictor.add_new_points_or_box(state, 3, 1, box=[10, 10, 30, 30])
        return torch.stack([logits for _, _, logits in predictor.propagate_in_video(state)])

    assert torch.equal(run(), run())


def test_masks_are_the_sign_of_the_logits(predictor):
    volume = np.random.default_rng(4).normal(size=(8, 70, 50)).astype(np.float32)
    state = predictor.init_state(volume, spacing=(2, 1.3, 0.8))
    predictor.add_new_points_or_box(state, 3, 1, box=[10, 10, 30, 30])
    for f, _, logits in predictor.propagate_in_video(state):
        assert ((logits[0, 0] > 0).numpy() == predictor.slice_mask(state, 1, f)).all()


@pytest.mark.slow
def test_objects_that_appear_later_are_tracked_one_by_one(predictor, video_dir, tmp_path):
    """As the video scripts of SAM2 and MedSAM2 do with `--track_object_appearing_later_in_video`."""
    from PIL import Image

    masks_dir = tmp_path / "masks"
    masks_dir.mkdir()
    first, second = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    first[10:30, 10:30] = 1
    second[10:30, 10:30], second[20:50, 25:60] = 1, 2
    for name, labels in (("00000", first), ("00004", second)):
        picture = Image.fromarray(labels)
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        picture.save(masks_dir / f"{name}.png")

    state = predictor.init_state(video_path=video_dir, async_loading_frames=False)
    height, width, inputs = state["video_height"], state["video_width"], {}
    for frame_idx in range(state["num_frames"]):
        path = masks_dir / f"{frame_idx:05d}.png"
        if path.exists():
            labels = np.array(Image.open(path)).astype(np.uint8)
            for object_id in np.unique(labels[labels > 0]).tolist():
                inputs.setdefault(object_id, (frame_idx, labels == object_id))
    assert {object_id: frame_idx for object_id, (frame_idx, _) in inputs.items()} == {1: 0, 2: 4}

    scores = torch.full((len(inputs), state["num_frames"], 1, height, width), -1024.0)
    for number, (frame_idx, mask) in enumerate(inputs.values()):
        predictor.reset_state(state)
        predictor.add_new_mask(inference_state=state, frame_idx=frame_idx, obj_id=number, mask=mask)
        for found_idx, _, logits in predictor.propagate_in_video(state, start_frame_idx=frame_idx, reverse=False):
            scores[number, found_idx] = torch.from_numpy(logits.cpu().numpy())[0]
    for frame_idx in range(state["num_frames"]):
        alone = predictor._apply_non_overlapping_constraints(scores[:, frame_idx])
        assert not (alone > 0).all(dim=0).any()
    assert (scores[1, :4] < 0).all()
    assert ((scores[0, 0, 0] > 0).numpy() == (first == 1)).all()


def test_recist_script(predictor):
    """MedSAM2's, with points along a diameter: slices and labels in float64, masks in uint8, numpy's numbers."""
    recist = np.zeros((7, 60, 80), np.uint8)
    recist[3, 30, 20:45] = 1
    images = np.random.default_rng(0).random((7, 1, 64, 64)).repeat(3, axis=1)
    z_mid = np.unique(np.where(recist == 1)[0])[0]
    y, x = np.where(recist[z_mid] > 0)
    points = np.stack([x, y], axis=1)[::6]
    segs = np.zeros(recist.shape, np.uint8)
    with torch.inference_mode():
        state = predictor.init_state(torch.from_numpy(images), *recist.shape[1:])
        _, _, logits = predictor.add_new_points_or_box(
            inference_state=state, frame_idx=z_mid, obj_id=1, points=points, labels=np.ones(len(points))
        )
        mask_prompt = (logits[0] > 0.0).squeeze(0).cpu().numpy().astype(np.uint8)
        for reverse in (False, True):
            state = predictor.init_state(torch.from_numpy(images), *recist.shape[1:])
            _, _, masks = predictor.add_new_mask(state, frame_idx=z_mid, obj_id=1, mask=mask_prompt)
            segs[z_mid, ((masks[0] > 0.0).cpu().numpy())[0]] = 1
            for frame_idx, _, logits in predictor.propagate_in_video(state, start_frame_idx=z_mid, reverse=reverse):
                segs[frame_idx, (logits[0] > 0.0).cpu().numpy()[0]] = 1
            predictor.reset_state(state)
    assert np.array_equal(segs[z_mid], mask_prompt)
