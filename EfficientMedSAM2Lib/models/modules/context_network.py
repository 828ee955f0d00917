"""A small 3D network that says how far an object goes: a cube around it, with its mask on some slices, to its mask.

It is given what the object looks like (`core.appearance`), for it has no name for most anatomy. A residual U-Net
(Çiçek et al. 2016, arXiv 1606.06650) whose first convolution halves the cube.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from EfficientMedSAM2Lib.models.config import ContextConfig

_GROUPS = 8


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions with group normalisation, and a residual.

    Args:
        inputs: Channels of the input (B,inputs,D,H,W).
        outputs: Channels of the output, a multiple of eight.
        stride: Of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.GroupNorm(_GROUPS, outputs)
        self.second = nn.Conv3d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.GroupNorm(_GROUPS, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv3d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class ContextNetwork(nn.Module):
    """Cubes in, mask logits out; see `core.context_cube.network_input`.

    Args:
        config: Sizes.
    """

    def __init__(self, config: ContextConfig | None = None) -> None:
        super().__init__()
        self.config = config or ContextConfig()
        widths, channels = self.config.widths, self.config.channels
        self.stem = nn.Conv3d(channels, widths[0], 5, 2, 2)
        self.down = nn.ModuleList([ResidualBlock(widths[0], widths[0])])
        self.down.extend(ResidualBlock(a, b, 2) for a, b in zip(widths[:-1], widths[1:]))
        self.narrow = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in zip(widths[:-1], widths[1:]))
        self.up = nn.ModuleList(ResidualBlock(width, width) for width in widths[:-1])
        fine = self.config.fine_width
        self.enlarge = nn.ConvTranspose3d(widths[0], fine, 2, 2)
        self.detail = nn.Conv3d(channels, fine, 3, 1, 1)
        self.head_norm = nn.GroupNorm(_GROUPS, fine)
        self.head = nn.Conv3d(fine, 1, 3, 1, 1)
        self.gradient_checkpointing = False

    def forward(self, cubes: Tensor) -> Tensor:
        """Cubes (B,channels,N,N,N) to logits (B,N,N,N), N = config.size."""
        levels = []
        x = F.relu(self.stem(cubes))
        for block in self.down:
            x = self._run(block, x)
            levels.append(x)
        for narrow, block, skip in zip(reversed(self.narrow), reversed(self.up), reversed(levels[:-1])):
            larger = F.interpolate(narrow(x), size=skip.shape[2:], mode="trilinear", align_corners=False)
            x = self._run(block, skip + larger)
        fine = F.relu(self.head_norm(self.enlarge(x) + self.detail(cubes)))
        return self.head(fine)[:, 0]

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)
        return block(x)
