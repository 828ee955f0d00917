"""A network that cannot be wrong: it calls bright what is bright. For tests in which the exact masks matter.

Its features are the picture itself. Where a mask or the neighbour's mask is given, only bright regions that
meet it count, as a real network follows one object and not the other.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from EfficientMedSAM2Lib.models import DecodedMasks, HeuristicsConfig, ImageFeatures, ModelConfig
from EfficientMedSAM2Lib.runtimes.tasks import Task


class StubNetwork:
    """Has the methods of EfficientMedSAM2 that predictors call, and counts how often they do."""

    array_library = "torch"
    runs_concurrently = False
    compute_dtype = torch.float32
    threads = 1
    task: Task | None = None

    def __init__(self) -> None:
        self.config = ModelConfig()
        self.heuristics = HeuristicsConfig()
        self.device = torch.device("cpu")
        self.encoded = 0
        self.decoded = 0
        self.certainty = 8.0
        self.largest_bank = 0
        self.distances: list[list[float]] = []
        self.neighbours: list[float] = []

    def encode_image(self, image):
        self.encoded += len(image)
        small = F.interpolate(image[:, :1], (64, 64), mode="area")
        return ImageFeatures(F.avg_pool2d(small, 4), F.avg_pool2d(small, 2), small)

    def without_memory(self, features):
        return features

    def attend(self, features, bank):
        self.largest_bank = max(self.largest_bank, bank.maps.shape[1])
        self.distances.append(bank.distance_mm[0].tolist())
        assert bank.maps.shape[:2] == bank.pointers.shape[:2] == bank.distance_mm.shape
        return features

    def encode_prompts(self, prompts):
        return prompts

    def decode(self, features, prompts):
        self.decoded += len(features.stride4)
        if prompts.neighbour_mm is not None:
            self.neighbours += [float(mm) for mm in prompts.neighbour_mm]
        logits = torch.stack([self._mask(features.stride4[i, 0], prompts, i) for i in range(len(features.stride4))])
        area = (logits > 0).float().sum(dim=(1, 2))
        count = 1 + self.config.num_multimask
        return DecodedMasks(
            logits[:, None].expand(-1, count, -1, -1).clone(),
            torch.full((len(logits), count), 0.9),
            torch.where(area > 0, self.certainty, -8.0)[:, None],
            torch.zeros(len(logits), count, self.config.embed_dim),
        )

    def _mask(self, picture, prompts, i):
        bright = (picture > 0.5).numpy()
        regions, _ = ndimage.label(bright)
        wanted = set()
        if prompts.mask_logits is not None:
            wanted |= set(regions[(prompts.mask_logits[i, 0] > 0).numpy()])
        elif prompts.neighbour_logits is not None:
            wanted |= set(regions[(prompts.neighbour_logits[i, 0] > 0).numpy()])
        cells = ((prompts.points[i] + 0.5) / 4).long().clamp(0, 63)
        for (x, y), label in zip(cells.tolist(), prompts.labels[i].tolist()):
            wanted = wanted | {regions[y, x]} if label == 1 else wanted - {regions[y, x]}
        if prompts.boxes[i].isfinite().all():
            x0, y0, x1, y1 = ((prompts.boxes[i] + 0.5) / 4).round().long().tolist()
            wanted |= set(regions[max(y0, 0) : y1, max(x0, 0) : x1].ravel())
        keep = torch.from_numpy(np.isin(regions, list(wanted - {0})))
        return torch.where(keep, (picture - 0.5).clamp_min(0.05) * 16, -8.0 - 8 * (0.5 - picture).clamp_min(0))

    def encode_memory(self, features, mask_logits):
        return torch.zeros(len(mask_logits), self.config.memory_dim, 16, 16)

    def object_pointer(self, decoded, chosen):
        return torch.zeros(len(chosen), self.config.embed_dim)
