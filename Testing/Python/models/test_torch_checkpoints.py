"""Weights as PyTorch users keep them: state dicts that `torch.save` wrote, bare or in the usual wrappings."""

from __future__ import annotations

import pytest
import torch

from EfficientMedSAM2Lib.models import (
    EfficientMedSAM2,
    ModelConfig,
    PromptBatch,
    build_torch_network,
    load_model,
    save_model,
)


@pytest.fixture(scope="module")
def model():
    """With statistics other than 0 and 1, or folding them would have nothing to get wrong."""
    torch.manual_seed(0)
    network = EfficientMedSAM2(ModelConfig("mobilenet")).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.6, 1.5)
    return network


def forward(network):
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(3))
    prompts = PromptBatch.empty(1)
    prompts.boxes = torch.tensor([[60.0, 60, 180, 190]])
    with torch.inference_mode():
        return network.decode(
            network.without_memory(network.encode_image(image)), network.encode_prompts(prompts)
        ).logits


WRAPPINGS = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state},
    "of a training": lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "half": lambda state: {name: value.half() for name, value in state.items()},
    "DistributedDataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "Lightning": lambda state: {"state_dict": {f"model._orig_mod.{name}": value for name, value in state.items()}},
    "Lightning with a teacher": lambda state: {
        "state_dict": {
            **{f"abc.{name}": torch.zeros_like(value) for name, value in state.items()},
            **{f"model.{name}": value for name, value in state.items()},
        }
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_state_dict_is_read(model, tmp_path, wrapping):
    path = tmp_path / "efficient_medsam2_model.pth"
    torch.save(WRAPPINGS[wrapping](model.state_dict()), path)
    built = build_torch_network("mobilenet", checkpoint=str(path), device="cuda", use_half_precision=False)
    torch.testing.assert_close(forward(built), forward(model), atol=2e-2, rtol=2e-2)


@pytest.mark.slow
def test_the_encoder_is_read_from_the_tensors(model, tmp_path):
    from EfficientMedSAM2Lib.pipeline.engine import build_model
    from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

    path = tmp_path / "weights.pth"
    torch.save({"model": model.state_dict()}, path)
    assert encoder_of(path) == "mobilenet"
    assert build_model(weights=path, runtime="torch").config.encoder_type == "mobilenet"
    with pytest.raises(ValueError, match="holds weights for the encoder 'mobilenet'"):
        build_torch_network("efficientnet", checkpoint=path)
    torch.save(EfficientMedSAM2(ModelConfig("efficientnet")).state_dict(), path)
    assert encoder_of(path) == "efficientnet"


@pytest.mark.slow
def test_what_the_builder_gave_can_be_saved_and_built_again(model, tmp_path):
    """Its batch normalisation is folded away, which training misses but nobody else."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.pth"
    save_model(model, first)
    built = build_torch_network("mobilenet", checkpoint=first, device="cpu", use_half_precision=False)
    torch.save(built.state_dict(), second)
    again = build_torch_network("mobilenet", checkpoint=second, device="cpu", use_half_precision=False)
    assert torch.equal(forward(again), forward(built))
    with pytest.raises(ValueError, match="without the batch normalisation that training needs"):
        load_model(second)
    torch.save(model.state_dict(), second)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in load_model(second).modules())


@pytest.mark.slow
def test_unusable_files_are_refused(model, tmp_path):
    path = tmp_path / "weights.pth"
    cases = [
        (model, "could run code when loaded"),  # a pickled module
        ({"model": {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(2)}}, "no weights of this program"),
        ([1, 2], "no weights of this program"),
        ({"no_memory": torch.zeros(1, 192, 1, 1)}, "none of the encoders"),
        ({name: value for name, value in model.state_dict().items() if "iou_head" not in name}, "does not fit"),
        ({**model.state_dict(), "no_memory": torch.zeros(1, 7, 1, 1)}, "does not fit"),
    ]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            build_torch_network("mobilenet", checkpoint=path)
    for content in (b"", b"text", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights\.pth"):
            build_torch_network("mobilenet", checkpoint=path)


def test_our_checkpoint_can_be_a_teacher(model, tmp_path):
    from EfficientMedSAM2Lib.learning.teachers.choose import is_efficient_medsam2, load_teacher

    path = tmp_path / "teacher.pth"
    torch.save(model.state_dict(), path)
    assert is_efficient_medsam2(path)
    assert load_teacher(path).name == "efficient-medsam2"
    torch.save({"model": {"image_encoder.neck": torch.zeros(1)}}, path)
    assert not is_efficient_medsam2(path)
