"""Mask decoder: tokens and image attend to each other, then masks, their quality and the object's presence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from EfficientMedSAM2Lib.models.bundles import DecodedMasks, EncodedPrompts, ImageFeatures
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.models.modules.layers import MLP, Attention, ConvNeXtBlock, LayerNorm2d, SeparableConv


class TwoWayBlock(nn.Module):
    """Token self-attention, tokens to image, feed-forward, image to tokens (Kirillov et al. 2023), then one ConvNeXt
    block on the image, since at 16 x 16 a convolution is how the prompt's news spreads cheaply."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, heads = config.embed_dim, config.num_heads
        self.self_attention = Attention(dim, heads)
        self.tokens_to_image = Attention(dim, heads, inner_dim=dim // 2)
        self.feed_forward = MLP(dim, config.feed_forward, dim)
        self.image_to_tokens = Attention(dim, heads, inner_dim=dim // 2)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))
        self.context = ConvNeXtBlock(dim, expansion=1)

    def forward(self, tokens: Tensor, image: Tensor, token_position: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        q = tokens + token_position
        tokens = self.norms[0](tokens + self.self_attention(q, q, tokens))
        keys = image.flatten(2).transpose(1, 2)
        located = keys + position
        tokens = self.norms[1](tokens + self.tokens_to_image(tokens + token_position, located, keys))
        tokens = self.norms[2](tokens + self.feed_forward(tokens))
        keys = self.norms[3](keys + self.image_to_tokens(located, tokens + token_position, tokens))
        return tokens, self.context(keys.transpose(1, 2).unflatten(2, image.shape[2:]))


class FineMasks(nn.Module):
    """Logits at stride 4 to logits at stride 2: enlarged, and corrected by what fine features and dense maps show.

    Contours of 64 x 64 logits miss what is smaller than four network pixels. The correction starts at nothing, so that
    weights of a network with masks of stride 4 go on where they are.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, dim4, fine = config.embed_dim, config.skip_dims[1], config.fine_dim
        self.up2 = nn.ConvTranspose2d(dim4, fine, 2, stride=2)
        self.norm2 = LayerNorm2d(fine)
        self.refine2 = nn.Sequential(SeparableConv(fine, 5), nn.ReLU(), SeparableConv(fine, 3))
        self.head = MLP(dim, dim // 2, fine)
        for parameter in self.head.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, fine: Tensor, logits: Tensor, mask_tokens: Tensor, features: ImageFeatures, prompts: EncodedPrompts
    ) -> Tensor:
        """Refine.

        Args:
            fine: (B,dim4,S/4,S/4) decoder features.
            logits: (B,M,S/4,S/4).
            mask_tokens: (B,M,dim).
            features: Of the slices.
            prompts: Of the objects.

        Returns:
            (B,M,S/2,S/2).
        """
        x = F.relu(self.norm2(self.up2(fine) + features.stride2 + prompts.dense2))
        x = x + self.refine2(x)
        correction = (self.head(mask_tokens) @ x.flatten(2)).unflatten(2, x.shape[2:])
        return F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False) + correction


class MaskDecoder(nn.Module):
    """`ImageFeatures` and `EncodedPrompts` to `DecodedMasks`, after SAM2 (Ravi et al. 2024, arXiv 2408.00714)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim, (dim8, dim4) = config.embed_dim, config.skip_dims
        self.num_masks = 1 + config.num_multimask
        self.special_tokens = nn.Embedding(2 + self.num_masks, dim)
        self.blocks = nn.ModuleList(TwoWayBlock(config) for _ in range(config.decoder_depth))
        self.final_attention = Attention(dim, config.num_heads, inner_dim=dim // 2)
        self.final_norm = nn.LayerNorm(dim)
        self.up8 = nn.ConvTranspose2d(dim, dim8, 2, stride=2)
        self.norm8 = LayerNorm2d(dim8)
        self.refine8 = SeparableConv(dim8, 7)
        self.up4 = nn.ConvTranspose2d(dim8, dim4, 2, stride=2)
        self.norm4 = LayerNorm2d(dim4)
        self.refine4 = nn.Sequential(SeparableConv(dim4, 3), nn.ReLU(), nn.Conv2d(dim4, dim4, 3, padding=1))
        self.fine = FineMasks(config) if config.is_fine else None
        self.mask_heads = nn.ModuleList(MLP(dim, dim, dim4 + 1) for _ in range(self.num_masks))
        self.iou_head = MLP(dim, dim, self.num_masks)
        self.object_head = MLP(dim, dim // 2, 1)
        self.pointer_head = MLP(dim, dim, dim)

    def forward(self, features: ImageFeatures, prompts: EncodedPrompts, position: Tensor) -> DecodedMasks:
        """Decode.

        Args:
            features: Of B slices.
            prompts: Of B objects.
            position: (1,embed_dim,S/16,S/16) positional encoding of the image grid.
        """
        batch = prompts.tokens.shape[0]  # len() would be a constant of an exported graph
        special = self.special_tokens.weight.expand(batch, -1, -1)
        token_position = torch.cat([special, prompts.tokens.to(special.dtype)], dim=1)
        tokens = token_position
        image = features.embedding + prompts.dense16
        position = position.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens, image = block(tokens, image, token_position, position)
        keys = image.flatten(2).transpose(1, 2)
        tokens = self.final_norm(tokens + self.final_attention(tokens + token_position, keys + position, keys))

        fine = F.gelu(self.norm8(self.up8(image) + features.stride8 + prompts.dense8))
        fine = fine + self.refine8(fine)
        fine = F.relu(self.norm4(self.up4(fine) + features.stride4 + prompts.dense4))

        mask_tokens = tokens[:, 2 : 2 + self.num_masks]
        weights = torch.stack([head(mask_tokens[:, i]) for i, head in enumerate(self.mask_heads)], dim=1)
        logits = self._refined(fine, weights[..., :-1]) + weights[..., -1:, None]
        if self.fine is not None:
            logits = self.fine(fine, logits, mask_tokens, features, prompts)
        return DecodedMasks(
            logits.float() + prompts.prior,
            self.iou_head(tokens[:, 1]).float().sigmoid(),
            self.object_head(tokens[:, 0]).float(),
            self.pointer_head(mask_tokens),
        )

    def _refined(self, fine: Tensor, weights: Tensor) -> Tensor:
        """Logits `weights @ (fine + refine4(fine))` of M masks, for weights (B,M,dim4) and fine (B,dim4,H,W).

        The masks see the last convolution through their weights alone. Multiplied with its kernels first, these are a
        convolution to M channels instead of dim4, a twelfth of the work.
        """
        first, activation, last = self.refine4
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        hidden = activation(first(fine)).flatten(2)
        height, width = fine.shape[2:]
        # (B,M,dim4) @ (dim4,dim4 * 9): for each mask the nine taps of its kernel, applied everywhere and then shifted.
        kernels = (weights @ last.weight.flatten(1)).unflatten(2, (-1, 9)).permute(0, 3, 1, 2)
        taps = (kernels.flatten(1, 2) @ hidden).unflatten(1, (9, -1)).unflatten(3, (height, width))
        taps = F.pad(taps, (1, 1, 1, 1))
        shifted = [taps[:, 3 * y + x, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
        refined = torch.stack(shifted).sum(dim=0) + (weights * last.bias).sum(dim=-1)[..., None, None]
        return refined + (weights @ fine.flatten(2)).unflatten(2, (height, width))
