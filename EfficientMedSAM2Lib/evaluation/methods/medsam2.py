"""MedSAM2, or SAM2.1-Hiera-T, at 512 pixels, through PyPI `sam2`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional

from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.evaluation.methods.interface import WHOLE_RANGE, BoxPredictions, Prediction, SliceEmbedding
from EfficientMedSAM2Lib.evaluation.methods.medsam2_network import build_medsam2, model_input
from EfficientMedSAM2Lib.evaluation.methods.network import TorchMethod, VolumeSlices, windowed_slice
from EfficientMedSAM2Lib.evaluation.replaced import replaced

BOX_CORNER_LABELS = (2, 3)
OBJECT = 1


class MedSAM2(TorchMethod):
    """MedSAM2's network with sam2's own video predictor; as a teacher its image encoder and mask decoder, no memory.

    MedSAM2's preprocessing is kept: the slice is pressed into a square of 512 pixels and normalised as ImageNet. The
    maps of `encode` are what its mask decoder sees: stride 16 (256 channels, "no memory" added), stride 8 (64), stride
    4 (32).

    Args:
        weights: MedSAM2's or SAM2.1-Hiera-T's weights, `.pt` or `.pth`; None: random ones, with which its speed and
            memory mean something, and its masks do not.
        image_size: Side of the square input in pixels.
        device: Where the network runs.

    Raises:
        UserError: sam2 is not installed, or the file is missing or holds no such network's weights.
    """

    name = "medsam2"
    channels: tuple[int, ...] = (256, 64, 32)

    def __init__(self, weights: Path | None = None, image_size: int = 512, device: str = "cpu") -> None:
        self.weights = weights
        self.variant = f"-{image_size}"
        self.network = build_medsam2(weights, image_size, device)

    def encode(self, image: np.ndarray) -> SliceEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; three maps, 32, 64 and 128 pixels wide at 512."""
        network, side = self.network, int(self.network.image_size)
        with torch.inference_mode():
            backbone = network.forward_image(model_input(image[None], side).to(network.device))
            maps = list(backbone["backbone_fpn"][-3:])
            if network.directly_add_no_mem_embed:
                maps[-1] = maps[-1] + network.no_mem_embed.reshape(1, -1, 1, 1)
        return SliceEmbedding(tuple(reversed(maps)), (image.shape[0], image.shape[1]), (side, side))

    def predict(self, embedding: SliceEmbedding, boxes: np.ndarray, full_resolution: bool = True) -> BoxPredictions:
        """Segment one object per box (N, 4); coarse logits are a quarter of the square input wide."""
        network, side = self.network, int(self.network.image_size)
        height, width = embedding.image_size
        size = (height, width) if full_resolution else (side // 4, side // 4)
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        if len(boxes) == 0:
            return BoxPredictions.none(size)
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
        return BoxPredictions(logits[:, 0].float().cpu().numpy(), iou[:, 0].float().cpu().numpy())

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:
        """Encode a slice, as a volume of one."""
        self.set_volume(image[None], (1.0, *spacing_mm))

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Ask for a mask, without earlier prompts."""
        self.forget()
        return Prediction(self.prompt_slice(0, box=box), None)

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Prediction:
        """Take the best of three for the first click, then refine it."""
        if len(points_xy) == 1:
            self.forget()
        points, labels = np.asarray(points_xy, np.float32), np.asarray(labels, np.int32)
        return Prediction(self.prompt_slice(0, points=points, labels=labels), None)

    def set_volume(
        self,
        volume: np.ndarray,
        spacing_mm: tuple[float, float, float],
        axis: int = 0,
        window: IntensityWindow = WHOLE_RANGE,
    ) -> None:
        """All slices resized and normalised, the first one encoded, as MedSAM2's own `init_state` does."""
        import sam2.sam2_video_predictor

        slices = VolumeSlices(volume, axis, window)
        images = model_input(slices, self.network.image_size).to(self.network.device)
        # sam2 1.1 begins with video files alone; this goes once its init_state takes tensors.
        frames = (images, *slices.shape[1:3])
        with replaced(sam2.sam2_video_predictor, "load_video_frames", lambda **_: frames):
            self._state = self.network.init_state(video_path="")

    def prompt_slice(
        self,
        index: int,
        box: np.ndarray | None = None,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        clear_old_points: bool = True,
    ) -> np.ndarray:
        self._box = box
        _, _, logits = self.network.add_new_points_or_box(
            self._state, index, OBJECT, points=points, labels=labels, box=box, clear_old_points=clear_old_points
        )
        mask: np.ndarray = logits[0, 0].cpu().numpy() > 0
        return mask

    def propagate(self, index: int, reverse: bool = False) -> Iterator[tuple[int, Prediction]]:
        """See `NetworkMethod`; as in MedSAM2's script the second direction starts anew, from the box alone."""
        import sam2.sam2_video_predictor

        if reverse:
            self.forget()
            self.prompt_slice(index, box=self._box)
        # sam2 1.1 always draws a progress bar; this goes once it can be switched off.
        with replaced(sam2.sam2_video_predictor, "tqdm", lambda frames, **_: frames):
            for number, _, logits in self.network.propagate_in_video(self._state, index, reverse=reverse):
                yield number, Prediction(logits[0, 0].cpu().numpy() > 0, None)

    def forget(self) -> None:
        self.network.reset_state(self._state)

    def compute_features(
        self, image: np.ndarray, spacing_mm: tuple[float, float], window: IntensityWindow = WHOLE_RANGE
    ) -> None:
        with torch.inference_mode():
            pixels = model_input(windowed_slice(image, window)[None], self.network.image_size)
            self.network.forward_image(pixels.to(self.network.device))

    def bare_encoder(self) -> Callable[[], object]:
        side, generator = self.network.image_size, torch.Generator().manual_seed(0)
        image = torch.randn(1, 3, side, side, generator=generator).to(self.network.device)
        return torch.inference_mode()(lambda: self.network.forward_image(image))
