"""`efficient-medsam2 distill`: one stage of a training."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.options import add_option

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining
    from EfficientMedSAM2Lib.models import EfficientMedSAM2

# As learning/precision.py, which needs torch.
PRECISIONS = ("auto", "bf16-mixed", "16-mixed", "32-true")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a training stage."""
    add_option(
        parser,
        "--data-dir",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="one or several index.json, or folders of image/label pairs or .npz",
    )
    parser.add_argument("--pseudo", type=Path, help="folder of the teacher's pseudo-labels")
    add_option(
        parser,
        "--leave-out",
        nargs="+",
        metavar="SET",
        default=[],
        help="data sets of which nothing is used: no labels, no pseudo-labels, no shapes in synthesis",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for curve, checkpoints and weights")
    parser.add_argument(
        "--stage",
        choices=("distil", "slices", "clips", "imitation", "context"),
        default="distil",
        help="distil: learn from a teacher, and from labels (default); slices: prompts on slices; clips: memory too; "
        "imitation: answer as an exported network with the same encoder does, on slices and clips; "
        "context: how far objects go, in cubes of volumes, for the 3D part alone",
    )
    _add_network_arguments(parser.add_argument_group("network"))
    _add_teacher_arguments(parser.add_argument_group("teacher (stages distil and imitation)"))
    parser.add_argument("--resume", type=Path, help="checkpoint to go on from")
    add_option(parser, "--max-minutes", type=float, default=60.0)
    add_option(parser, "--max-steps", type=int, metavar="N", help="end after N steps, if the minutes last so long")
    add_option(parser, "--learning-rate", type=float, default=1e-3)
    add_option(parser, "--trunk-rate", type=float, default=0.3, help="learning rate of the trunk over the other")
    add_option(parser, "--frozen-encoder", action="store_true", help="train only what stands behind the image encoder")
    add_option(parser, "--fixed-statistics", action="store_true", help="keep batch normalisation's, for small batches")
    add_option(
        parser,
        "--train-only",
        nargs="+",
        metavar="NAME",
        default=[],
        help="train only parameters whose names begin so, such as mask_decoder.iou_head",
    )
    add_option(parser, "--batch-size", type=int, default=16, help="slices per step and device")
    parser.add_argument("--rounds", type=int, default=2, help="prompt rounds per sample")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, the samples and the prompts")
    clips = parser.add_argument_group("clips (stages clips and imitation)")
    add_option(clips, "--clip-batch-size", type=int, default=8, help="clips per step and device")
    add_option(clips, "--clip-length", type=int, default=4, help="slices per clip, two or more (default: 4)")
    add_option(
        clips,
        "--learned-slices",
        type=int,
        metavar="N",
        help="learn from N slices in a row somewhere in each clip; those before are followed as in use (default: all)",
    )
    clips.add_argument(
        "--wide",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of clips in a field of view larger than about 2.6 times the object (default: 0.2)",
    )
    cubes = parser.add_argument_group("cubes (stage context)")
    add_option(cubes, "--cube-batch-size", type=int, default=4, help="cubes per step and device (default: 4)")
    cubes.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help="draw cubes into this folder first, and train on those; where it is full, no image is read",
    )
    add_option(cubes, "--cached-cubes", type=int, default=4000, metavar="N", help="in that folder (default: 4000)")
    machine = parser.add_argument_group("machine")
    add_option(
        machine,
        "--mixed-precision",
        nargs="?",
        const="auto",
        default="auto",
        choices=PRECISIONS,
        help="default, and without a value: auto, which is bf16-mixed where the GPU or CPU has bfloat16, else 16-mixed "
        "on a GPU and 32-true on a CPU",
    )
    machine.add_argument("--devices", type=_devices, default=1, help="number of GPUs, or auto; several train with DDP")
    machine.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw samples (default: 1)")
    add_option(machine, "--gradient-checkpointing", action="store_true", help="less memory for more time")
    add_option(machine, "--no-compile", dest="compile", action="store_false")


def _add_network_arguments(group: argparse._ArgumentGroup) -> None:
    add_option(
        group,
        "--encoder",
        also=("--encoder-type", "--encoder_type"),
        default="efficientnet",
        metavar="NAME",
        help="efficientnet (default) or mobilenet",
    )
    group.add_argument("--weights", type=Path, help="weights to start from; default: ImageNet trunk, rest random")
    group.add_argument("--grow", action="store_true", help="give the weights' network masks of stride 2, if it has not")
    add_option(group, "--fresh-memory", action="store_true", help="the weights' memory attention is untrained")
    add_option(
        group,
        "--decoder-from",
        type=Path,
        help="take the parts behind the image encoder from these weights; without --weights all but the trunk",
    )


