"""The same calls on SAM2's predictors and on ours give the same types and shapes. SAM2 has random weights here, so that
its masks say nothing. Slow: SAM2 looks at 1024 x 1024 pixels of an image; of a video at as few as it can here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor, EfficientMedSAM2VolumePredictor

pytestmark = pytest.mark.nightly
CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
SMALL = ["++model.image_size=256"]
IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
BOX = np.array([5, 5, 20, 20.0])
CLICK = {"point_coords": np.array([[10, 10]]), "point_labels": np.array([1])}
TWO = {"point_coords": np.array([[[10, 10.0]], [[20, 20]]]), "point_labels": np.array([[1], [1]])}


@pytest.fixture(scope="module")
def image_predictors(model):
    pytest.importorskip("sam2")
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    return SAM2ImagePredictor(build_sam2(CONFIG, None, device="cpu")), EfficientMedSAM2ImagePredictor(model)


@pytest.fixture(scope="module")
def seeing(image_predictors):
    """Both, with the image set."""
    for predictor in image_predictors:
        predictor.set_image(IMAGE)
    return image_predictors


@pytest.fixture(scope="module")
def video_predictors(model):
    pytest.importorskip("sam2")
    from sam2.build_sam import build_sam2_video_predictor

    video = build_sam2_video_predictor(CONFIG, None, device="cpu", hydra_overrides_extra=SMALL)
    return video, EfficientMedSAM2VolumePredictor(model)


@pytest.fixture
def video_dir(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.fromarray(IMAGE).save(tmp_path / f"{number:05d}.jpg")
    return str(tmp_path)


def kind(value):
    """Type, number type and shape of what a call gave."""
    if isinstance(value, (tuple, list)):
        return [kind(part) for part in value]
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return type(value).__name__, str(value.dtype), tuple(value.shape)
    return value


def outcome(call, *arguments):
    try:
        return kind(call(*arguments))
    except (RuntimeError, ValueError) as error:
        return "RuntimeError" if isinstance(error, RuntimeError) else "ValueError"  # ours may be a kind of these


@pytest.mark.parametrize(
    "prompts",
    [
        {},
        {**CLICK},
        {**CLICK, "multimask_output": False},
        {**CLICK, "point_labels": np.array([-1])},
        {**CLICK, "point_labels": np.array([1.0])},
        {"point_coords": torch.tensor([[10.0, 10]]), "point_labels": torch.tensor([1])},
        {"point_coords": np.zeros((0, 2)), "point_labels": np.zeros(0)},
        {"point_coords": np.array([[-40, 900]]), "point_labels": np.array([1])},
        {"point_coords": np.array([[0.1, 0.1]]), "point_labels": np.array([1]), "normalize_coords": False},
        {"point_labels": np.array([1])},
        {"box": BOX},
        {"box": BOX[None]},
        {"box": BOX, "return_logits": True},
        {"box": np.array([5, 5, 5, 30])},
        {"box": np.array([35, 35, 5, 3])},
        {"box": np.array([500, 500, 600, 700])},
        {"box": np.stack([BOX] * 4), "multimask_output": False},
        {"box": np.stack([BOX] * 3)[:, None]},
        {"box": BOX[None, None]},
        {"box": np.stack([BOX, np.full(4, np.nan)]), "multimask_output": False},
        TWO,
        {**TWO, "box": np.stack([BOX] * 2), "multimask_output": False},
        {"mask_input": np.zeros((1, 256, 256), np.float32)},
        {**CLICK, "mask_input": np.zeros((1, 256, 256), np.float32), "multimask_output": False},
    ],
    ids=str,
)
def test_predict(seeing, prompts):
    expected, found = (outcome(lambda p=predictor: p.predict(**prompts)) for predictor in seeing)
    assert expected == found


def test_the_other_calls_on_images(image_predictors):
    steps = [
        lambda p: p.reset_predictor(),
        lambda p: p.predict(),
        lambda p: p.get_image_embedding(),
        lambda p: (p._is_image_set, p._orig_hw, p._is_batch, p._features),
        lambda p: p.set_image(IMAGE),
        lambda p: (p._is_image_set, [tuple(size) for size in p._orig_hw], p._is_batch, sorted(p._features)),
        lambda p: p.get_image_embedding().dtype,
        lambda p: p.set_image_batch([IMAGE, IMAGE[:40]]),
        lambda p: (p._is_image_set, [tuple(size) for size in p._orig_hw], p._is_batch),
        lambda p: p.predict_batch(box_batch=[BOX, np.stack([BOX, BOX + 1])], multimask_output=False),
        lambda p: p.predict_batch(point_coords_batch=[CLICK["point_coords"]] * 2, point_labels_batch=[np.ones(1)] * 2),
        lambda p: p.predict_batch(multimask_output=False),
        lambda p: p.predict(box=BOX),
    ]
    for number, step in enumerate(steps):
        expected, found = (outcome(step, predictor) for predictor in image_predictors)
        assert expected == found, f"step {number}"


def test_the_calls_on_videos(video_predictors, video_dir):
    states = [predictor.init_state(video_dir, True, False) for predictor in video_predictors]
    mask = torch.zeros(120, 160, dtype=torch.bool)
    mask[20:60, 30:80] = True
    steps = [
        lambda p, s: (s["offload_video_to_cpu"], s["offload_state_to_cpu"], s["video_height"], s["video_width"]),
        lambda p, s: list(p.propagate_in_video(s)),
        lambda p, s: p.add_new_points_or_box(s, 0, 1, box=BOX),
        lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[[8, 8]], labels=[1], clear_old_points=False),
        lambda p, s: p.add_new_points_or_box(s, 0, 1, box=BOX, clear_old_points=False),
        lambda p, s: p.add_new_points_or_box(s, 0, 1, points=[[8, 8]]),
        lambda p, s: p.add_new_points_or_box(s, 0, 1),
        lambda p, s: p.add_new_points_or_box(s, 0, "b", box=np.array([30, 20, 10, 5.0])),
        lambda p, s: p.add_new_points_or_box(s, 0, "b", points=np.array([[8, 8]]), labels=np.array([-1])),
        lambda p, s: p.add_new_points(s, 1, "b", points=np.array([[800, 8]]), labels=np.array([1])),
        lambda p, s: p.add_new_mask(s, 1, 3, mask),
        lambda p, s: p.add_new_mask(s, 1, 3, mask.numpy()),
        lambda p, s: (s["obj_ids"], dict(s["obj_id_to_idx"]), dict(s["obj_idx_to_id"]), s["num_frames"]),
        lambda p, s: [sorted(s["point_inputs_per_obj"][i]) for i in range(3)],
        lambda p, s: [sorted(s["mask_inputs_per_obj"][i]) for i in range(3)],
        lambda p, s: p.add_new_mask(s, 1, 3, mask.numpy() * np.arange(160, dtype=np.uint8)),
        lambda p, s: list(p.propagate_in_video(s)),
        lambda p, s: list(p.propagate_in_video(s, start_frame_idx=1, max_frame_num_to_track=1, reverse=True)),
        lambda p, s: [f for f, _, _ in p.propagate_in_video(s, reverse=True)],
        lambda p, s: [f for f, _, _ in p.propagate_in_video(s, 0, reverse=True)],
        lambda p, s: [f for f, _, _ in p.propagate_in_video(s, 1, 0)],
        lambda p, s: next(p.propagate_in_video(s)),
        lambda p, s: p.clear_all_prompts_in_frame(s, 1, "b"),
        lambda p, s: p.remove_object(s, "b"),
        lambda p, s: p.remove_object(s, "nobody"),
        lambda p, s: p.remove_object(s, "nobody", strict=True),
        lambda p, s: p.reset_state(s),
        lambda p, s: (s["obj_ids"], len(s["point_inputs_per_obj"])),
    ]
    for number, step in enumerate(steps):
        # As SAM2's scripts do: its memories are bfloat16 whatever the rest is.
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            expected, found = (outcome(step, *pair) for pair in zip(video_predictors, states))
        assert expected == found, f"step {number}"


def test_overlap_is_left_to_the_surest_object_as_sam2_does(video_predictors):
    logits = 20 * torch.randn(3, 1, 12, 14, generator=torch.Generator().manual_seed(0))
    for some in (logits, logits[:1]):
        expected, found = (predictor._apply_non_overlapping_constraints(some) for predictor in video_predictors)
        assert torch.equal(expected, found)
