"""EfficientMedSAM2, through its volume predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from EfficientMedSAM2Lib.evaluation.benchmark.networks.interface import NetworkOptions
from EfficientMedSAM2Lib.evaluation.benchmark.networks.video import OBJECT, VideoNetwork
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.methods.interface import Contestant


PARTS = {
    "encode_image": "image encoder",
    "encode_prompts": "prompt encoder",
    "attend": "memory attention",
    "decode": "mask decoder",
    "encode_memory": "memory encoder",
}


class OurNetwork(VideoNetwork):
    """One of our variants.

    Args:
        encoder: Name of the encoder.
        options: Weights and device.
        runtime: As for `build_efficient_medsam2_model`; "auto" is what the commands take.
        precision: As for `build_efficient_medsam2_model`.
    """

    def __init__(
        self, encoder: str, options: NetworkOptions, runtime: str = "auto", precision: str | None = None
    ) -> None:
        self._encoder, self._options, self._runtime, self._precision = encoder, options, runtime, precision
        self._weights = "random" if options.random else options.weights
        self.has_weights = not options.random

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib import EfficientMedSAM2VolumePredictor, build_efficient_medsam2_model  # noqa: F401
        from EfficientMedSAM2Lib.runtimes.choice import choose_runtime

        if self._runtime == "auto":
            self._runtime = choose_runtime(self._encoder, self._weights, self._options.device, self._precision)
        if self._runtime == "onnx":
            import onnxruntime  # noqa: F401
        else:
            from EfficientMedSAM2Lib.models.timm_import import import_timm

            import_timm()

    def load(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib import EfficientMedSAM2VolumePredictor, build_efficient_medsam2_model

        self._model: Any = build_efficient_medsam2_model(
            self._encoder, self._weights, self._options.device, runtime=self._runtime, precision=self._precision
        )
        self._predictor = EfficientMedSAM2VolumePredictor(self._model)

    def parameter_count(self) -> int:
        """See `TimedNetwork`."""
        return int(self._model.parameter_count())

    def computation(self) -> Mapping[str, object]:
        """See `TimedNetwork`."""
        precision = str(self._model.compute_dtype).replace("torch.", "")
        return {"device": str(self._model.device), "precision": precision, "threads": self._model.threads}

    def parts(self) -> dict[str, tuple[Any, str]]:
        """See `TimedNetwork`."""
        return {title: (self._model, method) for method, title in PARTS.items()}

    def file_bytes(self) -> int:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.core.resources import shipped_weights

        if self._runtime == "onnx":
            return int(self._model.path.stat().st_size)
        if self._options.random:
            return sum(p.numel() * p.element_size() for p in self._model.parameters())
        return (self._options.weights or shipped_weights(self._encoder)).stat().st_size

    def open(self, scan: Scan) -> None:
        """See `TimedNetwork`."""
        self._scan = scan
        self._state = self._predictor.init_state(scan.voxels, spacing=scan.spacing_mm, window=scan.window)

    def encode(self, index: int) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib import EfficientMedSAM2ImagePredictor

        predictor = EfficientMedSAM2ImagePredictor(self._model)
        predictor.set_image(self._scan.voxels[index], window=self._scan.window, spacing=self._scan.spacing_mm[1:])
        predictor.get_image_embedding()

    def encoder(self) -> Callable[[], object]:
        """See `TimedNetwork`."""
        side = self._model.config.image_size
        image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
        if self._runtime == "onnx":
            from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

            # Alone it may have every thread, where predictors give each of two graphs half of them.
            alone = OnnxNetwork(self._model.path, self._model.threads, streams=1)
            return lambda: alone.encode_image(image)
        import torch

        tensor = torch.from_numpy(image).to(self._model.device)
        return torch.inference_mode()(lambda: self._model.encode_image(tensor))

    def follow(self) -> Iterator[np.ndarray]:
        """See `TimedNetwork`."""
        frames = range(self._state["num_frames"])
        for index, mask, _ in self._predictor.propagate_object(self._state, OBJECT, 0, frames):
            if index > 0:
                yield mask

    def _prompt(self, index: int, **prompt: Any) -> np.ndarray:
        # As a session asks: without the logits of whole slices, for which an exported network would load torch.
        self._predictor.add_new_points_or_box(self._state, index, OBJECT, **prompt, need_output=False)
        mask: np.ndarray = self._predictor.slice_mask(self._state, OBJECT, index)
        return mask

    def contestant(self) -> Contestant:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.evaluation.methods import OurContestant

        return OurContestant(self._model)
