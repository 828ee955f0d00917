"""`efficient-medsam2 info`: device, precision, weights and their licence, size of the network, versions."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.pipeline.engine import add_engine_options, build_model, engine_arguments
from EfficientMedSAM2Lib.pipeline.machine import installed_version
from EfficientMedSAM2Lib.runtimes.weights_metadata import weights_metadata

_LIBRARIES = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "SimpleITK", "slicerio", "safetensors")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `info`."""
    add_engine_options(parser)
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    info = collect_info(**engine_arguments(args))
    print(json.dumps(info, indent=2) if args.json else format_info(info))
    return 0


def collect_info(**arguments: Any) -> dict[str, dict[str, Any]]:
    """Facts about this installation and the network it would use, grouped, ready for JSON.

    Args:
        arguments: As for `build_model`, as the errors are.
    """
    from EfficientMedSAM2Lib.core.resources import shipped_weights
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import is_exported, read_description

    model, weights = build_model(**arguments), arguments.get("weights")
    path = Path(weights) if weights else shipped_weights(model.config.encoder_type)
    notes = {"licence": read_description(path).licence} if is_exported(path) else weights_metadata(path)
    parts = dict(model.named_children()) if hasattr(model, "named_children") else {}
    return {
        "computation": {
            "device": _device_name(model.device),
            "runtime": model.runtime,
            "precision": str(model.compute_dtype).replace("torch.", ""),
            "threads": model.threads,
        },
        "weights": {
            "file": str(path),
            "encoder": model.config.encoder_type,
            "megabytes": round(path.stat().st_size / 1e6, 2),
            "licence": notes.get("licence", "not stated in the file"),
        },
        "parameters": {
            "total": model.parameter_count(),
            **{name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        },
        "versions": {
            "efficient-medsam2": __version__,
            "Python": platform.python_version(),
            **{name: installed_version(name) or "not installed" for name in _LIBRARIES},
            "system": platform.platform(),
        },
    }


def format_info(info: dict[str, dict[str, Any]]) -> str:
    """The facts as text, one per line."""
    lines = []
    for group, facts in info.items():
        lines.append(f"{group}:")
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            shown = f"{value:,}" if isinstance(value, int) else value
            lines.append(f"  {name.replace('_', ' '):{width}}  {shown}")
    return "\n".join(lines)


def _device_name(device: Any) -> str:
    if device.type != "cuda":
        return str(device)
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"
