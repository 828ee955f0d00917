"""Gradient checkpointing saves memory and changes nothing else."""

from __future__ import annotations

import copy

import torch

from EfficientMedSAM2Lib.models import EfficientMedSAM2, MemoryBank, ModelConfig, PromptBatch


def test_masks_gradients_and_statistics_are_the_same() -> None:
    torch.manual_seed(0)
    plain = EfficientMedSAM2(ModelConfig("mobilenet")).train()
    with torch.no_grad():  # a memory attention that starts as identity would have no gradients to compare
        plain.memory_attention.cross_attention.out.weight.normal_(std=0.05)
    saving = copy.deepcopy(plain)
    saving.set_gradient_checkpointing()
    images = torch.rand(2, 3, 256, 256)
    prompts = PromptBatch.empty(2)
    prompts.boxes = torch.tensor([[60.0, 70, 190, 200]]).expand(2, -1)
    kept: list[int] = []
    logits = []
    for model in (plain, saving):
        held = 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features = model.encode_image(images)
            first = model.decode(model.without_memory(features), model.encode_prompts(prompts))
            bank = MemoryBank(
                model.encode_memory(features, first.logits[:, :1])[:, None],
                model.object_pointer(first, torch.zeros(2, dtype=torch.long))[:, None],
                torch.full((2, 1), 3.0),
                torch.ones(2, 1),
                torch.ones(2, 1, dtype=torch.bool),
            )
            second = model.decode(model.attend(features, bank), model.encode_prompts(PromptBatch.empty(2)))
        second.logits.square().mean().backward()
        logits.append(second.logits.detach())
        kept.append(held)
    assert kept[1] < 0.7 * kept[0]
    torch.testing.assert_close(logits[1], logits[0])
    gradients = dict(plain.named_parameters())
    for name, parameter in saving.named_parameters():
        if gradients[name].grad is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, gradients[name].grad, msg=name)
    statistics = dict(plain.named_buffers())
    for name, buffer in saving.named_buffers():
        torch.testing.assert_close(buffer, statistics[name], msg=name)
