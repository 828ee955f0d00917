"""Image encoder: a timm trunk down to stride 16, and the neck that gives its features the decoder's widths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from EfficientMedSAM2Lib.models.bundles import ImageFeatures
from EfficientMedSAM2Lib.models.config import ModelConfig, timm_architecture
from EfficientMedSAM2Lib.models.modules.layers import ConvNeXtBlock, LayerNorm2d
from EfficientMedSAM2Lib.models.timm_import import import_timm


class ImageEncoder(nn.Module):
    """(B,3,S,S) with values in 0...1 to `ImageFeatures`.

    The trunk is made with `feature_cls="getter"`, so that stages after stride 16 do not exist: 0.70 M parameters
    instead of 2.96 M for EfficientNet-Lite0. Two ConvNeXt blocks give the stride-16 map a wider field.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = import_timm().create_model(
            timm_architecture(config.encoder_type),
            pretrained=False,
            features_only=True,
            feature_cls="getter",
            out_indices=(0, 1, 2, 3) if config.is_fine else (1, 2, 3),
        )
        *finest, _, _, _ = channels = self.trunk.feature_info.channels()
        channels = channels[-3:]
        self.to_stride4 = nn.Conv2d(channels[0], config.skip_dims[1], 1)
        self.to_stride2 = nn.Conv2d(finest[0], config.fine_dim, 1) if finest else None
        self.to_stride8 = nn.Conv2d(channels[1], config.skip_dims[0], 1)
        self.to_embedding = nn.Sequential(nn.Conv2d(channels[2], config.embed_dim, 1), LayerNorm2d(config.embed_dim))
        self.context = nn.Sequential(ConvNeXtBlock(config.embed_dim), ConvNeXtBlock(config.embed_dim))
        self.gradient_checkpointing = False

    def forward(self, image: Tensor) -> ImageFeatures:
        trunk_dtype = next(self.trunk.parameters()).dtype
        x = standardise(image).to(trunk_dtype).contiguous(memory_format=torch.channels_last)
        if self.gradient_checkpointing and self.training:
            levels = checkpoint(self.trunk, x, use_reentrant=False, **self._recomputed())
        else:
            levels = self.trunk(x)
        *finest, stride4, stride8, stride16 = (level.to(self.to_stride4.weight.dtype) for level in levels)
        embedding = self.context(self.to_embedding(stride16))
        stride2 = self.to_stride2(finest[0]) if self.to_stride2 is not None else None
        return ImageFeatures(embedding, self.to_stride8(stride8), self.to_stride4(stride4), stride2)

    def _recomputed(self) -> dict[str, Any]:
        """How `checkpoint` computes the trunk once more: without counting the batch a second time."""
        if torch.compiler.is_compiling():
            return {}  # there the statistics are outputs of the graph, and written once
        return {"context_fn": lambda: (nullcontext(), _uncounted(self.trunk))}

    def fuse(self) -> None:
        """Fold every batch normalisation into the convolution before it, for inference (halves the trunk's time)."""
        _fuse_conv_bn(self.trunk)


def standardise(image: Tensor) -> Tensor:
    """Images (B,3,S,S) to what the trunk sees: brightness within the window first, then twice the viewport's contrast.

    In a viewport around the object its own contrast counts, whatever the window of the volume: mean 0 and spread 1 over
    all channels, tails pressed to +-3. The floor keeps the noise of a nearly constant viewport from being blown up more
    than 50 times. Brightness within the window is what tells a lung from the liver below it when propagation goes on
    into a viewport that holds the liver alone.
    """
    x = image.float()
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    spread = (x - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    contrast = 3 * torch.tanh((x - mean) / (spread + 0.02) / 3)
    brightness = 4 * x.mean(dim=1, keepdim=True) - 2
    return torch.cat([brightness, contrast[:, 1:]], dim=1)


@contextmanager
def _uncounted(module: nn.Module) -> Iterator[None]:
    """Leave the statistics of batch normalisations as they are, though they are in training mode."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    kept = [(norm, norm.momentum) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in kept:
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked -= 1


def _fuse_conv_bn(module: nn.Module) -> None:
    names = list(module._modules)
    for name, following in zip(names, [*names[1:], ""]):
        child, norm = module._modules[name], module._modules.get(following)
        if isinstance(child, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module._modules[name] = fuse_conv_bn_eval(child, norm)
            # timm's BatchNormAct2d carries the activation.
            module._modules[following] = getattr(norm, "act", nn.Identity())
        elif child is not None:
            _fuse_conv_bn(child)
