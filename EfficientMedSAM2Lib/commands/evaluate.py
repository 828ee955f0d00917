"""The command `efficient-medsam2 evaluate`: arguments, progress, files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import output_folder
from EfficientMedSAM2Lib.evaluation.cases import ObjectCase, choose_cases
from EfficientMedSAM2Lib.evaluation.cvpr25.run import CVPR25, run_cvpr25
from EfficientMedSAM2Lib.evaluation.dataset.sample import sample_image
from EfficientMedSAM2Lib.evaluation.methods import CopyMaskMethod, EfficientMedSAM2Method, method_builders
from EfficientMedSAM2Lib.evaluation.methods.interface import LASSO, MASK, SCRIBBLE, SegmentationMethod
from EfficientMedSAM2Lib.evaluation.protocols import PROTOCOLS, VOLUME_PROTOCOLS, Record, check_protocol, run_protocol
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.pipeline.engine import add_engine_options
from EfficientMedSAM2Lib.pipeline.options import given_options

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage

T = TypeVar("T")
EFFICIENT_MEDSAM2 = EfficientMedSAM2Method.name
MODELS = (EFFICIENT_MEDSAM2, "litemedsam", "ellipse", "growfromseeds", CopyMaskMethod.name)
DEFAULT_MODELS = (EFFICIENT_MEDSAM2, "ellipse")
#: Where a protocol gives what the ellipse cannot take.
DEFAULTS = {MASK: (EFFICIENT_MEDSAM2, CopyMaskMethod.name), SCRIBBLE: (EFFICIENT_MEDSAM2,), LASSO: (EFFICIENT_MEDSAM2,)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; `--encoder`, `--weights` and `--device` are for EfficientMedSAM2."""
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="PATH",
        help="index.json, or a folder of image/label pairs or .npz; default: the sample CT with its reference",
    )
    parser.add_argument(
        "--model",
        nargs="+",
        type=_model_name,
        choices=MODELS,
        help=f"compared side by side; default: {' '.join(DEFAULT_MODELS)}, for mask copymask instead of ellipse, for "
        f"scribble, lasso and cvpr25 {EFFICIENT_MEDSAM2} alone",
    )
    parser.add_argument(
        "--protocol",
        choices=(*PROTOCOLS, CVPR25),
        default="box",
        help="default: box; scribble: one on the object, one beside it; lasso: drawn loosely; "
        "mask: of an object's first slice, followed to its last; cvpr25: the challenge's, a box and "
        "five clicks in 3D",
    )
    split_help = "default: dev of an index.json, all of a folder"
    parser.add_argument("--split", choices=("train", "dev", "all"), help=split_help)
    limit_help = "objects per data set at most, for cvpr25 cases; default: all"
    parser.add_argument("--limit", type=int, metavar="N", help=limit_help)
    parser.add_argument("--seed", type=int, default=0, help="of objects and jitter; default: 0")
    parser.add_argument("--datasets", nargs="+", metavar="SET", help="only these data sets of the manifest")
    parser.add_argument(
        "--without",
        nargs="+",
        metavar="NAME",
        default=[],
        help=f"switch rules of {EFFICIENT_MEDSAM2} off: {', '.join(HeuristicsConfig.rules())}, or all",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("evaluation-output"), metavar="FOLDER", help="default: evaluation-output"
    )
    parser.add_argument("--encoder", metavar="NAME", help="efficientnet (default) or mobilenet")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".safetensors or .pth; default: the shipped one")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cuda, mps or cpu")
    add_engine_options(parser, "runtime", "precision", "task")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _model_name(text: str) -> str:
    """A name as given; "ours" is the first spelling of EfficientMedSAM2's."""
    return EFFICIENT_MEDSAM2 if text == "ours" else text


def run(args: argparse.Namespace) -> int:
    """Evaluate, write `<protocol>.csv`, `<protocol>.json` and a gallery per model, and print the table."""
    from EfficientMedSAM2Lib.evaluation.report.corrections import corrections_text
    from EfficientMedSAM2Lib.evaluation.report.gallery import write_gallery
    from EfficientMedSAM2Lib.evaluation.report.reliability import reliability_text, review_order_text
    from EfficientMedSAM2Lib.evaluation.report.tables import summarise, table, write_csv, write_json

    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit is {args.limit}; give at least 1, or leave it out for all objects.")
    if args.protocol == CVPR25:
        if any(name != EFFICIENT_MEDSAM2 for name in args.model or ()):
            raise UserError(
                f"Only '{EFFICIENT_MEDSAM2}' can take the prompts of protocol '{CVPR25}'; leave --model out."
            )
        return run_cvpr25(args, _build_model(args))
    methods = _methods(args)
    cases = _cases(args)
    output_folder(args.output)
    every: list[Record] = []
    summaries: dict[str, dict[str, Any]] = {}
    for method in methods:
        results = run_protocol(args.protocol, method, cases, args.seed)
        title = f"{args.protocol} {method.name}"
        records = list(_progress(results, args, total=len(cases), desc=title, unit="object"))
        every += records
        summaries[method.name] = summarise(records)
        write_gallery(args.output / f"{args.protocol}_{method.name}.png", records)
    write_csv(args.output / f"{args.protocol}.csv", every)
    write_json(args.output / f"{args.protocol}.json", summaries, given_options(args))
    sys.stdout.write(table(summaries) + "\n")
    for name, summary in summaries.items():
        texts = (reliability_text, review_order_text, corrections_text)
        sys.stdout.write("".join(text(name, summary) for text in texts))
    return 0


def _build_model(args: argparse.Namespace) -> Any:
    from EfficientMedSAM2Lib.pipeline.engine import build_model

    model = build_model(args.encoder, args.weights, args.device, args.runtime, args.precision, task=args.task)
    model.heuristics = model.heuristics.without(args.without)
    return model


def _methods(args: argparse.Namespace) -> list[SegmentationMethod]:
    """Build all models first: what is missing shows before the long work."""
    HeuristicsConfig().without(args.without)  # refuses unknown names before anything is loaded
    names = list(dict.fromkeys(args.model or DEFAULTS.get(args.protocol, DEFAULT_MODELS)))
    if args.without and EFFICIENT_MEDSAM2 not in names:
        raise UserError(f"--without switches rules of '{EFFICIENT_MEDSAM2}' off; add it to --model.")
    builders = method_builders(lambda: _build_model(args))
    methods = [builders[name]() for name in names]
    for method in methods:
        check_protocol(args.protocol, method)
    return methods


def _cases(args: argparse.Namespace) -> list[ObjectCase]:
    if args.manifest is None and args.datasets:
        raise UserError("--datasets chooses data sets of a manifest; give one with --manifest.")
    images = [sample_image()] if args.manifest is None else _listed_images(args)
    cases = choose_cases(images, args.limit, args.seed, as_volumes=args.protocol in VOLUME_PROTOCOLS)
    if not cases:
        raise UserError(f"{args.manifest} has no object for protocol '{args.protocol}': labels are too small or flat.")
    return cases


def _listed_images(args: argparse.Namespace) -> list[LoadedImage]:
    from EfficientMedSAM2Lib.evaluation.dataset.images import load_images
    from EfficientMedSAM2Lib.evaluation.dataset.listed import listed_entries

    manifest, entries = listed_entries(args)
    return load_images(manifest, _progress(entries, args, desc="reading", unit="image"))


def _progress(items: Iterable[T], args: argparse.Namespace, **options: Any) -> Iterable[T]:
    from tqdm import tqdm

    return tqdm(items, disable=args.quiet, **options)
