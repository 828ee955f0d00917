"""Depthwise convolutions learn in float32 on a CPU, and what they compute stays the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from EfficientMedSAM2Lib.learning.depthwise import FloatDepthwise, compute_depthwise_in_float32


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False),
        nn.Conv2d(8, 4, 1, groups=2),
    )


def test_only_depthwise_convolutions_change_and_no_name_does(network: nn.Sequential) -> None:
    names = list(network.state_dict())
    assert compute_depthwise_in_float32(network) == 1
    assert [type(part) for part in network] == [nn.Conv2d, FloatDepthwise, nn.Conv2d]
    assert list(network.state_dict()) == names


def test_results_and_gradients_are_those_of_before(network: nn.Sequential) -> None:
    changed = copy.deepcopy(network)
    compute_depthwise_in_float32(changed)
    image = torch.randn(2, 3, 16, 16)
    for one in (network, changed):
        one(image).square().sum().backward()
    torch.testing.assert_close(changed(image), network(image))
    for mine, theirs in zip(changed.parameters(), network.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_in_bfloat16_the_sum_is_made_in_float32_and_handed_on_in_bfloat16(network: nn.Sequential) -> None:
    depthwise = network[1]
    compute_depthwise_in_float32(network)
    features = torch.randn(1, 8, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = depthwise(features)
    assert found.dtype is torch.bfloat16
    precise = nn.functional.conv2d(features.float(), depthwise.weight, stride=2, padding=2, groups=8)
    assert torch.equal(found, precise.bfloat16())
