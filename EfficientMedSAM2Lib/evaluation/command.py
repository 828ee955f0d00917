"""The command `efficient-medsam2 evaluate`: arguments, progress, files."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.evaluation.contestants import contestant_builders
from EfficientMedSAM2Lib.evaluation.protocols import PROTOCOLS, Record, run_protocol

logger = logging.getLogger(__name__)
MODELS = ("ours", "litemedsam", "ellipse", "growfromseeds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; `--encoder`, `--weights` and `--device` are for our network."""
    parser.add_argument(
        "--manifest", type=Path, required=True, metavar="PATH", help="index.json, or a folder of image/label pairs"
    )
    parser.add_argument(
        "--model",
        nargs="+",
        choices=MODELS,
        default=["ours", "ellipse"],
        help="compared side by side; default: ours ellipse",
    )
    parser.add_argument("--protocol", choices=PROTOCOLS, default="box", help="default: box")
    parser.add_argument("--split", choices=("train", "dev", "all"), default="dev", help="default: dev")
    parser.add_argument("--limit", type=int, metavar="N", help="objects per data set at most; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of objects and jitter; default: 0")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument(
        "--output", type=Path, default=Path("evaluation-output"), metavar="FOLDER", help="default: evaluation-output"
    )
    parser.add_argument("--encoder", metavar="NAME", help="efficientnet (default) or mobilenet")
    parser.add_argument("--weights", type=Path, metavar="FILE", help=".safetensors file; default: the shipped one")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cuda, mps or cpu")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write `<protocol>.csv`, `<protocol>.json` and a gallery per model, and print the table."""
    from EfficientMedSAM2Lib.evaluation.gallery import write_gallery
    from EfficientMedSAM2Lib.evaluation.report import summarise, table, write_csv, write_json

    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit is {args.limit}; give at least 1, or leave it out for all objects.")
    cases = _cases(args)
    args.output.mkdir(parents=True, exist_ok=True)
    every: list[Record] = []
    summaries: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(args.model):
        records = _records(name, args, cases)
        every += records
        summaries[name] = summarise(records)
        write_gallery(args.output / f"{args.protocol}_{name}.png", records)
    write_csv(args.output / f"{args.protocol}.csv", every)
    settings = {key: str(value) for key, value in vars(args).items() if key not in ("run", "command", "debug")}
    write_json(args.output / f"{args.protocol}.json", summaries, settings)
    sys.stdout.write(table(summaries) + "\n")
    return 0


def _cases(args: argparse.Namespace) -> list[Any]:
    from EfficientMedSAM2Lib.evaluation.cases import choose_cases
    from EfficientMedSAM2Lib.training.manifest import read_manifest
    from EfficientMedSAM2Lib.training.slices import load_images

    manifest = read_manifest(args.manifest)
    entries = manifest.select(None if args.split == "all" else args.split, labelled=True)
    if args.datasets:
        entries = [entry for entry in entries if entry.dataset in args.datasets]
    if not entries:
        raise ValueError(f"{args.manifest} has no labelled image in split '{args.split}'; try --split all.")
    logger.info("reading %d images", len(entries))
    cases = choose_cases(load_images(manifest, entries), args.limit, args.seed, as_volumes=args.protocol == "volume")
    if not cases:
        raise ValueError(f"{args.manifest} has no object for protocol '{args.protocol}': labels are too small or flat.")
    return cases


def _records(name: str, args: argparse.Namespace, cases: list[Any]) -> list[Record]:
    from tqdm import tqdm

    def build_model() -> Any:
        from EfficientMedSAM2Lib.cohort.engine import build_model

        return build_model(args.encoder, args.weights, args.device)

    contestant = contestant_builders(build_model)[name]()
    results = run_protocol(args.protocol, contestant, cases, args.seed)
    return list(tqdm(results, total=len(cases), desc=f"{args.protocol} {name}", unit="object", disable=args.quiet))
