"""Compare this network with MedSAM2's: the first published command line over `efficient-medsam2 benchmark`.

    python efficient_medsam2/examples/benchmark_medsam2_models.py --data_dir FOLDER \
        --original_model medsam2_model.pth --efficient_model efficient_medsam2_model.pth --save_visualizations
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from EfficientMedSAM2Lib.cli import main as run_command
from EfficientMedSAM2Lib.evaluation.benchmark.networks import EFFICIENT_MEDSAM2

SLICES = 20  # propagated through by every network; a slice of MedSAM2 takes seconds on a CPU


def parser() -> argparse.ArgumentParser:
    """The options as they were published."""
    options = argparse.ArgumentParser(description="Benchmark EfficientMedSAM2 beside MedSAM2")
    add = options.add_argument
    add("--data_dir", required=True, help="folder of .npz files (image and label, or imgs and gts), or one file")
    add("--output_dir", default="./benchmark_results", help="for tables, plots and pictures")
    add("--original_model", required=True, help="MedSAM2's checkpoint")
    add("--efficient_model", required=True, help="weights of EfficientMedSAM2, .pth or .safetensors")
    add("--num_samples", type=int, default=10, help="labelled slices that accuracy is measured on")
    add("--device", default="auto", help="cuda or cpu; default: a GPU where there is one")
    add("--fp16", action="store_true", help="half precision, which is what a GPU computes in anyway")
    add("--quantize", action="store_true", help="measure INT8 too (EfficientNet)")
    add("--save_visualizations", action="store_true", help="masks side by side")
    add("--encoder_type", choices=("mobilenet", "efficientnet"), help="default: what the weights are for")
    return options


def command(arguments: Sequence[str] | None = None) -> list[str]:
    """The arguments of `efficient-medsam2` that mean the same."""
    from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

    args = parser().parse_args(arguments)
    encoder = args.encoder_type or encoder_of(args.efficient_model)
    variants = [name for name in EFFICIENT_MEDSAM2 if name == encoder or (args.quantize and name == f"{encoder}-int8")]
    return [
        "benchmark",
        "--data_dir",
        args.data_dir,
        "--original_model",
        args.original_model,
        "--efficient_model",
        args.efficient_model,
        "--output",
        args.output_dir,
        "--objects",
        str(args.num_samples),
        "--device",
        args.device,
        "--slices",
        str(SLICES),
        "--original_slices",
        str(SLICES),
        "--repeats",
        "1",
        "--model",
        *variants,
        "medsam2",
        *(["--save_visualizations"] if args.save_visualizations else []),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit code of the command."""
    try:
        return run_command(command(arguments))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
