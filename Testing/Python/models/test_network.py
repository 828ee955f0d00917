"""The network as a whole: budget, shapes, and that every prompt and memory it is given changes what it says."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from EfficientMedSAM2Lib.models import (
    EfficientMedSAM2,
    MemoryBank,
    ModelConfig,
    PromptBatch,
    build_torch_network,
    config,
    encoder_types,
    register_encoder,
)
from EfficientMedSAM2Lib.models.modules.image_encoder import standardise
from EfficientMedSAM2Lib.models.modules.layers import rotary_table


@pytest.fixture(scope="module")
def network() -> EfficientMedSAM2:
    torch.manual_seed(0)
    return EfficientMedSAM2(ModelConfig("mobilenet")).eval()


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))


def clicks(x: float, y: float, label: int) -> PromptBatch:
    batch = PromptBatch.empty(2)
    return dataclasses.replace(
        batch, points=torch.tensor([[[x, y]]] * 2), labels=torch.full((2, 1), label, dtype=torch.long)
    )


@pytest.mark.parametrize("encoder_type", encoder_types())
def test_parameter_budget(encoder_type: str) -> None:
    # A tenth of MedSAM2's 38.96 M.
    assert EfficientMedSAM2(ModelConfig(encoder_type)).parameter_count() <= 3_900_000


@pytest.mark.parametrize("encoder_type", ["efficientnet", "mobilenet"])
def test_shapes(encoder_type: str, image: torch.Tensor) -> None:
    model = EfficientMedSAM2(ModelConfig(encoder_type)).eval()
    with torch.inference_mode():
        features = model.encode_image(image)
        decoded = model.decode(model.without_memory(features), model.encode_prompts(clicks(100, 80, 1)))
        memory = model.encode_memory(features, decoded.logits[:, :1])
    assert features.embedding.shape == (2, 192, 16, 16)
    assert features.stride8.shape == (2, 96, 32, 32)
    assert features.stride4.shape == (2, 48, 64, 64)
    assert decoded.logits.shape == (2, 4, 64, 64)
    assert decoded.iou.shape == (2, 4)
    assert decoded.object_logit.shape == (2, 1)
    assert memory.shape == (2, 64, 16, 16)
    assert ((decoded.iou >= 0) & (decoded.iou <= 1)).all()


def decode(model: EfficientMedSAM2, image: torch.Tensor, prompts: PromptBatch) -> torch.Tensor:
    with torch.inference_mode():
        return model.decode(model.without_memory(model.encode_image(image)), model.encode_prompts(prompts)).logits


def test_every_kind_of_prompt_counts(network: EfficientMedSAM2, image: torch.Tensor) -> None:
    nothing = PromptBatch.empty(2)
    mask = torch.full((2, 1, 64, 64), -6.0)
    mask[:, :, 20:40, 20:40] = 6
    prompts = {
        "positive": clicks(100, 80, 1),
        "negative": clicks(100, 80, 0),
        "elsewhere": clicks(30, 200, 1),
        "box": dataclasses.replace(nothing, boxes=torch.tensor([[40.0, 50, 120, 160]] * 2)),
        "mask": dataclasses.replace(nothing, mask_logits=mask, has_mask=torch.ones(2, dtype=torch.bool)),
        "near": dataclasses.replace(nothing, neighbour_logits=mask, neighbour_mm=torch.tensor([1.0, 1.0])),
        "far": dataclasses.replace(nothing, neighbour_logits=mask, neighbour_mm=torch.tensor([20.0, 20.0])),
    }
    results = {"nothing": decode(network, image, nothing)}
    results.update({name: decode(network, image, prompt) for name, prompt in prompts.items()})
    names = list(results)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert not torch.allclose(results[a], results[b], atol=1e-3), f"{a} and {b} give the same masks"


def test_padding_and_absent_prompts_do_not_count(network: EfficientMedSAM2, image: torch.Tensor) -> None:
    padded = clicks(100, 80, 1)
    padded.points = torch.cat([padded.points, torch.full((2, 2, 2), 77.0)], dim=1)
    padded.labels = torch.cat([padded.labels, torch.full((2, 2), -1)], dim=1)
    other = dataclasses.replace(padded, points=padded.points.clone())
    other.points[:, 1:] = 9.0
    torch.testing.assert_close(decode(network, image, padded), decode(network, image, other))

    noise = torch.randn(2, 1, 64, 64)
    unused = dataclasses.replace(
        padded,
        mask_logits=noise,
        has_mask=torch.zeros(2, dtype=torch.bool),
        neighbour_logits=noise,
        neighbour_mm=torch.full((2,), math.nan),
    )
    torch.testing.assert_close(decode(network, image, unused), decode(network, image, padded))


def test_objects_of_a_batch_are_independent(network: EfficientMedSAM2, image: torch.Tensor) -> None:
    both = decode(network, image, clicks(100, 80, 1))
    swapped = decode(network, image.flip(0), clicks(100, 80, 1))
    torch.testing.assert_close(both, swapped.flip(0), atol=1e-4, rtol=1e-4)


def test_trunk_sees_brightness_and_the_contrast_of_the_view(image: torch.Tensor) -> None:
    seen, darker = standardise(image), standardise(0.5 * image + 0.1)
    torch.testing.assert_close(seen[:, 0], 4 * image.mean(dim=1) - 2)
    # The floor that protects nearly constant viewports counts for more where the contrast is low.
    torch.testing.assert_close(seen[:, 1:], darker[:, 1:], atol=0.15, rtol=0.1)
    assert (seen[:, 0] - darker[:, 0]).abs().mean() > 0.2
    assert seen.abs().max() <= 3


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_image_gives_finite_masks(network: EfficientMedSAM2, value: float) -> None:
    assert decode(network, torch.full((2, 3, 256, 256), value), clicks(100, 80, 1)).isfinite().all()


def test_memory_counts_and_masked_memory_does_not(network: EfficientMedSAM2, image: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    bank = MemoryBank(
        maps=torch.randn(2, 3, 64, 16, 16, generator=generator),
        pointers=torch.randn(2, 3, 192, generator=generator),
        distance_mm=torch.tensor([[1.0, -2.0, 5.0]] * 2),
        conditioning=torch.tensor([[1.0, 0.0, 0.0]] * 2),
        valid=torch.tensor([[True, True, False]] * 2),
    )
    hidden = bank._replace(maps=bank.maps.clone(), pointers=bank.pointers.clone())
    hidden.maps[:, 2] = 0
    hidden.pointers[:, 2] = 0
    with torch.inference_mode():
        features = network.encode_image(image)
        alone = network.without_memory(features).embedding
        torch.testing.assert_close(network.attend(features, bank).embedding, alone)  # untrained: memory is not believed
        torch.nn.init.normal_(network.memory_attention.cross_attention.out.weight, std=0.1)
        seen = network.attend(features, bank).embedding
        torch.testing.assert_close(seen, network.attend(features, hidden).embedding)
        farther = bank._replace(distance_mm=bank.distance_mm * 4)
        assert not torch.allclose(seen, network.attend(features, farther).embedding, atol=1e-4)
        assert not torch.allclose(seen, alone, atol=1e-2)


def test_the_nearest_memory_is_seen_place_by_place_and_others_as_means(network: EfficientMedSAM2) -> None:
    generator = torch.Generator().manual_seed(3)
    bank = MemoryBank(
        maps=torch.randn(1, 3, 64, 16, 16, generator=generator),
        pointers=torch.randn(1, 3, 192, generator=generator),
        distance_mm=torch.tensor([[1.0, 2.0, 3.0]]),
        conditioning=torch.zeros(1, 3),
    )
    # 4 x 4 places turned around one another: their mean stays.
    turned = bank.maps.unflatten(3, (4, 4)).flip(4).flatten(3, 4)
    attention = network.memory_attention
    torch.nn.init.normal_(attention.cross_attention.out.weight, std=0.1)
    x = torch.randn(1, 192, 16, 16, generator=generator)
    with torch.inference_mode():
        seen = attention(x, bank)
        for memory, counts in ((0, True), (1, False), (2, False)):
            maps = bank.maps.clone()
            maps[:, memory] = turned[:, memory]
            assert torch.allclose(seen, attention(x, bank._replace(maps=maps)), atol=1e-5) is not counts


def test_a_mean_of_places_weighs_as_much_as_they_do(network: EfficientMedSAM2) -> None:
    """Two memories of one value everywhere, whose keys have no direction: of equal weight, whichever is pooled."""
    attention = network.memory_attention
    maps = torch.stack([torch.ones(64, 16, 16), -torch.ones(64, 16, 16)])[None]
    tokens = attention._tokens(MemoryBank(maps, torch.zeros(1, 2, 192), torch.ones(1, 2), torch.zeros(1, 2)))
    shares = tokens.weight[0, 0, 0].softmax(dim=0)
    by_sign = [shares[tokens.values[0, :, 0] == value].sum() for value in (1, -1)]
    torch.testing.assert_close(by_sign[0], by_sign[1])
    assert tokens.rotation.shape[1] == 256 + 16
    torch.testing.assert_close(attention.pooled_rotation[:, 0], rotary_table(torch.tensor([1.5]), 48)[:, 0])


def test_the_last_convolution_is_folded_into_the_masks(network: EfficientMedSAM2) -> None:
    decoder = network.mask_decoder
    generator = torch.Generator().manual_seed(4)
    fine = torch.randn(2, 48, 24, 40, generator=generator)
    weights = torch.randn(2, 4, 48, generator=generator)
    with torch.inference_mode():
        wanted = torch.einsum("bmc,bchw->bmhw", weights, fine + decoder.refine4(fine))
        torch.testing.assert_close(decoder._refined(fine, weights), wanted, atol=1e-4, rtol=1e-4)


def test_gradient_checkpointing_gives_the_same_gradients(image: torch.Tensor) -> None:
    model = EfficientMedSAM2(ModelConfig("mobilenet")).train()
    # Batch statistics are updated once more by the second forward pass; gradients must not notice.
    gradients = []
    for enabled in (False, True):
        model.set_gradient_checkpointing(enabled)
        model.zero_grad()
        alone = model.without_memory(model.encode_image(image))
        model.decode(alone, model.encode_prompts(clicks(99, 80, 1))).logits.mean().backward()
        gradients.append(model.image_encoder.to_stride4.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_registry_is_open(image: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other tests meet the encoders that there are.
    monkeypatch.setattr(config, "_ENCODERS", dict(config._ENCODERS))
    register_encoder("small", "mobilenetv3_small_050")
    model = build_torch_network("small", checkpoint="random", device="cpu", use_half_precision=False)
    with torch.inference_mode():
        assert model.encode_image(image).embedding.shape == (2, 192, 16, 16)
    with pytest.raises(ValueError, match="registered already"):
        register_encoder("small", "mobilenetv3_small_050")
    with pytest.raises(ValueError, match="choose one of"):
        build_torch_network("vit_enormous", checkpoint="random")
