"""A network of ours as a teacher, for a student of other sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from EfficientMedSAM2Lib.learning.teachers.interface import (
    TeacherEmbedding,
    TeacherPrediction,
    fingerprint,
    image_tensor,
    scaled_size,
)
from EfficientMedSAM2Lib.models import ImageFeatures, PromptBatch, load_model


class OurTeacher:
    """An EfficientMedSAM2 network that looks at the whole slice, zeros padding the lower right to a square.

    Args:
        checkpoint: A weights file of this program.
        device: Where the network runs.

    Raises:
        ValueError: The file is missing or is not such a file.
    """

    name = "efficient-medsam2"

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        self._model = load_model(checkpoint, for_inference=True).requires_grad_(False).to(device)
        self.channels: tuple[int, ...] = (self._model.config.embed_dim, *self._model.config.skip_dims)
        self.fingerprint = fingerprint(self.name, checkpoint)

    def encode(self, image: np.ndarray) -> TeacherEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; three maps of stride 16, 8 and 4."""
        tensor, side = image_tensor(image), self._model.config.image_size
        height, width = tensor.shape[-2:]
        valid = scaled_size(height, width, side)
        if valid != (height, width):
            tensor = functional.interpolate(tensor, size=valid, mode="bilinear", align_corners=False, antialias=True)
        tensor = functional.pad(tensor, (0, side - valid[1], 0, side - valid[0]))
        with torch.inference_mode():
            features = self._model.encode_image(tensor.to(self._model.device))
        maps = tuple(part for part in features if part is not None)
        return TeacherEmbedding(maps, (height, width), valid)

    def predict(
        self, embedding: TeacherEmbedding, boxes: np.ndarray, full_resolution: bool = True
    ) -> TeacherPrediction:
        """Segment one object per box (N, 4); coarse logits are a quarter of the network's input wide, padding off."""
        side = self._model.config.image_size
        rows, columns = (max(1, -(-extent // 4)) for extent in embedding.valid_size)
        size = embedding.image_size if full_resolution else (rows, columns)
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        if len(boxes) == 0:
            return TeacherPrediction(np.zeros((0, *size), np.float32), np.zeros(0, np.float32))
        prompts = PromptBatch.empty(len(boxes), self._model.device)
        scale = side / max(embedding.image_size)
        # Centres of first and last pixels, before and after scaling.
        prompts.boxes = torch.from_numpy((boxes + 0.5) * scale - 0.5).to(self._model.device)
        with torch.inference_mode():
            features = ImageFeatures(*embedding.maps).select(torch.zeros(len(boxes), dtype=torch.long))
            decoded = self._model.decode(self._model.without_memory(features), self._model.encode_prompts(prompts))
            logits = decoded.logits[:, :1]
            if full_resolution:
                logits = functional.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
                logits = logits[..., : embedding.valid_size[0], : embedding.valid_size[1]]
                if embedding.image_size != embedding.valid_size:
                    logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            else:
                logits = logits[..., :rows, :columns]
        return TeacherPrediction(logits[:, 0].float().cpu().numpy(), decoded.iou[:, 0].cpu().numpy())