def _add_teacher_arguments(group: argparse._ArgumentGroup) -> None:
    add_option(
        group,
        "--teacher-checkpoint",
        type=Path,
        help="default: LiteMedSAM; .safetensors, .pth: weights of this program; .pt, .pth: MedSAM2 or SAM2.1-Hiera-T; "
        "for imitation an .onnx.zip of `efficient-medsam2 export`",
    )
    add_option(
        group, "--feature-distill-weight", type=float, default=1.0, help="of the teacher's features; 0: not wanted"
    )
    add_option(group, "--output-distill-weight", type=float, default=1.0, help="of the teacher's masks; 0: not wanted")
    add_option(
        group,
        "--teacher-views",
        type=int,
        default=2000,
        help="how many different views a teacher of another kind is asked about (default: 2000)",
    )
    add_option(group, "--teacher-cache", type=Path, help="folder for its answers (default: OUTPUT/teacher_cache)")
    add_option(group, "--teacher-cache-gb", type=float, default=10.0, help="size of that folder at most (default: 10)")


def _devices(text: str) -> int | str:
    if text == "auto" or (text.isdigit() and int(text) > 0):
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"'{text}' is neither a number of devices nor auto")


def start_model(arguments: argparse.Namespace) -> EfficientMedSAM2:
    """The network a stage starts from."""
    from EfficientMedSAM2Lib.learning.initialise import copy_parts, grown, load_imagenet_trunk, with_context
    from EfficientMedSAM2Lib.models import EfficientMedSAM2, ModelConfig, load_model

    if arguments.weights is not None:
        model = load_model(arguments.weights)
        if arguments.stage == "context":
            model = with_context(model)
        if arguments.grow and not model.config.is_fine:
            model = grown(model)
        if arguments.fresh_memory:
            model.memory_attention.reset_to_identity()
        if arguments.decoder_from is not None:
            copy_parts(load_model(arguments.decoder_from), model, but="image_encoder.")
        return model
    model = EfficientMedSAM2(ModelConfig(arguments.encoder))
    if arguments.encoder == "efficientnet":
        load_imagenet_trunk(model)
    if arguments.decoder_from is not None:
        copy_parts(load_model(arguments.decoder_from), model)
    return model


