"""Memory: what is kept of a segmented slice, and how a new slice looks at it.

Memories of a volume are told apart by their signed distance in mm, not by a count of slices.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .config import MemoryBank, ModelConfig, Rectangle
from .layers import MLP, Attention, ConvNeXtBlock, LayerNorm2d, rotary_table


class MemoryEncoder(nn.Module):
    """Image embedding (B,embed_dim,h,w) and mask logits (B,1,4h,4w) to a memory map (B,memory_dim,h,w)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.embed_dim // 2
        self.mask_to_map = nn.Sequential(
            nn.Conv2d(1, 16, 2, stride=2), LayerNorm2d(16), nn.GELU(), nn.Conv2d(16, width, 2, stride=2)
        )
        self.image_to_map = nn.Conv2d(config.embed_dim, width, 1)
        self.fuse = nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width), nn.Conv2d(width, config.memory_dim, 1))

    def forward(self, embedding: Tensor, mask_logits: Tensor) -> Tensor:
        # SAM2's scale and shift: a clear inside is +10, a clear outside -10.
        mask = mask_logits.float().sigmoid() * 20 - 10
        return self.fuse(self.image_to_map(embedding) + self.mask_to_map(mask.to(embedding.dtype)))


class MemoryAttention(nn.Module):
    """One layer: the slice looks at itself, at its memories, and thinks. Rotary positions as in SAM2; object pointers
    are cut into tokens of memory_dim and carry no position."""

    rotation: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, heads, memory_dim = config.embed_dim, config.num_heads, config.memory_dim
        self.pointer_tokens = dim // memory_dim
        self.self_attention = Attention(dim, heads)
        self.cross_attention = Attention(dim, heads, key_dim=memory_dim)
        self.feed_forward = MLP(dim, config.feed_forward, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3))
        # Distance and role of a memory, as features, to an offset of its keys.
        self.place = MLP(6, memory_dim, memory_dim)
        self.register_buffer("rotation", rotary_table(config.embedding_size, dim // heads), persistent=False)
        self.gradient_checkpointing = False
        self.reset_to_identity()

    def reset_to_identity(self) -> None:
        """Make the layer pass its input on unchanged: where its training starts, so that memory can only help."""
        for last in (self.self_attention.out, self.cross_attention.out, self.feed_forward.layers[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def _place(self, bank: MemoryBank) -> Tensor:
        d, cond = bank.distance_mm.float(), bank.conditioning.float()
        features = [torch.tanh(d / 3), torch.tanh(d / 15), torch.exp(-d.abs() / 3), torch.exp(-d.abs() / 15), cond,
                    torch.log1p(d.abs()) / 5]  # fmt: skip
        return self.place(torch.stack(features, dim=-1).to(bank.maps.dtype))

    def _attend(self, embedding: Tensor, bank: MemoryBank) -> Tensor:
        x = embedding.flatten(2).transpose(1, 2)
        y = self.norms[0](x)
        x = x + self.self_attention(y, y, y, query_rotation=self.rotation, key_rotation=self.rotation)

        place = self._place(bank)
        maps = bank.maps.flatten(3).transpose(2, 3)
        _batch, memories, area, _ = maps.shape
        pointers = bank.pointers.unflatten(2, (self.pointer_tokens, -1)).to(maps.dtype)
        values = torch.cat([maps.flatten(1, 2), pointers.flatten(1, 2)], dim=1)
        keys = torch.cat(
            [(maps + place[:, :, None]).flatten(1, 2), (pointers + place[:, :, None]).flatten(1, 2)], dim=1
        )
        visible = None
        if bank.valid is not None:
            of_pointers = bank.valid.repeat_interleave(self.pointer_tokens, 1)
            visible = torch.cat([bank.valid.repeat_interleave(area, 1), of_pointers], dim=1)[:, None, None]
        x = x + self.cross_attention(
            self.norms[1](x), keys, values, visible,
            query_rotation=self.rotation, key_rotation=self.rotation.repeat(1, memories, 1),
        )  # fmt: skip
        x = x + self.feed_forward(self.norms[2](x))
        return x.transpose(1, 2).unflatten(2, embedding.shape[2:])

    def forward(self, embedding: Tensor, bank: MemoryBank) -> Tensor:
        """Embedding (B,embed_dim,h,w) of the new slice, informed by its memories; every object needs at least one."""
        if self.gradient_checkpointing and self.training:
            return checkpoint(self._attend, embedding, bank, use_reentrant=False)
        return self._attend(embedding, bank)


def resample_map(memory: Tensor, source: Rectangle, target: Rectangle) -> Tensor:
    """A memory map (C,h,h) of the field of view `source`, as seen in `target`; zeros where target leaves source."""
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
