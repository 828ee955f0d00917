"""The command `efficient-medsam2 benchmark`: arguments, progress, files."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import output_folder, replacing
from EfficientMedSAM2Lib.evaluation.benchmark.jobs import BenchmarkResult, existing
from EfficientMedSAM2Lib.evaluation.benchmark.networks import (
    EFFICIENT_MEDSAM2,
    EXPORTED,
    NETWORKS,
    ORIGINALS,
    TITLES,
    hint_if_missing,
)
from EfficientMedSAM2Lib.evaluation.benchmark.results.markdown import check_document, measures_table, report, write_into
from EfficientMedSAM2Lib.evaluation.benchmark.results.summary import BenchmarkSummary
from EfficientMedSAM2Lib.evaluation.benchmark.run import Plan, jobs, make_network, run_jobs, write_scans
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan, images_of, make_scan
from EfficientMedSAM2Lib.pipeline.options import add_option, given_options

T = TypeVar("T")
LEAST_SIZE = 32
BARS, LENGTHS, OVERLAYS = "benchmark-bars.png", "benchmark-slices.png", "benchmark-overlays.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; the first four have the names of the first published benchmark tool."""
    add_option(
        parser,
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="scans with label maps; default: the chest CT of slicerio",
    )
    add_option(
        parser,
        "--original-model",
        type=Path,
        metavar="FILE",
        help="MedSAM2's checkpoint (.pt); default: random weights",
    )
    add_option(
        parser,
        "--efficient-model",
        type=Path,
        metavar="FILE",
        help="weights of EfficientMedSAM2 (.safetensors, .pth); default: the shipped",
    )
    add_option(parser, "--save-visualizations", action="store_true", help="masks of all networks side by side")
    parser.add_argument(
        "--model", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), help="what is compared; default: all"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds; default: 3")
    parser.add_argument(
        "--slices",
        type=int,
        nargs="+",
        default=[50, 200, 800],
        metavar="N",
        help="for EfficientMedSAM2; default: 50 200 800",
    )
    add_option(
        parser, "--original-slices", type=int, default=20, metavar="N", help="for all, the originals too; default: 20"
    )
    parser.add_argument("--size", type=int, default=512, metavar="PIXELS", help="side of a slice; default: 512")
    parser.add_argument(
        "--objects", type=int, default=12, metavar="N", help="labelled slices for accuracy, per data set; default: 12"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cuda, mps or cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="of each process; default: the runtime's choice")
    add_option(
        parser,
        "--processor-time",
        action="store_true",
        help="time of the processor instead of the clock: for a machine that others use too; needs --threads 1",
    )
    lesions_help = "instead: so many lesions of a phantom, a click each, with EfficientMedSAM2 alone"
    parser.add_argument("--lesions", type=int, metavar="N", help=lesions_help)
    prompts_help = "instead: ms from each kind of prompt to its mask, on slices seen before and new ones"
    parser.add_argument("--prompts", action="store_true", help=prompts_help)
    rest_help = "with --lesions: click on three of them, and look for the others by their likeness"
    add_option(parser, "--find-rest", action="store_true", help=rest_help)
    output = Path("benchmark-output")
    parser.add_argument("--output", type=Path, default=output, metavar="FOLDER", help=f"default: {output}")
    parser.add_argument("--document", type=Path, metavar="FILE", help="Markdown whose block of results is replaced")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Measure, write JSON, Markdown and plots into a folder, print the tables."""
    if args.lesions is not None:
        return _lesions(args)
    if args.prompts:
        return _prompts(args)
    plan = _plan(args)
    if args.document is not None:
        check_document(args.document)
    output_folder(args.output)
    load = _load_average()
    with tempfile.TemporaryDirectory(prefix="efficient-medsam2-benchmark-") as folder:
        scan = make_scan(images_of(args.data_dir), args.size)
        write_scans(plan, scan, Path(folder))
        for network in (name for name in plan.networks if name in EXPORTED):
            make_network(plan, network).load()
        waiting = jobs(plan, Path(folder))
        results = list(_progress(run_jobs(waiting, plan.threads), args, len(waiting)))
        masks = _masks(Path(folder), plan, scan, results)
        if args.save_visualizations and masks:
            from EfficientMedSAM2Lib.evaluation.benchmark.results.overlays import write_overlays

            write_overlays(args.output / OVERLAYS, scan.of_length(plan.original_slices), masks)
    summary = BenchmarkSummary(results)
    setting, notes = _setting(scan, plan, load, results), _notes(plan, summary)
    text = _write(args, summary, setting, notes)
    if args.document is not None:
        write_into(args.document, text)
    sys.stdout.write(f"{setting}\n\n{measures_table(summary)}\n\n")
    sys.stdout.write("\n".join([*notes, f"Written to {args.output}."]) + "\n")
    return 0


def _lesions(args: argparse.Namespace) -> int:
    """Print what many lesions take."""
    from EfficientMedSAM2Lib.evaluation.lesions import lesion_phantom, measure_find_rest, measure_lesions
    from EfficientMedSAM2Lib.pipeline.engine import build_session

    if args.lesions < 1:
        raise UserError(f"--lesions is {args.lesions}; give 1 or more.")
    phantom = lesion_phantom(args.lesions)
    session = build_session(weights=args.efficient_model, device=args.device, threads=args.threads)
    measure = measure_find_rest if args.find_rest else measure_lesions
    sys.stdout.write(f"{measure(session, phantom)}\n")
    return 0


def _prompts(args: argparse.Namespace) -> int:
    """Print what each kind of prompt takes."""
    from EfficientMedSAM2Lib.evaluation.benchmark.prompt_times import measure_prompts
    from EfficientMedSAM2Lib.pipeline.engine import build_session
    from EfficientMedSAM2Lib.pipeline.machine import processor_name

    _check_scan(args)
    load = _load_average()
    scan = make_scan(images_of(args.data_dir), args.size)
    session = build_session(weights=args.efficient_model, device=args.device, threads=args.threads)
    times = measure_prompts(session, scan, time.process_time if args.processor_time else time.perf_counter)
    sys.stdout.write(f"{processor_name()}{load}. {times}\n")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    for name, least in (("repeats", 1), ("original_slices", 2), ("objects", 0)):
        if getattr(args, name) < least:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(args, name)}; give {least} or more.")
    if min(args.slices) < 2:
        raise UserError(f"--slices has {min(args.slices)}; two slices are the least that can be propagated through.")
    _check_scan(args)
    weights = {"medsam2": existing(args.original_model, "MedSAM2's checkpoint")}
    if args.efficient_model is not None:
        from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

        encoder, path = encoder_of(args.efficient_model), existing(args.efficient_model, "weights")
        weights.update({network: path for network in EFFICIENT_MEDSAM2 if network.split("-")[0] == encoder})
    chosen = []
    for network in NETWORKS:
        hint = hint_if_missing(network) if network in args.model else None
        if hint:
            sys.stderr.write(f"{hint}\n")
        elif network in args.model:
            chosen.append(network)
    if not chosen:
        raise UserError("Nothing is left to measure; install what is missing, or choose another --model.")
    return Plan(
        networks=chosen,
        slices=tuple(sorted(set(args.slices))),
        original_slices=args.original_slices,
        repeats=args.repeats,
        objects=args.objects,
        weights=weights,
        random=[] if weights["medsam2"] else ["medsam2"],
        data_dir="" if args.data_dir is None else str(args.data_dir.resolve()),
        device=args.device,
        threads=args.threads,
        processor_time=args.processor_time,
    )


def _check_scan(args: argparse.Namespace) -> None:
    """Raise UserError for options of the scan, and of the threads that work on it, that cannot be used."""
    if args.size < LEAST_SIZE:
        raise UserError(f"--size is {args.size}; give {LEAST_SIZE} or more.")
    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads is {args.threads}; give 1 or more.")
    if args.processor_time and args.threads != 1:
        raise UserError("--processor-time adds up what all threads do; give --threads 1 with it.")
    if args.data_dir is not None and not args.data_dir.exists():
        raise UserError(f"{args.data_dir} does not exist; give a folder of scans, or leave --data-dir out.")


def _masks(folder: Path, plan: Plan, scan: Scan, results: list[BenchmarkResult]) -> dict[str, Any]:
    """Masks of the propagation; their Dice is added to the results."""
    from EfficientMedSAM2Lib.evaluation.benchmark.results.overlays import propagated_dice, read_masks

    found = {}
    for network in plan.networks:
        path = folder / f"{network}.npz"
        if path.is_file():
            found[network] = read_masks(path)
            value = propagated_dice(found[network], scan.of_length(plan.original_slices))
            results.append(BenchmarkResult(network, plan.original_slices, 0, {"propagated_dice": value}))
    return found


def _write(args: argparse.Namespace, summary: BenchmarkSummary, setting: str, notes: list[str]) -> str:
    from EfficientMedSAM2Lib.evaluation.benchmark.results.plots import write_bars, write_lengths

    folders = [args.output] + ([args.document.parent] if args.document is not None else [])
    for folder in folders:
        write_bars(folder / BARS, summary)
        write_lengths(folder / LENGTHS, summary)
    pictures = [BARS, LENGTHS]
    if (args.output / OVERLAYS).is_file() and args.save_visualizations:
        pictures.append(OVERLAYS)
        for folder in folders[1:]:
            (folder / OVERLAYS).write_bytes((args.output / OVERLAYS).read_bytes())
    text = report(summary, setting, notes, pictures)
    content = {
        "setting": setting,
        "notes": notes,
        "settings": given_options(args),
        "summary": summary.as_dict(),
        "answers": [vars(result) for result in summary.results],
    }
    for name, body in (("benchmark.json", json.dumps(content, indent=2)), ("benchmark.md", text)):
        with replacing(args.output / name) as temporary:
            temporary.write_text(body, encoding="utf-8")
    return text


def _setting(scan: Scan, plan: Plan, load: str, results: list[BenchmarkResult]) -> str:
    import torch

    from EfficientMedSAM2Lib.pipeline.machine import processor_name

    facts = next((result.facts for result in results if result.facts), {})
    source = "the chest CT that comes with slicerio" if not plan.data_dir else scan.name
    height, width = scan.voxels.shape[1:]
    rounds = f"{plan.repeats} rounds: median (least to most)" if plan.repeats > 1 else "One round"
    return (
        f"{processor_name()}, {facts.get('threads', '?')} threads, {facts.get('device', '?')}; Python "
        f"{platform.python_version()}, PyTorch {torch.__version__}{load}. {source[0].upper()}{source[1:]}, resampled "
        f"to {width} x {height} pixels and slices {scan.spacing_mm[0]} mm apart; longer scans go through the same "
        f"slices forth and back. {rounds}."
    )


def _notes(plan: Plan, summary: BenchmarkSummary) -> list[str]:
    originals = [TITLES[network] for network in summary.networks() if network in ORIGINALS]
    variants = [network for network in summary.networks() if network in EFFICIENT_MEDSAM2]
    notes = []
    if plan.processor_time:
        notes.append(
            "**Others used the machine too: times are those of the processor, with one thread** (`--processor-time`). "
            "On an idle machine the clock shows about as much with one thread, and less with two."
        )
    if originals:
        notes.append(
            f"{' and '.join(originals)} went through {plan.original_slices} slices only, for their time "
            "(`--original-slices`); EfficientMedSAM2 through as many too, for the comparison. A propagated slice "
            "counts once the memory is full, from the ninth on; opening a scan does not count."
        )
    if "medsam2" in summary.networks() and "medsam2" in plan.random:
        notes.append(
            "MedSAM2 has random weights here (`--original-model` was not given): its time and memory do not depend on "
            "them, its masks would mean nothing, so that it has no Dice. Its file is the size of its parameters."
        )
    if "litemedsam" in summary.networks():
        notes.append(
            "LiteMedSAM takes boxes only, and hands the box of each mask on to the next slice until the object is lost."
        )
    precisions = {
        TITLES[name]: result.facts["precision"]
        for name in variants
        for result in summary.results
        if result.network == name and result.facts
    }
    if precisions:
        notes.append("Precision: " + ", ".join(f"{name} {value}" for name, value in precisions.items()) + ".")
    return notes


def _load_average() -> str:
    """How busy the machine was before, where that is known: a busy machine is no place to measure."""
    try:
        return f", load {os.getloadavg()[0]:.1f} before the run"
    except (AttributeError, OSError):
        return ""


def _progress(items: Iterable[T], args: argparse.Namespace, total: int) -> Iterable[T]:
    from tqdm import tqdm

    return tqdm(items, total=total, desc="benchmark", unit="process", disable=args.quiet)