def run(arguments: argparse.Namespace) -> int:
    """Run one stage; returns the exit code.

    Raises:
        UserError: A file is missing or unusable, or an option makes no sense.
    """
    import torch

    from EfficientMedSAM2Lib.learning.precision import choose_precision
    from EfficientMedSAM2Lib.learning.train import train

    _check(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    arguments.mixed_precision = choose_precision(arguments.mixed_precision)
    torch.manual_seed(arguments.seed)
    model = start_model(arguments)
    if arguments.gradient_checkpointing:
        model.set_gradient_checkpointing()
    module, batches = _stage(arguments, model)
    train(
        module,
        batches,
        arguments.output,
        arguments.resume,
        arguments.mixed_precision,
        arguments.devices,
        arguments.workers,
    )
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is read."""
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import is_exported

    if arguments.max_steps is not None and arguments.max_steps < 1:
        raise UserError(f"--max-steps is {arguments.max_steps}; give 1 or more.")
    if arguments.clip_length < 2:
        raise UserError(f"A clip of {arguments.clip_length} slices has no memory; give --clip-length 2 or more.")
    if arguments.learned_slices is not None and not 1 <= arguments.learned_slices <= arguments.clip_length:
        raise UserError(f"--learned-slices has to be between 1 and --clip-length ({arguments.clip_length}).")
    if not 0 <= arguments.wide <= 1:
        raise UserError(f"--wide is a share between 0 and 1, not {arguments.wide:g}.")
    if min(arguments.feature_distill_weight, arguments.output_distill_weight) < 0:
        raise UserError("Weights of distillation cannot be negative.")
    if arguments.stage == "distil" and arguments.feature_distill_weight == arguments.output_distill_weight == 0:
        raise UserError("Neither features nor masks are to be distilled; give one a weight, or use --stage slices.")
    if is_exported(arguments.teacher_checkpoint) != (arguments.stage == "imitation"):
        raise UserError(
            "--stage imitation takes an exported network (.onnx.zip) for --teacher-checkpoint, no other does."
        )
    if min(arguments.cube_batch_size, arguments.cached_cubes) < 1 or arguments.workers < 0:
        raise UserError("--cube-batch-size and --cached-cubes have to be 1 or more, --workers 0 or more.")
    if arguments.cache is not None and arguments.stage != "context":
        raise UserError("--cache keeps cubes, of which --stage context learns; leave it out.")
    if arguments.teacher_views < 1:
        raise UserError("--teacher-views has to be 1 or more.")
    if arguments.cache is not None and arguments.leave_out:
        raise UserError("A cache holds cubes of all data sets; leave out --cache, or --leave-out.")
    if arguments.stage == "context" and arguments.weights is None:
        raise UserError("--stage context adds a 3D part to a network that is trained already; name it by --weights.")
    for path in (arguments.resume, arguments.weights, arguments.decoder_from, arguments.teacher_checkpoint):
        if path is not None and not path.is_file():
            raise UserError(f"{path} does not exist.")


def _stage(arguments: argparse.Namespace, model: EfficientMedSAM2) -> tuple[PromptTraining, Any]:
    """What is trained, and the batches it is trained on."""
    from EfficientMedSAM2Lib.learning.samples.batches import clip_batches, slice_batches
    from EfficientMedSAM2Lib.learning.stages.clips import ClipTraining
    from EfficientMedSAM2Lib.learning.stages.imitation import ImitationTraining
    from EfficientMedSAM2Lib.learning.stages.slices import PromptTraining
    from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

    same_names = ("learning_rate", "trunk_rate", "max_minutes", "max_steps", "rounds", "seed")
    same_flags = ("frozen_encoder", "fixed_statistics")
    options: dict[str, Any] = {name: getattr(arguments, name) for name in (*same_names, *same_flags)}
    options.update(compile_model=arguments.compile, train_only=tuple(arguments.train_only))
    if arguments.stage == "context":
        from EfficientMedSAM2Lib.learning.stages.context import ContextTraining

        return ContextTraining(model, **options), _cubes(arguments, model)
    module, views = None, None
    if arguments.stage == "distil":
        module, views = _distillation(arguments, model, options)
    slices = slice_batches(
        arguments.data_dir,
        arguments.pseudo,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        views=views,
        leave_out=arguments.leave_out,
    )
    if arguments.stage in ("clips", "imitation"):
        clips = clip_batches(
            arguments.data_dir,
            batch_size=arguments.clip_batch_size,
            length=arguments.clip_length,
            seed=arguments.seed,
            wide_probability=arguments.wide,
            leave_out=arguments.leave_out,
        )
        both = {"slices": slices, "clips": clips}
        if arguments.stage == "clips":
            return ClipTraining(model, arguments.learned_slices, **options), both
        teacher = OnnxNetwork(arguments.teacher_checkpoint, streams=1)
        weight = arguments.output_distill_weight
        return ImitationTraining(model, teacher, weight, learned_slices=arguments.learned_slices, **options), both
    return module or PromptTraining(model, **options), slices


def _cubes(arguments: argparse.Namespace, model: EfficientMedSAM2) -> Any:
    """Batches of cubes, from the cache where there is to be one."""
    from tqdm import tqdm

    from EfficientMedSAM2Lib.learning.samples.cubes.batches import cube_batches, cube_source
    from EfficientMedSAM2Lib.learning.samples.cubes.cache import CachedCubes, fill_cache, missing_files

    assert model.config.context is not None
    size, seed, batch_size = model.config.context.size, arguments.seed, arguments.cube_batch_size
    if arguments.cache is None:
        return cube_batches(cube_source(arguments.data_dir, None, size, arguments.leave_out), batch_size, seed)
    missing = missing_files(arguments.cache, arguments.cached_cubes)
    if missing:
        source = cube_source(arguments.data_dir, size=size)
        for _ in tqdm(fill_cache(missing, source, seed), total=len(missing), desc="drawing cubes", unit="file"):
            pass
    return cube_batches(CachedCubes(arguments.cache), batch_size, seed)


def _distillation(
    arguments: argparse.Namespace, model: EfficientMedSAM2, options: dict[str, Any]
) -> tuple[PromptTraining, int | None]:
    """The stage for the teacher that the checkpoint means, and how many views it needs: None for new ones for ever."""
    import torch

    from EfficientMedSAM2Lib.learning.stages.distil import DistilledTraining, same_sizes
    from EfficientMedSAM2Lib.learning.stages.foreign import ForeignDistillation
    from EfficientMedSAM2Lib.learning.teachers.cache import TargetCache
    from EfficientMedSAM2Lib.learning.teachers.choose import is_efficient_medsam2, load_teacher
    from EfficientMedSAM2Lib.learning.teachers.targets import TeacherTargetSource
    from EfficientMedSAM2Lib.models import load_model

    feature_weight, output_weight = arguments.feature_distill_weight, arguments.output_distill_weight
    if is_efficient_medsam2(arguments.teacher_checkpoint):
        teacher = load_model(arguments.teacher_checkpoint, for_inference=True)
        if same_sizes(teacher.config, model.config):
            return DistilledTraining(model, teacher, feature_weight, output_weight, **options), None
    # Each process of DDP has a GPU and a teacher of its own.
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    precision = "bfloat16" if arguments.mixed_precision == "bf16-mixed" else "float32"
    folder = arguments.teacher_cache or arguments.output / "teacher_cache"
    targets = TeacherTargetSource(
        load_teacher(arguments.teacher_checkpoint, device, precision),
        TargetCache(folder, int(arguments.teacher_cache_gb * 2**30)),
        model.config.low_res_size,
        features=feature_weight > 0,
        masks=output_weight > 0,
    )
    return ForeignDistillation(model, targets, feature_weight, output_weight, **options), arguments.teacher_views
