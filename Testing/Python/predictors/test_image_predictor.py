"""SAM2ImagePredictor's contract on ours: shapes, types, errors, and that nothing is encoded that was not looked at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stub_network import StubNetwork

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor


@pytest.fixture
def predictor(model):
    return EfficientMedSAM2ImagePredictor(model)


def picture(*shape, dtype=np.float32):
    return np.random.default_rng(1).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (picture(80, 120), (80, 120)),
        (picture(80, 120, 1, dtype=np.uint16), (80, 120)),
        (picture(80, 120, 3, dtype=np.uint8), (80, 120)),
        (picture(80, 120, 4, dtype=np.uint8), (80, 120)),
        (picture(1, 1, 80, 120, dtype=np.int16), (80, 120)),
        (picture(1, 3, 80, 120, dtype=np.float64), (80, 120)),
        (picture(1, 1, 3, 80, 120), (80, 120)),
        (torch.rand(1, 1, 80, 120, dtype=torch.float16), (80, 120)),
        (picture(80, 120) > 100, (80, 120)),
        (np.zeros((80, 120)), (80, 120)),
        (np.full((80, 120), np.nan), (80, 120)),
        (picture(1, 1, 1, 1), (1, 1)),
        (picture(3000, 7), (3000, 7)),
    ],
)
def test_every_kind_of_image(predictor, image, size):
    predictor.set_image(image)
    masks, scores, low_res = predictor.predict(point_coords=[[0, 0]], point_labels=[1])
    assert masks.shape == (3, *size)
    assert masks.dtype == np.float32
    assert set(np.unique(masks)) <= {0, 1}
    assert scores.shape == (3,)
    assert scores.dtype == np.float32
    assert low_res.shape == (3, 256, 256)
    assert low_res.dtype == np.float32
    assert np.isfinite(low_res).all()


def test_pil_image(predictor):
    from PIL import Image

    predictor.set_image(Image.fromarray(picture(40, 50, 3, dtype=np.uint8)))
    assert predictor.predict(box=[5, 5, 30, 30], multimask_output=False)[0].shape == (1, 40, 50)
    predictor.set_image(Image.fromarray(picture(40, 50, dtype=np.uint8)).convert("P"))
    assert predictor.predict(box=[5, 5, 30, 30], multimask_output=False)[0].shape == (1, 40, 50)


@pytest.mark.parametrize("bad", [np.zeros((0, 5)), np.zeros((2, 2, 2, 2)), np.zeros(7), np.zeros((5, 5), complex)])
def test_what_is_no_image(predictor, bad):
    with pytest.raises(ValueError, match="image"):
        predictor.set_image(bad)


def test_seed_example():
    """The example of the first published interface, word for word but for the weights."""
    from efficient_medsam2.build_efficient_medsam2 import build_efficient_medsam2_model
    from efficient_medsam2.efficient_medsam2_image_predictor import EfficientMedSAM2ImagePredictor as Predictor

    model = build_efficient_medsam2_model(encoder_type="mobilenet", checkpoint="random", device="cpu")
    predictor = Predictor(model)
    image = np.random.default_rng(0).random((1, 1, 512, 512))
    predictor.set_image(image)
    masks, scores, logits = predictor.predict(
        point_coords=np.array([[256, 256]]), point_labels=np.array([1]), multimask_output=True
    )
    best_mask = masks[np.argmax(scores)]
    assert best_mask.shape == (512, 512)
    assert len(logits) == 3


def test_low_res_logits_are_the_mask_and_are_taken_back(predictor):
    predictor.set_image(picture(200, 160))
    box = [40, 50, 90, 110]
    logits, _, low_res = predictor.predict(box=box, multimask_output=False, return_logits=True)
    assert logits.dtype == np.float32
    masks, _, _ = predictor.predict(box=box, multimask_output=False)
    assert ((logits > 0) == (masks > 0)).all()
    coarse = torch.nn.functional.interpolate(torch.from_numpy(low_res)[None], (200, 160), mode="bilinear")[0, 0] > 0
    assert (coarse.numpy() == (masks[0] > 0)).mean() > 0.95
    again = predictor.predict(mask_input=low_res, multimask_output=False)
    assert again[0].shape == (1, 200, 160)


def test_the_last_answer_is_recognised(predictor):
    """A small object in a large image loses its shape in 256 x 256 logits, but not if they are our own last answer."""
    predictor.set_image(picture(2000, 2000))
    _, _, low_res = predictor.predict(box=[400, 500, 440, 540], multimask_output=False)
    prompts = {"point_coords": [[420, 520]], "point_labels": [1], "multimask_output": False, "return_logits": True}
    own, _, _ = predictor.predict(mask_input=low_res, **prompts)
    (_, viewport), *_ = reversed(predictor._cache._entries)
    assert viewport.width < 120
    predictor.set_image(picture(2000, 2000))
    foreign, _, _ = predictor.predict(mask_input=low_res, **prompts)
    assert not np.array_equal(own, foreign)


def test_mask_input_reaches_the_network(predictor):
    predictor.set_image(picture(200, 160))
    box = [40, 50, 90, 110]
    plain = predictor.predict(box=box, multimask_output=False, return_logits=True)[0]
    low_res = np.full((1, 256, 256), -10.0)
    low_res[:, 80:120, 80:120] = 10
    given = predictor.predict(box=box, mask_input=low_res, multimask_output=False, return_logits=True)[0]
    assert not np.allclose(plain, given)


def test_a_lone_click_asked_for_one_mask_gets_the_best_of_three(predictor):
    predictor.set_image(picture(100, 100))
    click = {"point_coords": [[30, 40]], "point_labels": [1], "return_logits": True}
    three, scores, _ = predictor.predict(**click)
    one, score, low_res = predictor.predict(**click, multimask_output=False)
    assert one.shape == (1, 100, 100)
    assert low_res.shape == (1, 256, 256)
    assert (one[0] == three[scores.argmax()]).all()
    assert score[0] == scores.max()


@pytest.mark.parametrize(("certainty", "side", "looks"), [(8, 120, 1), (8, 40, 2), (0.5, 120, 3), (0.5, 40, 4)])
def test_a_click_is_looked_at_again_only_where_it_helps(certainty, side, looks):
    """In narrower viewports where the widest is unsure, and in a fitted one where the mask sits badly in its own."""
    network = StubNetwork()
    network.certainty = certainty
    predictor = EfficientMedSAM2ImagePredictor(network)
    image = np.zeros((256, 256), np.float32)
    image[60 : 60 + side, 60 : 60 + side] = 1
    predictor.set_image(image, window=(0, 1))
    masks, _, _ = predictor.predict(point_coords=[[80, 80]], point_labels=[1], multimask_output=False)
    assert (network.encoded, network.decoded) == (looks, looks)
    assert (masks[0] != (image > 0)).mean() < 0.01


def test_several_boxes_at_once_are_the_single_ones(predictor):
    predictor.set_image(picture(100, 100))
    boxes = np.array([[10, 10, 40, 40], [50, 30, 90, 80]])
    masks, scores, low_res = predictor.predict(box=boxes, multimask_output=False)
    assert masks.shape == (2, 1, 100, 100)
    assert scores.shape == (2, 1)
    assert low_res.shape == (2, 1, 256, 256)
    alone = predictor.predict(box=boxes[1], multimask_output=False)[0]
    assert (masks[1] == alone).all()


def test_coordinates_in_shares_of_the_image(predictor):
    predictor.set_image(picture(100, 200))
    pixels = predictor.predict(box=[20, 10, 100, 60], return_logits=True)[0]
    shares = predictor.predict(box=[0.1, 0.1, 0.5, 0.6], return_logits=True, normalize_coords=False)[0]
    assert np.allclose(pixels, shares)


def test_sam2s_labels_for_corners_are_a_box(predictor):
    predictor.set_image(picture(100, 100))
    a = predictor.predict(box=[10, 20, 60, 70], return_logits=True)[0]
    b = predictor.predict(point_coords=[[10, 20], [60, 70]], point_labels=[2, 3], return_logits=True)[0]
    assert np.allclose(a, b)


def test_batch(predictor):
    images = [picture(60, 50), picture(40, 70, 3, dtype=np.uint8)]
    predictor.set_image_batch(images)
    masks, scores, low_res = predictor.predict_batch(box_batch=[[5, 5, 30, 30], [5, 5, 20, 20]], multimask_output=False)
    assert [m.shape for m in masks] == [(1, 60, 50), (1, 40, 70)]
    assert len(scores) == len(low_res) == 2
    # The last image is meant, as in SAM2.
    assert (predictor.predict(box=[5, 5, 20, 20], multimask_output=False)[0] == masks[1]).all()
    with pytest.raises(ValueError, match="each of the 2"):
        predictor.predict_batch(box_batch=[[5, 5, 20, 20]])
    assert predictor.get_image_embedding().shape[0] == 2


def test_nothing_set(predictor):
    for call in (predictor.predict, predictor.predict_batch, predictor.get_image_embedding):
        with pytest.raises(RuntimeError, match="must be set"):
            call()
    predictor.set_image(picture(20, 20))
    predictor.reset_predictor()
    with pytest.raises(RuntimeError, match="must be set"):
        predictor.predict(point_coords=[[1, 1]], point_labels=[1])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"point_coords": [[5, 5]]}, "together"),
        ({"point_coords": [[5, 5, 5]], "point_labels": [1]}, r"\(N,2\)"),
        ({"point_coords": [[5, 5]], "point_labels": [1, 0]}, r"\(N,2\)"),
        ({"point_coords": [[5, 5]], "point_labels": [7]}, "Labels"),
        ({"point_coords": [[np.nan, 5]], "point_labels": [1]}, "finite"),
        ({"box": [0, 0, np.inf, 3]}, "finite"),
        ({"box": [1, 2, 3]}, "four numbers"),
        ({"mask_input": np.zeros((1, 64, 64))}, "256"),
        ({"mask_input": np.full((1, 256, 256), np.nan)}, "finite"),
    ],
)
def test_bad_prompts_say_what_is_wrong(predictor, prompts, message):
    predictor.set_image(picture(50, 60))
    with pytest.raises(ValueError, match=message):
        predictor.predict(**prompts)


def test_masks_are_what_sam2s_callers_compute_with(predictor):
    """Each of these failed, or gave integers, on masks of bools."""
    predictor.set_image(picture(50, 60))
    mask = predictor.predict(box=[5, 5, 30, 30], multimask_output=False)[0][0]
    assert ((1 - mask) + mask == 1).all()
    assert (1 - mask).dtype == np.float32
    assert (-mask).min() == -mask.max()
    assert (mask * 255).astype(np.uint8).max() in (0, 255)
    assert 0 <= float(torch.from_numpy(mask).mean()) <= 1


@pytest.mark.parametrize(
    ("prompts", "same_as"),
    [
        ({"box": [10, 10, 10, 30]}, None),
        ({"box": [10, 30, 40, 30]}, None),
        ({"box": [40, 35, 10, 12]}, {"box": [10, 12, 40, 35]}),
        ({"box": [100, 100, 120, 120]}, {"box": [59, 49, 59, 49]}),
        ({"box": [-20, -30, 500, 600]}, {"box": [0, 0, 59, 49]}),
        ({"point_coords": [[500, 5]], "point_labels": [1]}, {"point_coords": [[59, 5]], "point_labels": [1]}),
        ({"point_coords": [[5, 5], [-90, 5]], "point_labels": [1, 0]}, {"point_coords": [[5, 5]], "point_labels": [1]}),
        ({"point_coords": [[5, 5]], "point_labels": [-1]}, {}),
        ({"point_coords": np.zeros((0, 2)), "point_labels": []}, {}),
        ({"point_labels": [1]}, {}),
        ({}, {}),
    ],
)
def test_what_sam2_answers_is_answered(predictor, prompts, same_as):
    predictor.set_image(picture(50, 60))
    masks, scores, low_res = predictor.predict(**prompts, return_logits=True)
    assert masks.shape == (3, 50, 60)
    assert np.isfinite(masks).all()
    assert np.isfinite(scores).all()
    assert np.isfinite(low_res).all()
    if same_as is not None:
        assert np.array_equal(masks, predictor.predict(**same_as, return_logits=True)[0])


def test_a_box_of_one_pixel_is_its_pixel():
    """First and last pixel of a box belong to it."""
    predictor = EfficientMedSAM2ImagePredictor(StubNetwork())
    image = np.zeros((48, 48), np.float32)
    image[10:30, 20] = 1
    predictor.set_image(image, window=(0, 0.3))
    mask = predictor.predict(box=[20, 10, 20, 29], multimask_output=False)[0][0] > 0
    assert mask[12:28, 20].all()
    assert not mask[:, :18].any()
    assert not mask[:, 23:].any()


def test_one_bad_row_does_not_stop_a_batch(predictor):
    predictor.set_image(picture(50, 60))
    boxes = np.array([[5, 5, 30, 30], [np.nan, 5, 30, 30], [20, 20, 20, 20], [8, 8, 3, 3]], np.float32)
    masks, scores, low_res = predictor.predict(box=boxes, multimask_output=False)
    assert masks.shape == (4, 1, 50, 60)
    assert not masks[1].any()
    assert scores[1] == 0
    assert (low_res[1] < 0).all()
    assert (masks[0] == predictor.predict(box=boxes[0], multimask_output=False)[0]).all()
    assert (masks[3] == predictor.predict(box=[3, 3, 8, 8], multimask_output=False)[0]).all()


def test_the_embedding_is_float32_whatever_the_network_computes_with():
    from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

    network = build_efficient_medsam2_model("mobilenet", "random", device="cpu", precision="bf16")
    predictor = EfficientMedSAM2ImagePredictor(network)
    predictor.set_image(picture(50, 60))
    assert predictor.get_image_embedding().dtype == torch.float32
    assert predictor.get_image_embedding().numpy().shape == (1, 192, 16, 16)


def test_attributes_that_scripts_read(predictor):
    assert not predictor._is_image_set
    assert predictor._orig_hw is None
    assert predictor._features is None
    with pytest.raises(RuntimeError, match="must be set"):
        predictor.original_size  # noqa: B018
    predictor.set_image(picture(50, 60))
    assert predictor._is_image_set
    assert predictor._orig_hw == [(50, 60)]
    assert predictor.original_size == (50, 60)
    assert predictor.model.image_size == 256
    assert torch.equal(predictor._features["image_embed"], predictor.get_image_embedding())
    assert [tuple(level.shape[2:]) for level in predictor._features["high_res_feats"]] == [(64, 64), (32, 32)]


@pytest.mark.parametrize("encoder", ["mobilenet", "efficientnet"])
def test_from_pretrained_reads_the_encoder_from_the_file(encoder):
    from EfficientMedSAM2Lib import EfficientMedSAM2VolumePredictor
    from EfficientMedSAM2Lib.core.resources import shipped_weights

    for kind in (EfficientMedSAM2ImagePredictor, EfficientMedSAM2VolumePredictor):
        for model_id in (encoder, shipped_weights(encoder), str(shipped_weights(encoder))):
            predictor = kind.from_pretrained(model_id, device="cpu")
            assert isinstance(predictor, kind)
            assert predictor.model.config.encoder_type == encoder
    # SAM2's names in the hub, and what its builders take
    with pytest.raises(ValueError, match="neither 'efficientnet' nor 'mobilenet' nor a weights file"):
        EfficientMedSAM2ImagePredictor.from_pretrained("facebook/sam2-hiera-tiny")
    predictor = EfficientMedSAM2VolumePredictor.from_pretrained(encoder, device="cpu", vos_optimized=False, mode="eval")
    assert predictor.model.config.encoder_type == encoder


def test_repeat_is_exact_and_costs_no_encoding(predictor, model, monkeypatch):
    calls = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda image: calls.append(len(image)) or encode(image))
    predictor.set_image(picture(300, 300))
    assert calls == []
    first = predictor.predict(box=[50, 60, 120, 130], return_logits=True)
    assert sum(calls) == 1
    second = predictor.predict(box=[50, 60, 120, 130], return_logits=True)
    assert sum(calls) == 1
    assert all((a == b).all() for a, b in zip(first, second))
    # A click inside the box is looked at in the box's viewport.
    predictor.predict(box=[50, 60, 120, 130], point_coords=[[80, 80]], point_labels=[1])
    assert sum(calls) == 1


def test_image_is_not_changed(predictor):
    image = picture(50, 60)
    before = image.copy()
    predictor.set_image(image)
    predictor.predict(box=[5, 5, 30, 30])
    assert (image == before).all()


def test_anisotropic_pixels_are_seen_square(predictor):
    """With pixels four times as high as wide, the viewport of a box has a quarter of the rows."""
    predictor.set_image(picture(100, 400), spacing=(4.0, 1.0))
    predictor.predict(box=[100, 20, 199, 44])
    (_, viewport), *_ = list(predictor._cache._entries)
    assert abs(viewport.width - 4 * viewport.height) <= 4


def test_window_changes_what_is_seen(predictor):
    image = picture(100, 100)
    predictor.set_image(image, window=(0, 200))
    wide = predictor.predict(box=[10, 10, 60, 60], return_logits=True)[0]
    predictor.set_image(image, window=(90, 100))
    narrow = predictor.predict(box=[10, 10, 60, 60], return_logits=True)[0]
    assert not np.allclose(wide, narrow)
    with pytest.raises(ValueError, match="preset"):
        predictor.set_image(image, window="nonsense")


def test_holes_and_sprinkles(model):
    from EfficientMedSAM2Lib.predictors.mask_cleaning import clean_mask

    mask = np.zeros((40, 40), bool)
    mask[5:25, 5:25] = True
    mask[10, 10] = False  # a hole of one pixel
    mask[15:20, 15:20] = False  # a hole of 25
    mask[30:32, 30:32] = True  # a sprinkle of four
    filled = clean_mask(mask, 4, 0)
    assert filled[10, 10]
    assert not filled[17, 17]
    assert filled[30, 30]
    swept = clean_mask(mask, 0, 4)
    assert not swept[30, 30]
    assert not swept[10, 10]
    assert clean_mask(mask, 0, 10000).sum() == 400 - 26  # the largest part always stays
    predictor = EfficientMedSAM2ImagePredictor(model, max_hole_area=8, max_sprinkle_area=8)
    predictor.set_image(picture(50, 50))
    masks, _, _ = predictor.predict(box=[5, 5, 30, 30])
    logits, _, _ = predictor.predict(box=[5, 5, 30, 30], return_logits=True)
    assert ((logits > 0) == (masks > 0)).all()
