"""Distil MedSAM2 into this network: the first published command line over `efficient-medsam2 distill`.

    python efficient_medsam2/examples/knowledge_distillation.py --data_dir FOLDER \
        --teacher_checkpoint medsam2_model.pth --encoder_type mobilenet --mixed_precision \
        --feature_distill_weight 10.0 --output_distill_weight 1.0
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from EfficientMedSAM2Lib.cli import main as run_command

FINAL_MODEL = "final_model.pth"
UNLIMITED_MINUTES = 60 * 24 * 30
#: Options that were published and have no counterpart: the training does these things in its own way.
WITHOUT_EFFECT = {
    "val_data_dir": None,
    "weight_decay": 1e-5,
    "temperature": 2.0,
    "save_freq": 5,
    "val_freq": 1,
    "log_freq": 100,
    "num_workers": 4,
    "gradient_accumulation": 1,
}


def parser() -> argparse.ArgumentParser:
    """The options as they were published, with their defaults."""
    options = argparse.ArgumentParser(description="Knowledge distillation for EfficientMedSAM2")
    add = options.add_argument
    add("--data_dir", required=True, help="folder of .npz files (image and label, or imgs and gts) or of image pairs")
    add("--teacher_checkpoint", required=True, help="MedSAM2's checkpoint, or weights of this network")
    add("--student_checkpoint", help="weights to go on from")
    add("--encoder_type", default="mobilenet", choices=("mobilenet", "efficientnet"))
    add("--batch_size", type=int, default=2)
    add("--epochs", type=int, default=50, help="passes over the images; default: 50")
    add("--lr", type=float, default=1e-4, help="learning rate; default: 1e-4")
    add("--feature_distill_weight", type=float, default=10.0)
    add("--output_distill_weight", type=float, default=1.0)
    add("--save_dir", default="./checkpoints", help=f"for {FINAL_MODEL}, model.safetensors and the curve")
    add("--decoupled_distillation", action="store_true", help="the encoder alone for half of the epochs, then all")
    add("--mixed_precision", action="store_true", help="bfloat16; without it float32")
    add("--freeze_decoder", action="store_true", help="train the image encoder alone")
    for name, default in WITHOUT_EFFECT.items():
        add(f"--{name}", type=str if default is None else type(default), default=default, help="has no effect here")
    return options


def commands(args: argparse.Namespace) -> list[list[str]]:
    """The runs of `efficient-medsam2 distill` that mean the same, one after the other."""
    steps = args.epochs * math.ceil(_count_images(args.data_dir) / args.batch_size)
    if args.decoupled_distillation and not args.freeze_decoder and steps > 1:
        first = Path(args.save_dir) / "encoder"
        weights = str(first / "model.safetensors")
        return [
            _command(args, steps // 2, str(first), args.student_checkpoint, encoder_only=True),
            _command(args, steps - steps // 2, args.save_dir, weights, encoder_only=False),
        ]
    return [_command(args, steps, args.save_dir, args.student_checkpoint, args.freeze_decoder)]


def _command(args: argparse.Namespace, steps: int, output: str, weights: str | None, encoder_only: bool) -> list[str]:
    return [
        "distill",
        "--data_dir",
        args.data_dir,
        "--teacher_checkpoint",
        args.teacher_checkpoint,
        "--output",
        output,
        "--encoder_type",
        args.encoder_type,
        "--batch_size",
        str(args.batch_size),
        "--learning_rate",
        str(args.lr),
        "--max_steps",
        str(steps),
        "--max-minutes",
        str(UNLIMITED_MINUTES),
        "--feature_distill_weight",
        str(args.feature_distill_weight),
        "--output_distill_weight",
        str(args.output_distill_weight),
        "--mixed_precision",
        *([] if args.mixed_precision else ["32-true"]),
        *(["--weights", weights] if weights else []),
        *(["--train_only", "image_encoder"] if encoder_only else []),
    ]


def _count_images(data_dir: str) -> int:
    from EfficientMedSAM2Lib.evaluation.dataset.manifest import read_manifest

    return max(1, len(read_manifest(data_dir).select(labelled=True)))


def _write_state_dict(folder: Path) -> Path:
    """The trained weights as a state dict too, which is what scripts of that time load."""
    import torch

    from EfficientMedSAM2Lib.models import load_model

    path = folder / FINAL_MODEL
    torch.save({"model": load_model(folder / "model.safetensors").state_dict()}, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; the exit code of the command."""
    args = parser().parse_args(arguments)
    ignored = [f"--{name}" for name, default in WITHOUT_EFFECT.items() if getattr(args, name) != default]
    if ignored:
        print(f"Without effect here: {', '.join(ignored)}.", file=sys.stderr)
    if min(args.epochs, args.batch_size) < 1:
        print("--epochs and --batch_size have to be 1 or more.", file=sys.stderr)
        return 2
    try:
        runs = commands(args)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for run in runs:
        code = run_command(run)
        if code:
            return code
    print(f"Written {_write_state_dict(Path(args.save_dir))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
