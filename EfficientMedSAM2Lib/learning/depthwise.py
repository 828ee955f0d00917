"""Depthwise convolutions that a CPU trains faster in float32 than in bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FloatDepthwise(nn.Conv2d):
    """A depthwise convolution in float32 and channels-last order, also where autocast computes in bfloat16.

    oneDNN's backward pass of depthwise convolutions is slow in bfloat16: on a CPU a step of stage slices took 1.28 s
    with it, and 1.12 s without (docs/experiments/08-longer-training).
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) of any float type to (B,C,h,w) of the same."""
        with torch.autocast(input.device.type, enabled=False):
            floats = input.float().contiguous(memory_format=torch.channels_last)
            return self._conv_forward(floats, self.weight, self.bias).to(input.dtype)


def compute_depthwise_in_float32(model: nn.Module) -> int:
    """Change a network's depthwise convolutions in place and return their number; parameters and their names stay."""
    found = [m for m in model.modules() if type(m) is nn.Conv2d and 1 < m.groups == m.in_channels]
    for part in found:
        part.__class__ = FloatDepthwise
    return len(found)
