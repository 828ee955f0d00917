"""The 3D context network: small, beside the 2D network in one file, absent where weights have none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from EfficientMedSAM2Lib.core.context_cube import CUBE_CHANNELS
from EfficientMedSAM2Lib.models import (
    EfficientMedSAM2,
    ModelConfig,
    build_torch_network,
    load_model,
    save_model,
)
from EfficientMedSAM2Lib.models.config import ContextConfig
from EfficientMedSAM2Lib.models.modules.context_network import ContextNetwork

SMALL = ContextConfig(size=16, widths=(8, 8, 16, 16), fine_width=8)


def cubes(size: int = 16, count: int = 1) -> torch.Tensor:
    return torch.randn(count, CUBE_CHANNELS, size, size, size, generator=torch.Generator().manual_seed(1))


def test_budget(tmp_path: Path) -> None:
    model = EfficientMedSAM2(ModelConfig(context=ContextConfig()))
    assert model.context is not None
    assert sum(p.numel() for p in model.context.parameters()) <= 1.25e6
    assert model.parameter_count() <= 3.9e6
    save_model(model, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size <= 10e6
    assert ContextConfig().channels == CUBE_CHANNELS


def test_one_file_holds_both_networks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = EfficientMedSAM2(ModelConfig("mobilenet", context=SMALL)).eval()
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    again = load_model(path).eval()
    assert again.config == model.config
    with torch.inference_mode():
        expected = model.context_logits(cubes())
        assert expected.shape == (1, 16, 16, 16)
        torch.testing.assert_close(again.context_logits(cubes()), expected, atol=2e-2, rtol=2e-2)
        built = build_torch_network("mobilenet", path, device="cpu", precision="bf16")
        torch.testing.assert_close(built.context_logits(cubes()).float(), expected, atol=0.1, rtol=0.1)


def test_weights_without_it_have_none(tmp_path: Path) -> None:
    model = EfficientMedSAM2(ModelConfig("mobilenet"))
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.config.context is None
    with pytest.raises(ValueError, match="no context network"):
        again.context_logits(cubes())
    # What an earlier version wrote does not name it.
    text = dataclasses.replace(model.config).to_json().replace('"context": null, ', "")
    assert "context" not in text
    assert ModelConfig.from_json(text) == model.config


@pytest.mark.parametrize("size", [16, 24])
def test_checkpointing_changes_no_gradient(size: int) -> None:
    torch.manual_seed(0)
    network = ContextNetwork(SMALL)
    gradients = []
    for enabled in (False, True):
        network.gradient_checkpointing = enabled
        network.zero_grad()
        network(cubes(size, 2)).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    assert all(g.abs().sum() > 0 for g in gradients[0])
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b)


def test_a_state_dict_of_torch_has_it_too(tmp_path: Path) -> None:
    model = EfficientMedSAM2(ModelConfig("mobilenet", context=ContextConfig()))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    again = load_model(tmp_path / "model.pth")
    assert again.config == model.config
    assert again.context is not None
    assert torch.equal(again.context.stem.weight, model.context.stem.weight)
