"""Teacher targets: what a teacher says of the views that a student sees, computed once and kept."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.learning.pseudo.filters import TrustRules
from EfficientMedSAM2Lib.learning.pseudo.trusted_masks import trusted_mask
from EfficientMedSAM2Lib.learning.samples.prompts import random_boxes
from EfficientMedSAM2Lib.learning.teachers.cache import TargetCache
from EfficientMedSAM2Lib.learning.teachers.interface import Teacher

TARGET_VERSION = "1"
"""Part of every key: to be raised when targets are made in another way."""
TARGET_RULES = dataclasses.replace(TrustRules(), min_refinable_fit=1.0)
"""As for pseudo-labels, but a mask that does not fit is not asked for with another box: the student gets this one."""


class TeacherTargets(NamedTuple):
    """What the teacher says of B views.

    Attributes:
        maps: (B,C,h,w) each, its embeddings, coarsest first; none when features are not wanted.
        boxes: (B,4) the box prompts, XYXY of first and last pixels of the view.
        logits: (B,m,m) its masks for those boxes.
        trusted: (B,) bool, where it is sure of that mask and agrees with itself.
        hits: How many of the B were known before.
    """

    maps: tuple[Tensor, ...]
    boxes: Tensor
    logits: Tensor
    trusted: Tensor
    hits: int


class TeacherTargetSource:
    """Asks a teacher about views and remembers the answers on disk.

    Args:
        teacher: The teacher.
        cache: Where answers are kept.
        mask_size: Side m of the student's masks; finer embeddings are averaged to this size before they are kept.
        features: Whether embeddings are wanted.
        masks: Whether masks are wanted.
    """

    def __init__(
        self, teacher: Teacher, cache: TargetCache, mask_size: int = 64, features: bool = True, masks: bool = True
    ) -> None:
        self.teacher = teacher
        self.cache = cache
        self.mask_size = mask_size
        self.features = features
        self.masks = masks

    def of_batch(self, batch: dict[str, Any]) -> TeacherTargets:
        """The targets of a batch of square views.

        Args:
            batch: `image` (B,3,S,S) in 0...1, `mask` (B,S,S), `pixel_scale` (B,), as `collate_slices` makes them.

        Returns:
            The targets, on the CPU, float32.
        """
        images, masks = batch["image"].cpu(), batch["mask"].cpu().float()
        found, hits = [], 0
        for image, mask, scale in zip(images, masks, batch["pixel_scale"].cpu()):
            digest = self._digest(image, mask, scale)
            target = self.cache.get(digest)
            hits += target is not None
            if target is None:
                # The teacher chooses its precision itself, whatever the student is trained in.
                with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
                    target = self._ask(image, mask, scale, int(digest[:15], 16))
                self.cache.put(digest, target)
            found.append({name: value.float() for name, value in target.items()})
        count = len(self.teacher.channels) if self.features else 0
        return TeacherTargets(
            tuple(torch.stack([target[f"map{number}"] for target in found]) for number in range(count)),
            torch.stack([target["box"] for target in found]),
            torch.stack([target["logits"] for target in found]),
            torch.stack([target["trusted"] for target in found]) > 0,
            hits,
        )

    def _digest(self, image: Tensor, mask: Tensor, scale: Tensor) -> str:
        about = f"{TARGET_VERSION} {self.teacher.fingerprint} {self.mask_size} {self.features} {self.masks}"
        digest = hashlib.blake2b(about.encode(), digest_size=16)
        for part in (image, mask > 0.5, scale):
            digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _ask(self, image: Tensor, mask: Tensor, scale: Tensor, seed: int) -> dict[str, Tensor]:
        # The view decides on box and jitter, so that a target that was lost comes back the same.
        rng = np.random.default_rng(seed)
        box = random_boxes(mask[None], rng, pixel_scale=scale[None])[0]
        box[2:] -= 1  # half-open edges to the last pixel inside
        picture = image.permute(1, 2, 0).numpy()
        embedding = self.teacher.encode(picture)
        target = {"box": box, "logits": torch.zeros(self.mask_size, self.mask_size), "trusted": torch.tensor(0)}
        if self.masks:
            grey = picture.mean(axis=2)
            found = trusted_mask(self.teacher, embedding, box.numpy(), grey, TARGET_RULES, rng)
            if found is not None:
                target["logits"] = self._small(torch.from_numpy(found.logits)[None])[0]
                target["trusted"] = torch.tensor(1)
        if self.features:
            for number, part in enumerate(embedding.maps):
                target[f"map{number}"] = (
                    self._small(part[0].float().cpu()) if part.shape[-1] > self.mask_size else part[0]
                )
        return {name: value if name in ("box", "trusted") else _half(value) for name, value in target.items()}

    def _small(self, part: Tensor) -> Tensor:
        """Averages of (C,h,w) over the pixels of a mask."""
        return F.interpolate(part[None], size=(self.mask_size, self.mask_size), mode="area")[0]


def _half(value: Tensor) -> Tensor:
    limit = torch.finfo(torch.float16).max
    return value.detach().float().cpu().clamp(-limit, limit).half().clone()
