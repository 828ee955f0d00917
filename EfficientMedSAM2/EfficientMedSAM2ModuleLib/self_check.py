"""Loads the network and reports its device, its precision and how long a slice takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from EfficientMedSAM2Lib.runtimes.choice import installed

ROUNDS = 3


@dataclass(frozen=True)
class CheckReport:
    """What the network runs on.

    Attributes:
        device: Such as "cpu" or "cuda:0".
        device_reason: Why this one.
        precision: Such as "float32".
        precision_reason: Why this one.
        milliseconds: Time for one click on a new slice, the best of a few after one to warm up.
    """

    device: str
    device_reason: str
    precision: str
    precision_reason: str
    milliseconds: float


def check_network(build_arguments: dict[str, Any]) -> CheckReport:
    """Load the network and click once on a made-up slice.

    Args:
        build_arguments: For ``build_efficient_medsam2_model``.

    Raises:
        UserError: The network cannot be built; says why.
        ImportError: A package is missing or broken.
    """
    import numpy as np

    from EfficientMedSAM2Lib import EfficientMedSAM2ImagePredictor, build_efficient_medsam2_model

    model = build_efficient_medsam2_model(**build_arguments, runtime="auto")
    predictor = EfficientMedSAM2ImagePredictor(model)
    image = np.linspace(0.0, 1.0, 256 * 256, dtype=np.float32).reshape(256, 256)
    times = []
    for _round in range(1 + ROUNDS):
        started = time.perf_counter()
        predictor.set_image(image)
        predictor.predict(point_coords=np.array([[128.0, 128.0]]), point_labels=np.array([1]))
        times.append((time.perf_counter() - started) * 1000.0)
        image = np.ascontiguousarray(image.T)  # another slice, which is not in the cache
    milliseconds = min(times[1:])  # the first one is slower: memory is reserved, kernels are chosen
    device, precision = model.device, str(model.compute_dtype).replace("torch.", "")
    return CheckReport(
        device=_device_name(model),
        device_reason=_device_reason(device, str(build_arguments["device"])),
        precision=precision,
        precision_reason=_precision_reason(device.type, precision, bool(build_arguments["use_half_precision"])),
        milliseconds=milliseconds,
    )


def _device_name(model: Any) -> str:
    if model.device.type == "cuda":
        import torch

        return f"{model.device} ({torch.cuda.get_device_name(model.device)})"
    if model.device.type != "cpu":
        return str(model.device)
    return f"cpu ({model.runtime}, {model.threads} thread{'s' if model.threads > 1 else ''})"


def _device_reason(device: Any, wanted: str) -> str:
    if wanted != "auto":
        return "chosen by you"
    if device.type == "cuda":
        return "PyTorch finds an NVIDIA GPU"
    if device.type == "mps":
        return "PyTorch finds an Apple GPU"
    if not installed("torch"):
        return "PyTorch is not installed, which only a GPU needs"
    import torch

    if torch.version.cuda is None:
        return "this PyTorch was built without GPU support, or there is none for this computer"
    return "PyTorch finds no NVIDIA GPU with a driver that fits"


def _precision_reason(device: str, precision: str, half_wanted: bool) -> str:
    if not half_wanted:
        return "half precision is off"
    if precision == "float16":
        return "half precision on the GPU"
    if precision == "bfloat16":
        return "this processor computes in bfloat16"
    return "this processor computes fastest so" if device == "cpu" else "half precision is not available here"
