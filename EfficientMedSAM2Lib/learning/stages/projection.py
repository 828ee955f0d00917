"""From the student's features to a teacher's embeddings: learned in distillation, and thrown away after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from EfficientMedSAM2Lib.models import ImageFeatures, ModelConfig
from EfficientMedSAM2Lib.models.modules.layers import LayerNorm2d


class FeatureProjection(nn.Module):
    """Predicts each map of a teacher as the sum of 1x1 convolutions of the student's maps of stride 16, 8 and 4.

    All three together: a shallow stride-4 map alone cannot know what a deep embedding says, nor a stride-16 map alone
    where exactly. Both see the same view, so that maps of any size are aligned once resampled. The student's maps are
    normalised first: their values are up to a hundred times a teacher's, and the first error would drown the labels'.

    Args:
        config: Sizes of the student.
        channels: Channels of each of the teacher's maps.
    """

    def __init__(self, config: ModelConfig, channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = (config.embed_dim, *config.skip_dims)
        self.norms = nn.ModuleList(LayerNorm2d(width) for width in widths)
        # One bias is enough for a sum.
        self.maps = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, count, 1, bias=width == config.embed_dim) for width in widths)
            for count in channels
        )

    def forward(self, features: ImageFeatures, wanted: tuple[Tensor, ...]) -> list[Tensor]:
        """What the student's features make of each wanted map (B,C,h,w): in its shape, and in units of its spread."""
        predictions = []
        levels = [norm(level) for norm, level in zip(self.norms, features)]
        for convolutions, target in zip(self.maps, wanted):
            assert isinstance(convolutions, nn.ModuleList)
            size = (target.shape[-2], target.shape[-1])
            # Averaged before the convolution where too fine, enlarged after it where too coarse: either is cheaper.
            parts = []
            for convolution, level in zip(convolutions, levels):
                finer = level.shape[-1] > size[1]
                part = convolution(F.adaptive_avg_pool2d(level, size) if finer else level)
                same = part.shape[-2:] == size
                parts.append(part if same else F.interpolate(part, size=size, mode="bilinear", align_corners=False))
            predictions.append(torch.stack(parts).sum(dim=0))
        return predictions


def embedding_error(predictions: list[Tensor], wanted: tuple[Tensor, ...]) -> Tensor:
    """Mean over the maps of the squared error and of one minus the cosine of each pixel's vectors.

    Args:
        predictions: From `FeatureProjection`, in units of the spread of each map.
        wanted: The teacher's maps as they are.
    """
    errors = []
    for prediction, target in zip(predictions, wanted):
        prediction, target = prediction.float(), target.float()
        square = F.mse_loss(prediction, target / target.std().clamp_min(1e-3))
        errors.append(square + 1 - F.cosine_similarity(prediction, target, dim=1).mean())
    return torch.stack(errors).mean()
