"""Peak memory and speed of propagation: `python -m EfficientMedSAM2Lib.evaluation.benchmark.memory`.

Follows a bright ellipsoid in noise through a short and a long volume, each in a process of its own, and prints the
peaks and their ratio: once as the system sees them, with the volume that the caller holds, and once without it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MEBIBYTE = 2**20
REPEATS = 5


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description="Peak memory and speed of propagation in a long and a short volume.")
    parser.add_argument("--slices", type=int, nargs=2, default=[60, 300], metavar="N", help="default: 60 300")
    parser.add_argument("--size", type=int, default=512, help="side of a slice in pixels; default: 512")
    parser.add_argument("--encoder", default="efficientnet", metavar="NAME", help="efficientnet (default) or mobilenet")
    parser.add_argument(
        "--weights", metavar="FILE", help=".safetensors or .pth file, or 'random'; default: the shipped"
    )
    parser.add_argument("--runtime", default="auto", choices=("auto", "torch", "onnx"), help="default: auto")
    parser.add_argument("--measure", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure is not None:
        sys.stdout.write(
            json.dumps(measure(options.measure, options.size, options.encoder, options.weights, options.runtime)) + "\n"
        )
        return 0
    rows = [_in_fresh_process(count, options) for count in options.slices]
    for row in rows:
        sys.stdout.write(
            f"{row['slices']:4.0f} slices  peak {row['peak_mb']:7.1f} MB  volume {row['volume_mb']:6.1f} MB  "
            f"peak without volume {row['peak_mb'] - row['volume_mb']:7.1f} MB  "
            f"{row['slices_per_second']:5.1f} slices/s  "
            f"first click {row['first_click_ms']:5.0f} ms  next click {row['next_click_ms']:5.0f} ms  "
            f"box {row['box_ms']:5.0f} ms\n"
        )
    short, long = rows
    with_volume = long["peak_mb"] / short["peak_mb"]
    without = (long["peak_mb"] - long["volume_mb"]) / (short["peak_mb"] - short["volume_mb"])
    sys.stdout.write(
        f"ratio {long['slices']:.0f} : {short['slices']:.0f} slices  {without:.3f} without the volume itself, "
        f"{with_volume:.3f} with it\n"
    )
    return 0


def _in_fresh_process(count: int, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--measure", str(count)]
    command += ["--size", str(options.size), "--encoder", options.encoder, "--runtime", options.runtime]
    command += ["--weights", options.weights] if options.weights else []
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(slices: int, size: int, encoder: str, weights: str | None, runtime: str = "auto") -> dict[str, float]:
    """Segment one object through a volume from a box on its middle slice, both ways.

    Args:
        slices: Slices of the volume.
        size: Rows and columns of a slice.
        encoder: Name of the encoder.
        weights: Weights file, "random", or None for the shipped ones.
        runtime: "torch", "onnx", or "auto" for the one that the commands take.

    Returns:
        Peak memory of this process and the volume's in MB, slices per second, milliseconds from prompt to mask.
    """
    from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
    from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

    volume, box, centre = phantom(slices, size)
    predictor = EfficientMedSAM2VolumePredictor(build_efficient_medsam2_model(encoder, weights, runtime=runtime))
    state = predictor.init_state(volume, spacing=(2.5, 0.8, 0.8), modality="CT", window=(-160, 240))
    middle = slices // 2
    # As a session asks: without the logits of whole slices, for which an exported network would load torch.
    predictor.add_new_points_or_box(state, middle, "warm up", box=box, need_output=False)
    predictor.remove_object(state, "warm up", need_output=False)

    predictor.add_new_points_or_box(state, middle, 1, box=box, need_output=False)
    start = time.perf_counter()
    steps = 0
    for reverse in (False, True):
        frames = range(middle, -1, -1) if reverse else range(middle, slices)
        for _ in predictor.propagate_object(state, 1, middle, frames, reverse=reverse):
            steps += 1
    seconds = time.perf_counter() - start
    peak = peak_memory()

    def prompt(frame_idx: int, **kwargs: Any) -> None:
        predictor.add_new_points_or_box(state, frame_idx, "clicks", **kwargs, need_output=False)

    fresh = itertools.cycle(range(slices))
    click: dict[str, Any] = {"points": [centre], "labels": [1]}
    return {
        "slices": slices,
        "volume_mb": volume.nbytes / MEBIBYTE,
        "peak_mb": peak / MEBIBYTE,
        "slices_per_second": steps / seconds,
        "first_click_ms": _median_ms(lambda: _alone(predictor, state, lambda: prompt(next(fresh), **click))),
        "next_click_ms": _median_ms(lambda: prompt(middle, **click)),
        "box_ms": _median_ms(lambda: _alone(predictor, state, lambda: prompt(next(fresh), box=box))),
    }


def _alone(predictor: Any, state: Any, action: Callable[[], None]) -> None:
    # An object on another slice would be taken into account.
    predictor.restore_object(state, "clicks", None)
    action()


def phantom(slices: int, size: int) -> tuple[np.ndarray, list[int], list[int]]:
    """An ellipsoid of 80 HU in noise around 0 HU that fills nine tenths of the slices.

    Returns:
        The volume int16 (slices,size,size), its box XYXY on the middle slice, and its centre (x, y).
    """
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 20, (size, size)).astype(np.int16)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    centre, radius = (0.45 * size, 0.55 * size), 0.15 * size
    distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
    volume = np.empty((slices, size, size), np.int16)
    for k in range(slices):
        share = 1 - ((k - slices / 2) / (0.45 * slices)) ** 2
        volume[k] = np.roll(noise, 7 * k) + np.where(distance < radius**2 * share, 80, 0).astype(np.int16)
    box = [int(centre[0] - radius), int(centre[1] - radius), int(centre[0] + radius), int(centre[1] + radius)]
    return volume, box, [int(centre[0]), int(centre[1])]


def peak_memory() -> int:
    """Most bytes that this process has had in memory; 0 where the system does not tell."""
    # Unlike getrusage, the status does not count what the parent had before it started us.
    found = _status("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int:
    """Bytes that this process has in memory now; where the system does not tell, the most that it has had."""
    found = _status("VmRSS")
    return peak_memory() if found is None else found


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _median_ms(action: Callable[[], None]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000


if __name__ == "__main__":
    sys.exit(main())
