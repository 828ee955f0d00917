"""`efficient-medsam2 distill`: one stage of a training."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models import EfficientMedSAM2

DEFAULT_PRECISION = "bf16-mixed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a training stage."""
    parser.add_argument("--data_dir", type=Path, required=True, help="index.json, or a folder of image/label pairs")
    parser.add_argument("--pseudo", type=Path, help="folder of the teacher's pseudo-labels")
    parser.add_argument("--output", type=Path, required=True, help="folder for curve, checkpoints and weights")
    parser.add_argument("--stage", choices=("slices", "clips", "distil"), default="slices")
    parser.add_argument("--encoder_type", default="efficientnet")
    parser.add_argument("--weights", type=Path, help="weights to start from; default: ImageNet trunk, rest random")
    parser.add_argument("--fresh_memory", action="store_true", help="the weights' memory attention is untrained")
    parser.add_argument(
        "--decoder_from",
        type=Path,
        help="take the parts behind the image encoder from these weights; without --weights all but the trunk",
    )
    parser.add_argument("--teacher_checkpoint", type=Path, help="weights to distil from (stage distil)")
    parser.add_argument("--feature_distill_weight", type=float, default=1.0)
    parser.add_argument("--output_distill_weight", type=float, default=1.0)
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    parser.add_argument("--max-minutes", type=float, default=60.0)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--trunk_rate", type=float, default=0.3, help="learning rate of the trunk over the other")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--clip_batch_size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2, help="prompt rounds per sample")
    parser.add_argument(
        "--mixed_precision", nargs="?", const=DEFAULT_PRECISION, default=DEFAULT_PRECISION, metavar="NAME",
        help="bf16-mixed (default), 16-mixed or 32-true",
    )  # fmt: skip
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--seed", type=int, default=0)


def start_model(arguments: argparse.Namespace) -> EfficientMedSAM2:
    """The network a stage starts from."""
    from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, load_model
    from EfficientMedSAM2Lib.training.initialise import copy_parts, load_imagenet_trunk

    if arguments.weights is not None:
        model = load_model(arguments.weights)
        if arguments.fresh_memory:
            model.memory_attention.reset_to_identity()
        if arguments.decoder_from is not None:
            copy_parts(load_model(arguments.decoder_from), model, but="image_encoder.")
        return model
    model = EfficientMedSAM2(ModelConfig(arguments.encoder_type))
    if arguments.encoder_type == "efficientnet":
        load_imagenet_trunk(model)
    if arguments.decoder_from is not None:
        copy_parts(load_model(arguments.decoder_from), model)
    return model


def run(arguments: argparse.Namespace) -> int:
    """Run one stage; returns the exit code.

    Raises:
        ValueError: A file is missing or unusable, or stage distil was given no teacher.
    """
    from EfficientMedSAM2Lib.models import load_model
    from EfficientMedSAM2Lib.training.samples.batches import clip_batches, slice_batches
    from EfficientMedSAM2Lib.training.stages.clips import ClipTraining
    from EfficientMedSAM2Lib.training.stages.distil import DistilledTraining
    from EfficientMedSAM2Lib.training.stages.slices import PromptTraining
    from EfficientMedSAM2Lib.training.train import train

    if arguments.stage == "distil" and arguments.teacher_checkpoint is None:
        raise ValueError("Stage distil needs a teacher; give --teacher_checkpoint FILE.safetensors.")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    model = start_model(arguments)
    options: dict[str, Any] = {
        "learning_rate": arguments.learning_rate,
        "trunk_rate": arguments.trunk_rate,
        "max_minutes": arguments.max_minutes,
        "rounds": arguments.rounds,
        "compile_model": arguments.compile,
        "seed": arguments.seed,
    }
    slices = slice_batches(arguments.data_dir, arguments.pseudo, batch_size=arguments.batch_size, seed=arguments.seed)
    batches: Any = slices
    if arguments.stage == "clips":
        module: PromptTraining = ClipTraining(model, **options)
        clips = clip_batches(arguments.data_dir, batch_size=arguments.clip_batch_size, seed=arguments.seed)
        batches = {"slices": slices, "clips": clips}
    elif arguments.stage == "distil":
        module = DistilledTraining(
            model,
            load_model(arguments.teacher_checkpoint),
            arguments.feature_distill_weight,
            arguments.output_distill_weight,
            **options,
        )
    else:
        module = PromptTraining(model, **options)
    train(module, batches, arguments.output, arguments.resume, arguments.mixed_precision)
    return 0
