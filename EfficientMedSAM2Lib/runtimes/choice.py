"""Which runtime a network gets where nobody says: ONNX Runtime on a CPU, torch everywhere else.

Measured on two cores with one of them taken by another program (`evaluation.benchmark.memory --runtime`): 15.6 slices a
second on ONNX Runtime, 2.9 on torch, whose threads wait busily for one that has lost its core; idle 17.8 and 14.9. And
it starts in a fifth of the time, since nothing imports torch.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.runtimes.exported import exported_at_hand
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import is_exported

_GPU_DRIVERS = {
    "linux": ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/kfd", "/dev/dxg"),
    "win32": (r"{SystemRoot}\System32\nvcuda.dll",),
}
"""Files that are there where a driver is: NVIDIA's, AMD's, and that of Windows' subsystem for Linux."""


def choose_runtime(
    encoder_type: str, checkpoint: str | os.PathLike[str] | None, device: Any, precision: str | None
) -> str:
    """The runtime for "auto"; arguments as `build_efficient_medsam2_model`.

    Returns:
        "onnx" where an exported network is at hand (the shipped ones are), or torch is not installed, and the CPU is to
        compute; else "torch".
    """
    if precision == "int8" or is_exported(checkpoint):
        return "onnx"
    if precision in ("fp16", "bf16"):
        return "torch"
    if not installed("torch"):
        return "onnx"
    if not installed("onnxruntime") or exported_at_hand(encoder_type, checkpoint, "fp32") is None:
        return "torch"
    # A GPU that is asked for and not there is replaced by the CPU.
    return "torch" if str(device) != "cpu" and _has_gpu() else "onnx"


def installed(name: str) -> bool:
    """Whether a package can be imported; it is looked for, not imported."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a half-removed package
        return False


def _has_gpu() -> bool:
    """Whether torch would compute on a GPU; torch is imported only where a driver says that it might."""
    if not _may_have_gpu():
        return False
    from EfficientMedSAM2Lib.models.builder import default_device

    return default_device().type != "cpu"


def _may_have_gpu() -> bool:
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(path.format_map(os.environ)).exists() for path in _GPU_DRIVERS.get(sys.platform, ()))


__all__ = ["choose_runtime", "installed"]
