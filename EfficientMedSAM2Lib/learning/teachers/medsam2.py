"""MedSAM2, or SAM2.1-Hiera-T, as a teacher: its image encoder and mask decoder, without memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from EfficientMedSAM2Lib.learning.teachers.interface import TeacherEmbedding, TeacherPrediction, fingerprint
from EfficientMedSAM2Lib.learning.teachers.medsam2_network import build_medsam2, model_input

BOX_CORNER_LABELS = (2, 3)


class MedSAM2Teacher:
    """SAM2.1-Hiera-T from a checkpoint, through PyPI `sam2`.

    MedSAM2's preprocessing is kept: the slice is pressed into a square of 512 pixels and normalised as ImageNet. The
    maps are what its mask decoder sees: stride 16 (256 channels, "no memory" added), stride 8 (64), stride 4 (32).

    Args:
        checkpoint: MedSAM2's or SAM2.1-Hiera-T's weights, `.pt` or `.pth`.
        image_size: Side of the square input in pixels.
        device: Where the network runs.

    Raises:
        ValueError: sam2 is not installed, or the file holds no such network's weights.
    """

    name = "medsam2"
    channels: tuple[int, ...] = (256, 64, 32)

    def __init__(self, checkpoint: Path, image_size: int = 512, device: str = "cpu") -> None:
        self._network = build_medsam2(checkpoint, image_size, device)
        self.fingerprint = f"{fingerprint(self.name, checkpoint)}-{image_size}"

    def encode(self, image: np.ndarray) -> TeacherEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; three maps, 32, 64 and 128 pixels wide at 512."""
        network, side = self._network, int(self._network.image_size)
        with torch.inference_mode():
            backbone = network.forward_image(model_input(image[None], side).to(network.device))
            maps = list(backbone["backbone_fpn"][-3:])
            if network.directly_add_no_mem_embed:
                maps[-1] = maps[-1] + network.no_mem_embed.reshape(1, -1, 1, 1)
        return TeacherEmbedding(tuple(reversed(maps)), (image.shape[0], image.shape[1]), (side, side))

    def predict(
        self, embedding: TeacherEmbedding, boxes: np.ndarray, full_resolution: bool = True
    ) -> TeacherPrediction:
        """Segment one object per box (N, 4); coarse logits are a quarter of the square input wide."""
        network, side = self._network, int(self._network.image_size)
        height, width = embedding.image_size
        size = (height, width) if full_resolution else (side // 4, side // 4)
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        if len(boxes) == 0:
            return TeacherPrediction(np.zeros((0, *size), np.float32), np.zeros(0, np.float32))
        corners = torch.from_numpy(boxes).reshape(-1, 2, 2) * torch.tensor([side / width, side / height])
        labels = torch.tensor(BOX_CORNER_LABELS, dtype=torch.int32).expand(len(boxes), 2)
        with torch.inference_mode():
            sparse, dense = network.sam_prompt_encoder(
                points=(corners.to(network.device), labels.to(network.device)), boxes=None, masks=None
            )
            logits, iou, _, _ = network.sam_mask_decoder(
                image_embeddings=embedding.maps[0],
                image_pe=network.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
                repeat_image=True,
                # Finest first, as the decoder takes them.
                high_res_features=[embedding.maps[2], embedding.maps[1]],
            )
            if logits.shape[-2:] != size:
                logits = functional.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
        return TeacherPrediction(logits[:, 0].float().cpu().numpy(), iou[:, 0].float().cpu().numpy())
