"""Where exported networks lie: those shipped beside the weights, and those made earlier on this machine."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.resources import resource_path, shipped_weights
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import FORMAT, SUFFIX, read_description

CACHE_VARIABLE = "EFFICIENT_MEDSAM2_CACHE"
"""Environment variable: the folder of exported networks, instead of the user's own cache."""


def exported_at_hand(encoder_type: str, checkpoint: str | os.PathLike[str] | None, precision: str) -> Path | None:
    """The exported form of some weights, shipped or made earlier; None when there is none.

    Arguments as `build.exported_file`.

    Raises:
        UserError: The weights are missing.
    """
    sha256 = weights_sha256(encoder_type, checkpoint)
    if not sha256:
        return None
    shipped = resource_path("Models", exported_name(encoder_type, precision))
    # One made from other weights is of no use.
    if shipped.is_file() and read_description(shipped).weights_sha256 == sha256:
        return shipped
    cached = cached_file(sha256, precision)
    return cached if cached.is_file() else None


def weights_sha256(encoder_type: str, checkpoint: str | os.PathLike[str] | None) -> str:
    """SHA-256 of the weights file; empty for random weights, which are others each time.

    Raises:
        UserError: The weights are missing.
    """
    if str(checkpoint) == "random":
        return ""
    weights = Path(checkpoint) if checkpoint is not None else shipped_weights(encoder_type)
    if not weights.is_file():
        raise UserError(f"Weights file {weights} does not exist; give the path of a .safetensors or .pth file.")
    state = weights.stat()
    return _sha256_of_version(weights, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _sha256_of_version(weights: Path, _mtime_ns: int, _size: int) -> str:
    """Whoever builds a network asks more than once, and 7 MB take 25 ms."""
    return sha256_of(weights)


def cached_file(sha256: str, precision: str) -> Path:
    """Where the exported form of weights with this hash is kept, whether it is there or not."""
    return cache_folder() / f"{sha256[:24]}-{precision}-{FORMAT}{SUFFIX}"


def exported_name(encoder_type: str, precision: str) -> str:
    """File name of an exported network beside the shipped weights."""
    return f"efficient_medsam2_{encoder_type}_{precision}{SUFFIX}"


def cache_folder() -> Path:
    """Where exported networks are kept: named by `CACHE_VARIABLE`, else in the user's own cache."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "efficient-medsam2"


__all__ = ["CACHE_VARIABLE", "cache_folder", "cached_file", "exported_at_hand", "exported_name", "weights_sha256"]
