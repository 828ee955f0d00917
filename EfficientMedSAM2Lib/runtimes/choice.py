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

TORCH_PACKAGES = ("torch", "timm", "safetensors")
"""What computing on PyTorch needs."""
ONNX_PACKAGES = ("onnxruntime",)
"""What computing on ONNX Runtime needs, where the network is exported already."""
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
        "onnx" where the CPU is to compute, and an exported network is at hand (the shipped ones are), and where torch
        or what it needs is not installed; else "torch".
    """
    if precision == "int8" or is_exported(checkpoint):
        return "onnx"
    if precision in ("fp16", "bf16"):
        return "torch"
    if not all(installed(name) for name in TORCH_PACKAGES):
        return "onnx"
    if not installed("onnxruntime") or exported_at_hand(encoder_type, checkpoint, "fp32") is None:
        return "torch"
    # A GPU that is asked for and not there is replaced by the CPU.
    return "torch" if str(device) != "cpu" and _has_gpu() else "onnx"


def runs_without_torch(encoder_type: str, checkpoint: str | os.PathLike[str] | None, device: Any) -> bool:
    """Whether ONNX Runtime alone is enough: the network is exported already, and no GPU is asked for by name.

    Raises:
        UserError: The weights are missing.
    """
    if str(device).split(":")[0] not in ("auto", "cpu"):
        return False
    return is_exported(checkpoint) or exported_at_hand(encoder_type, checkpoint, "fp32") is not None


def missing_packages(encoder_type: str, checkpoint: str | os.PathLike[str] | None, device: Any) -> list[str]:
    """Names of the packages that have to be installed first; they are looked for, not imported.

    Arguments and exceptions as `runs_without_torch`.
    """
    for_torch = [name for name in TORCH_PACKAGES if not installed(name)]
    if not for_torch or not runs_without_torch(encoder_type, checkpoint, device):
        return for_torch
    return [name for name in ONNX_PACKAGES if not installed(name)]


def installed(name: str) -> bool:
    """Whether a package can be imported; it is looked for, not imported."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # a half-removed package
        return False


def _has_gpu() -> bool:
    """Whether torch would compute on a GPU; torch is imported only where a driver says that it might."""
    if not may_have_gpu():
        return False
    from EfficientMedSAM2Lib.models.builder import default_device

    return default_device().type != "cpu"


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU that PyTorch might compute on; nothing is imported."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any(Path(path.format_map(os.environ)).exists() for path in _GPU_DRIVERS.get(sys.platform, ()))


__all__ = [
    "ONNX_PACKAGES",
    "TORCH_PACKAGES",
    "choose_runtime",
    "installed",
    "may_have_gpu",
    "missing_packages",
    "runs_without_torch",
]
