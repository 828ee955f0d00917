"""Weights files: small, self-describing, refused with one clear sentence when they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from EfficientMedSAM2Lib.models import (
    EfficientMedSAM2,
    ModelConfig,
    PromptBatch,
    build_torch_network,
    load_model,
    save_model,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[EfficientMedSAM2, Path]:
    torch.manual_seed(0)
    model = EfficientMedSAM2(ModelConfig("mobilenet")).eval()
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(model, path, {"steps": "0"})
    return model, path


def forward(model: EfficientMedSAM2) -> torch.Tensor:
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    prompts = PromptBatch.empty(1)
    prompts.boxes = torch.tensor([[60.0, 60, 180, 190]])
    with torch.inference_mode():
        return model.decode(model.without_memory(model.encode_image(image)), model.encode_prompts(prompts)).logits


def test_round_trip_is_half_precision_and_below_ten_megabytes(saved: tuple[EfficientMedSAM2, Path]) -> None:
    model, path = saved
    assert path.stat().st_size <= 10e6
    with safe_open(str(path), framework="pt") as file:
        assert file.metadata()["licence"] == "Apache-2.0"
        assert file.metadata()["steps"] == "0"
        assert ModelConfig.from_json(file.metadata()["config"]) == model.config
        assert all(file.get_tensor(name).dtype == torch.float16 for name in file.keys())  # noqa: SIM118
    torch.testing.assert_close(forward(load_model(path).eval()), forward(model), atol=2e-2, rtol=2e-2)
    assert list(path.parent.iterdir()) == [path], "a temporary file was left"


def test_fused_network_gives_the_same_masks(saved: tuple[EfficientMedSAM2, Path]) -> None:
    _model, path = saved
    # Statistics other than 0 and 1, or fusing would have nothing to get wrong.
    trained = load_model(path)
    for module in trained.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.6, 1.5)
    trained.eval()
    expected = forward(trained)
    trained.image_encoder.fuse()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in trained.modules())
    torch.testing.assert_close(forward(trained), expected, atol=1e-3, rtol=1e-3)


def test_builder_loads_a_file_and_refuses_the_wrong_encoder(saved: tuple[EfficientMedSAM2, Path]) -> None:
    model, path = saved
    built = build_torch_network("mobilenet", checkpoint=path, device="cpu", use_half_precision=False)
    assert built.compute_dtype == torch.float32
    torch.testing.assert_close(forward(built), forward(model), atol=2e-2, rtol=2e-2)
    with pytest.raises(ValueError, match="not 'efficientnet'"):
        build_torch_network("efficientnet", checkpoint=path)


def test_script_for_a_gpu_runs_without_one(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = build_torch_network("mobilenet", checkpoint="random", device="cuda")
    assert model.device.type == "cpu"
    assert "no cuda device" in caplog.text


def test_positions_keep_full_precision_in_a_half_precision_network(saved: tuple[EfficientMedSAM2, Path]) -> None:
    model = load_model(saved[1]).eval()
    model.image_encoder.fuse()
    model.set_compute_dtype(torch.bfloat16)
    assert {buffer.dtype for buffer in model.buffers()} == {torch.float32}
    trunk = {id(parameter) for parameter in model.image_encoder.trunk.parameters()}
    for parameter in model.parameters():
        assert parameter.dtype == (torch.float32 if id(parameter) in trunk else torch.bfloat16)
    assert forward(model).dtype == torch.float32


def test_unusable_files_are_refused(saved: tuple[EfficientMedSAM2, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        load_model(tmp_path / "nowhere.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("not weights")
    with pytest.raises(ValueError, match="not a readable"):
        load_model(text)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, str(foreign))
    with pytest.raises(ValueError, match="not a weights file of this program"):
        load_model(foreign)
    partial = tmp_path / "partial.safetensors"
    save_file({"no_memory": torch.zeros(1, 192, 1, 1)}, str(partial), metadata={"config": ModelConfig().to_json()})
    with pytest.raises(ValueError, match="does not fit"):
        load_model(partial)
    with pytest.raises(ValueError, match="configuration"):
        ModelConfig.from_json('{"layers": 12}')
    with pytest.raises(ValueError, match="device"):
        build_torch_network(checkpoint="random", device="abacus")
