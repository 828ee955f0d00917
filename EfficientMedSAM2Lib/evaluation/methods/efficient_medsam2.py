"""EfficientMedSAM2, through the predictors that everything else uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.core.windows import IntensityWindow
from EfficientMedSAM2Lib.evaluation.methods.interface import (
    BOX,
    CLICKS,
    LASSO,
    MASK,
    SCRIBBLE,
    VOLUME,
    WHOLE_RANGE,
    BoxPredictions,
    Prediction,
    SliceEmbedding,
    VolumePrediction,
)
from EfficientMedSAM2Lib.evaluation.methods.network import NetworkMethod, image_tensor, scaled_size, weights_bytes

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.interaction import InteractiveSession

OBJECT = 1
PARTS = {
    "encode_image": "image encoder",
    "encode_prompts": "prompt encoder",
    "attend": "memory attention",
    "decode": "mask decoder",
    "encode_memory": "memory encoder",
}


class EfficientMedSAM2Method(NetworkMethod):
    """EfficientMedSAM2; as a teacher it looks at the whole slice, zeros padding the lower right to a square.

    Args:
        network: From `build_efficient_medsam2_model`; a teacher has to be in torch.
        weights: The file that it was loaded from; None for random weights.
    """

    name = "efficient-medsam2"
    protocols: tuple[str, ...] = (BOX, CLICKS, VOLUME, MASK, SCRIBBLE, LASSO)

    def __init__(self, network: Any, weights: Path | None = None) -> None:
        self.network, self.weights = network, weights
        config = network.config
        fine = (config.fine_dim,) if config.is_fine else ()
        self.channels: tuple[int, ...] = (config.embed_dim, *config.skip_dims, *fine)
        self._earlier: np.ndarray | None = None

    @cached_property
    def _images(self) -> Any:
        from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor

        return EfficientMedSAM2ImagePredictor(self.network)

    @cached_property
    def _volumes(self) -> Any:
        from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor

        return EfficientMedSAM2VolumePredictor(self.network)

    def set_image(
        self, image: np.ndarray, spacing_mm: tuple[float, float], window: IntensityWindow = WHOLE_RANGE
    ) -> None:
        """Hand over a slice."""
        self._images.set_image(image, window=window, spacing=spacing_mm)
        self._earlier = None

    def segment_box(self, box: np.ndarray) -> Prediction:
        """Ask for a single mask."""
        masks, scores, _ = self._images.predict(box=box, multimask_output=False)
        return Prediction(masks[0] > 0, float(scores[0]))

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Prediction:
        """Take the best of three for the first click, then refine it."""
        first = len(points_xy) == 1
        masks, scores, logits = self._images.predict(
            point_coords=points_xy,
            point_labels=labels,
            mask_input=None if first else self._earlier,
            multimask_output=first,
        )
        best = int(np.argmax(scores))
        self._earlier = logits[best : best + 1]
        return Prediction(masks[best] > 0, float(scores[best]))

    def segment_scribbles(
        self, image: np.ndarray, spacing_mm: tuple[float, float], inside: np.ndarray, outside: np.ndarray
    ) -> Prediction:
        """As a session answers one scribble on the object, and one beside it."""
        session = self._session(image, spacing_mm)
        session.add_scribble_interaction(inside[None], True, axis=0)
        if outside.any():
            session.add_scribble_interaction(outside[None], False, axis=0)
        return Prediction(session.mask()[0], session.scores()[0])

    def segment_lasso(self, image: np.ndarray, spacing_mm: tuple[float, float], region: np.ndarray) -> Prediction:
        """As a session answers a lasso."""
        session = self._session(image, spacing_mm)
        session.add_lasso_interaction(region[None], axis=0)
        return Prediction(session.mask()[0], session.scores()[0])

    def _session(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> InteractiveSession:
        """A session on one slice."""
        from EfficientMedSAM2Lib.interaction import InteractiveSession

        session = InteractiveSession(self._volumes)
        rows_mm, columns_mm = spacing_mm
        session.set_image(image[None], np.diag([columns_mm, rows_mm, 1.0, 1.0]), window=WHOLE_RANGE)
        return session

    def set_volume(
        self,
        volume: np.ndarray,
        spacing_mm: tuple[float, float, float],
        axis: int = 0,
        window: IntensityWindow = WHOLE_RANGE,
    ) -> None:
        self._state = self._volumes.init_state(volume, spacing=spacing_mm, axis=axis, window=window)

    def prompt_slice(
        self,
        index: int,
        box: np.ndarray | None = None,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        clear_old_points: bool = True,
    ) -> np.ndarray:
        # As a session asks: without the logits of whole slices, for which an exported network would load torch.
        self._volumes.add_new_points_or_box(
            self._state,
            index,
            OBJECT,
            points=points,
            labels=labels,
            box=box,
            clear_old_points=clear_old_points,
            need_output=False,
        )
        mask: np.ndarray = self._volumes.slice_mask(self._state, OBJECT, index)
        return mask

    def propagate(self, index: int, reverse: bool = False) -> Iterator[tuple[int, Prediction]]:
        frames = range(index, -1, -1) if reverse else range(index, self._state["num_frames"])
        for number, mask, score in self._volumes.propagate_object(self._state, OBJECT, index, frames, reverse):
            yield number, Prediction(mask, float(score))

    def propagate_mask(
        self, volume: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, slices: range, mask: np.ndarray
    ) -> VolumePrediction:
        """Propagate from the mask, which is believed, to the last slice."""
        found = VolumePrediction(np.zeros(volume.shape[:3], bool))
        target = np.moveaxis(found.mask, axis, 0)
        self.set_volume(volume, spacing_mm, axis)
        self._volumes.add_new_mask(self._state, slices.start, OBJECT, mask, need_output=False)
        for number, part, score in self._volumes.propagate_object(self._state, OBJECT, slices.start, slices, False):
            target[number], found.scores[number] = part, float(score)
        return found

    def forget(self) -> None:
        self._volumes.reset_state(self._state)

    def encode(self, image: np.ndarray) -> SliceEmbedding:
        """Embed a slice (H, W) or (H, W, 3) with values in 0..1; three maps of stride 16, 8 and 4."""
        import torch
        import torch.nn.functional as functional

        tensor, side = image_tensor(image), self.network.config.image_size
        height, width = tensor.shape[-2:]
        valid = scaled_size(height, width, side)
        if valid != (height, width):
            tensor = functional.interpolate(tensor, size=valid, mode="bilinear", align_corners=False, antialias=True)
        tensor = functional.pad(tensor, (0, side - valid[1], 0, side - valid[0]))
        with torch.inference_mode():
            features = self.network.encode_image(tensor.to(self.network.device))
        maps = tuple(part for part in features if part is not None)
        return SliceEmbedding(maps, (height, width), valid)

    def predict(self, embedding: SliceEmbedding, boxes: np.ndarray, full_resolution: bool = True) -> BoxPredictions:
        """Segment one object per box (N, 4); coarse logits are a quarter of the network's input wide, padding off."""
        import torch
        import torch.nn.functional as functional

        from EfficientMedSAM2Lib.models import ImageFeatures, PromptBatch

        side = self.network.config.image_size
        rows, columns = (max(1, -(-extent // 4)) for extent in embedding.valid_size)
        size = embedding.image_size if full_resolution else (rows, columns)
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        if len(boxes) == 0:
            return BoxPredictions.none(size)
        prompts = PromptBatch.empty(len(boxes), self.network.device)
        scale = side / max(embedding.image_size)
        # Centres of first and last pixels, before and after scaling.
        prompts.boxes = torch.from_numpy((boxes + 0.5) * scale - 0.5).to(self.network.device)
        with torch.inference_mode():
            features = ImageFeatures(*embedding.maps).select(torch.zeros(len(boxes), dtype=torch.long))
            decoded = self.network.decode(self.network.without_memory(features), self.network.encode_prompts(prompts))
            logits = decoded.logits[:, :1]
            if full_resolution:
                logits = functional.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
                logits = logits[..., : embedding.valid_size[0], : embedding.valid_size[1]]
                if embedding.image_size != embedding.valid_size:
                    logits = functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
            else:
                logits = logits[..., :rows, :columns]
        return BoxPredictions(logits[:, 0].float().cpu().numpy(), decoded.iou[:, 0].cpu().numpy())

    def compute_features(
        self, image: np.ndarray, spacing_mm: tuple[float, float], window: IntensityWindow = WHOLE_RANGE
    ) -> None:
        self.set_image(image, spacing_mm, window)
        self._images.get_image_embedding()

    def bare_encoder(self) -> Callable[[], object]:
        side = self.network.config.image_size
        image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
        if self._is_exported:
            from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

            # Alone it may have every thread, where predictors give each of two graphs half of them.
            alone = OnnxNetwork(self.network.path, self.network.threads, streams=1)
            return lambda: alone.encode_image(image)
        import torch

        tensor = torch.from_numpy(image).to(self.network.device)
        return torch.inference_mode()(lambda: self.network.encode_image(tensor))

    def parameter_count(self) -> int:
        return int(self.network.parameter_count())

    def computation(self) -> Mapping[str, object]:
        precision = str(self.network.compute_dtype).replace("torch.", "")
        return {"device": str(self.network.device), "precision": precision, "threads": self.network.threads}

    def parts(self) -> dict[str, tuple[Any, str]]:
        return {title: (self.network, method) for method, title in PARTS.items()}

    def file_bytes(self) -> int:
        return weights_bytes(self.network, self.network.path if self._is_exported else self.weights)

    @property
    def _is_exported(self) -> bool:
        return hasattr(self.network, "path")
