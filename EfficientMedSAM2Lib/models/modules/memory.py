"""Memory: what is kept of a segmented slice, and how a new slice attends to it.

Memories of a volume differ by their signed distance in mm, not by a count of slices.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from EfficientMedSAM2Lib.models.bundles import MemoryBank, Rectangle
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.models.modules.layers import MLP, Attention, ConvNeXtBlock, LayerNorm2d, rotary_table

POOLED = 4
"""Side of the squares of places over which memories other than the nearest are averaged."""


class MemoryEncoder(nn.Module):
    """Image embedding (B,embed_dim,h,w) and mask logits (B,1,low_res_size,...) to a memory map (B,memory_dim,h,w)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.embed_dim // 2
        self.mask_to_map = nn.Sequential(
            nn.Conv2d(1, 16, 2, stride=2), LayerNorm2d(16), nn.GELU(), nn.Conv2d(16, width, 2, stride=2)
        )
        self.coarser = nn.AvgPool2d(2) if config.is_fine else nn.Identity()
        self.image_to_map = nn.Conv2d(config.embed_dim, width, 1)
        self.fuse = nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width), nn.Conv2d(width, config.memory_dim, 1))

    def forward(self, embedding: Tensor, mask_logits: Tensor) -> Tensor:
        # SAM2's scale and shift: a clear inside is +10, a clear outside -10.
        mask = self.coarser(mask_logits.float().sigmoid()) * 20 - 10
        return self.fuse(self.image_to_map(embedding) + self.mask_to_map(mask.to(embedding.dtype)))


class _MemoryTokens(NamedTuple):
    """What a slice attends to: T tokens.

    Attributes:
        keys: (B,T,memory_dim).
        values: (B,T,memory_dim).
        weight: (B,1,1,T) logarithm of how much a token counts, -inf where it does not.
        rotation: (2,N,C) rotary table of the first N tokens, those of maps.
    """

    keys: Tensor
    values: Tensor
    weight: Tensor
    rotation: Tensor


class MemoryAttention(nn.Module):
    """One layer: the slice attends to its memories. Rotary positions as in SAM2; object pointers are cut into tokens of
    memory_dim and carry no position. A slice of SAM2 attends to itself before, and has a feed-forward part behind;
    neither paid here (docs/experiments/first-weights/12-parts.md).

    The first memory of a bank, the nearest, is seen place by place; of the others means over 4 x 4 places, so that
    seven memories are 373 tokens instead of 1813.
    """

    rotation: Tensor
    pooled_rotation: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, heads, memory_dim = config.embed_dim, config.num_heads, config.memory_dim
        self.pointer_tokens = dim // memory_dim
        self.cross_attention = Attention(dim, heads, key_dim=memory_dim)
        self.norm = nn.LayerNorm(dim)
        # Distance and role of a memory, as features, to an offset of its keys.
        self.place = MLP(6, memory_dim, memory_dim)
        places = torch.arange(config.embedding_size, dtype=torch.float32)
        self.register_buffer("rotation", rotary_table(places, dim // heads), persistent=False)
        self.register_buffer(
            "pooled_rotation",
            rotary_table(places.unflatten(0, (-1, POOLED)).mean(dim=1), dim // heads),
            persistent=False,
        )
        self.gradient_checkpointing = False
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        """Make the layer pass its input on unchanged: where its training starts, so that memory can only help."""
        nn.init.zeros_(self.cross_attention.out.weight)
        nn.init.zeros_(self.cross_attention.out.bias)

    def _place(self, bank: MemoryBank) -> Tensor:
        d, cond = bank.distance_mm.float(), bank.conditioning.float()
        features = [
            torch.tanh(d / 3),
            torch.tanh(d / 15),
            torch.exp(-d.abs() / 3),
            torch.exp(-d.abs() / 15),
            cond,
            torch.log1p(d.abs()) / 5,
        ]
        return self.place(torch.stack(features, dim=-1).to(bank.maps.dtype))

    def _attend(self, embedding: Tensor, bank: MemoryBank) -> Tensor:
        x, tokens = embedding.flatten(2).transpose(1, 2), self._tokens(bank)
        x = x + self.cross_attention(
            self.norm(x),
            tokens.keys,
            tokens.values,
            tokens.weight,
            query_rotation=self.rotation,
            key_rotation=tokens.rotation,
        )
        return x.transpose(1, 2).unflatten(2, embedding.shape[2:])

    def _tokens(self, bank: MemoryBank) -> _MemoryTokens:
        """The first memory place by place, of the others means over POOLED x POOLED places, then all pointers."""
        place = self._place(bank)
        batch, memories = bank.maps.shape[:2]
        side = bank.maps.shape[3] // POOLED
        area, others = side * side, memories - 1
        # Sizes are given in full, since "the rest" of nothing has no size where there is one memory only.
        near = bank.maps[:, :1].flatten(3).transpose(2, 3)
        pooled = bank.maps[:, 1:].unflatten(3, (side, POOLED)).unflatten(5, (side, POOLED)).mean(dim=(4, 6))
        far = pooled.reshape(batch, others, pooled.shape[2], area).transpose(2, 3)
        pointers = bank.pointers.unflatten(2, (self.pointer_tokens, -1)).to(near.dtype)

        def row(near: Tensor, far: Tensor, pointers: Tensor) -> Tensor:
            far = far.reshape(batch, others * area, far.shape[-1])
            return torch.cat([near.flatten(1, 2), far, pointers.flatten(1, 2)], dim=1)

        placed = row(near + place[:, :1, None], far + place[:, 1:, None], pointers + place[:, :, None])
        # A mean weighs as much in the softmax as the tokens that it stands for.
        # (zeros_like() would be a constant of an exported graph.)
        nothing = [0 * tokens[..., :1] for tokens in (near, far, pointers)]
        weight = row(nothing[0], nothing[1] + math.log(POOLED * POOLED), nothing[2])[:, None, None, :, 0]
        if bank.valid is not None:
            counts = bank.valid[:, :, None, None]
            valid = row(
                counts[:, :1].expand(-1, -1, near.shape[2], -1),
                counts[:, 1:].expand(-1, -1, area, -1),
                counts.expand(-1, -1, self.pointer_tokens, -1),
            )[:, None, None, :, 0]
            weight = weight.masked_fill(~valid, -math.inf)
        rotation = torch.cat([self.rotation, self.pooled_rotation.repeat(1, others, 1)], dim=1)
        return _MemoryTokens(placed, row(near, far, pointers), weight, rotation)

    def forward(self, embedding: Tensor, bank: MemoryBank) -> Tensor:
        """Embedding (B,embed_dim,h,w) of the new slice, informed by its memories; every object needs at least one."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(self._attend, embedding, bank, use_reentrant=False)
        return self._attend(embedding, bank)


def resample_map(memory: Tensor, source: Rectangle, target: Rectangle) -> Tensor:
    """A memory map (C,h,h) of the viewport `source`, as seen in `target`; zeros where target leaves source."""
    if source == target:
        return memory
    sx, sy, source_width, source_height = source
    tx, ty, target_width, target_height = target
    shift_x = (2 * tx + target_width - 2 * sx - source_width) / source_width
    shift_y = (2 * ty + target_height - 2 * sy - source_height) / source_height
    theta = torch.tensor(
        [[[target_width / source_width, 0, shift_x], [0, target_height / source_height, shift_y]]],
        device=memory.device,
    )
    grid = F.affine_grid(theta, [1, *memory.shape], align_corners=False)
    return F.grid_sample(memory[None].float(), grid, align_corners=False)[0].to(memory.dtype)
