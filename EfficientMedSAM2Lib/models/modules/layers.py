"""Building blocks shared by the encoder, the decoder and the memory.

timm.layers has LayerNorm2d, Mlp and a ConvNeXt block, too: with another epsilon, other names of weights, and no MLP of
three layers, so that weights trained with these would not load.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (B,C,H,W)."""

    def forward(self, x: Tensor) -> Tensor:
        # With channels_last memory both permutes are views.
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers with GELU between them.

    Args:
        widths: Sizes from input to output, at least two.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.gelu(layer(x))
        return self.layers[-1](x)


class ConvNeXtBlock(nn.Module):
    """Depth-wise 7x7 convolution and a two-layer perceptron, with a residual (Liu et al. 2022, arXiv 2201.03545).

    Args:
        dim: Channels of input and output (B,dim,H,W).
        expansion: Hidden width of the perceptron over dim.
        kernel_size: Side of the depth-wise kernel.
    """

    def __init__(self, dim: int, expansion: int = 2, kernel_size: int = 7) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim, dim * expansion, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.mlp(y) * self.scale).permute(0, 3, 1, 2)


class SeparableConv(nn.Module):
    """A convolution of each channel alone, then of all channels at each place (Howard et al. 2017, arXiv 1704.04861).

    Args:
        dim: Channels of input and output (B,dim,H,W).
        kernel_size: Side of the depth-wise kernel.
    """

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.pointwise = nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Attention(nn.Module):
    """Multi-head attention with separate query, key and value inputs (B,N,dim), in PyTorch's fused kernel.

    Args:
        dim: Width of queries and of the output.
        num_heads: Number of heads; must divide the inner width.
        key_dim: Width of keys and values, by default dim.
        inner_dim: Width of all heads together, by default dim.
    """

    def __init__(self, dim: int, num_heads: int, key_dim: int | None = None, inner_dim: int | None = None) -> None:
        super().__init__()
        inner_dim = inner_dim or dim
        key_dim = key_dim or dim
        self.num_heads = num_heads
        self.query = nn.Linear(dim, inner_dim)
        self.key = nn.Linear(key_dim, inner_dim)
        self.value = nn.Linear(key_dim, inner_dim)
        self.out = nn.Linear(inner_dim, dim)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        query_rotation: Tensor | None = None,
        key_rotation: Tensor | None = None,
    ) -> Tensor:
        """Attend.

        Args:
            query: (B,N,dim).
            key: (B,M,key_dim).
            value: (B,M,key_dim).
            mask: (B,1,1,M) bool, True where a key may be attended to, or what is added to its logits; None: nothing.
            query_rotation: Rotary table of `rotary_table` for the N queries.
            key_rotation: Rotary table for the first keys; keys beyond it are left as they are.

        Returns:
            (B,N,dim).
        """
        q, k, v = self._heads(self.query(query)), self._heads(self.key(key)), self._heads(self.value(value))
        if query_rotation is not None:
            q = rotate(q, query_rotation)
        if key_rotation is not None:
            count = key_rotation.shape[1]
            k = torch.cat([rotate(k[:, :, :count], key_rotation), k[:, :, count:]], dim=2)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(x.transpose(1, 2).flatten(2))


def rotary_table(places: Tensor, head_dim: int, theta: float = 100.0) -> Tensor:
    """Cosines and sines of two-dimensional rotary position encoding for a square grid of tokens.

    Half of the channel pairs turn with x, the other half with y (Heo et al. 2024, arXiv 2403.13298, as in SAM2).

    Args:
        places: (side,) where the rows, and columns, of the grid are.
        head_dim: Width of a head.
        theta: Ratio of the longest to the shortest period.

    Returns:
        (2, side*side, head_dim / 2): cosines, sines.
    """
    pairs = head_dim // 4
    frequency = theta ** (-torch.arange(pairs, dtype=torch.float32) / pairs)
    y, x = torch.meshgrid(places, places, indexing="ij")
    angle = torch.cat([x.flatten()[:, None] * frequency, y.flatten()[:, None] * frequency], dim=1)
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Apply a rotary table (2,N,C/2) to (B,heads,N,C), in the input's own precision."""
    cos, sin = table.to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
