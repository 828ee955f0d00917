"""`efficient-medsam2 cohort init | run | review | next | accept | benchmark`: many scans, on one machine or many."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.case import PROPAGATION_CHOICES, PropagationOptions
from EfficientMedSAM2Lib.pipeline.engine import add_engine_options, engine_arguments

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
    from EfficientMedSAM2Lib.cohort.run.cohort import RunSummary

BAD_INPUT, FAILED = 2, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands of `cohort` and their options."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_init(commands.add_parser("init", help="write a manifest from a folder of scans and markups"))
    _add_run(commands.add_parser("run", help="segment all cases of a manifest; again goes on where it ended"))
    _add_review(commands.add_parser("review", help="list the least certain cases, and write a Slicer scene of each"))
    following = commands.add_parser("next", help="the least certain case that no reader has seen yet, with its scene")
    following.add_argument("output", type=Path, metavar="FOLDER", help="what `cohort run` wrote")
    accept = commands.add_parser(
        "accept", help="measure segmentations that were corrected, and keep them in the ledger"
    )
    accept.add_argument("output", type=Path, metavar="FOLDER", help="what `cohort run` wrote")
    _add_benchmark(commands.add_parser("benchmark", help="measure cases per second on this machine, by workers"))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments ask for."""
    actions = {
        "init": _init,
        "run": _run,
        "review": _review,
        "next": _next,
        "accept": _accept,
        "benchmark": _benchmark,
    }
    return actions[args.action](args)


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="scans, with their markups (.mrk.json) beside them, or .npz with boxes",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="MANIFEST", help=".csv or .json")


def _add_run(parser: argparse.ArgumentParser) -> None:
    from EfficientMedSAM2Lib.cohort.records.settings import FORMATS

    parser.epilog = "Columns of a manifest, and what is written: docs/COHORT.md."
    add = parser.add_argument
    add("manifest", type=Path, metavar="MANIFEST", help=".csv, .json, or a BIDS folder")
    add("--output", type=Path, required=True, metavar="FOLDER", help="results, ledger, tables and contact sheet")
    add("--retry-failed", action="store_true", help="also try those again that failed because of their files")
    add("--format", choices=FORMATS, default="seg.nrrd", help="of the segmentations; default: seg.nrrd")
    add("--propagate", choices=PROPAGATION_CHOICES, default="both", help="direction; default: both")
    add("--range-mm", type=float, metavar="MM", help="propagate no farther than this from a prompt")
    add("--stop-when-lost", action=argparse.BooleanOptionalAction, default=True, help="stop where the structure ends")
    add_engine_options(parser, threads=1)
    add("--workers", type=int, metavar="N", help="processes on this machine; default: by its memory and cores")
    add("--memory-gb", type=float, metavar="GB", help="memory of each worker; default: an even share")
    add("--scheduler", metavar="tcp://HOST:PORT", help="a Dask cluster that already runs, instead of this machine")
    add("--dashboard-port", type=int, metavar="PORT", help="of the Dask dashboard on this machine; default: any")
    add("--no-pictures", dest="pictures", action="store_false", help="no pictures for the contact sheet")
    add("--quiet", action="store_true", help="no progress bar and no summary")


def _add_review(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("output", type=Path, metavar="FOLDER", help="what `cohort run` wrote")
    add("--limit", type=int, metavar="N", help="only the N least certain cases")
    add("--below", type=float, metavar="SCORE", help="only cases whose expected Dice is lower than this")


def _add_benchmark(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cases", type=int, default=100, metavar="N", help="small cases in each run; default: 100")
    add("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="numbers to compare; default: 1 2")
    add("--repeats", type=int, default=3, metavar="N", help="runs of each, in turn; default: 3")
    add_engine_options(parser, threads=1)


def _init(args: argparse.Namespace) -> int:
    from EfficientMedSAM2Lib.cohort.manifest.create import create_manifest

    found = create_manifest(args.folder, args.output)
    cases = len({row["case"] for row in found.rows})
    print(f"{args.output}: {cases} cases, {len(found.rows)} segments")
    for path in found.without_prompts:
        print(f"left out, no markups belong to it: {path}", file=sys.stderr)
    for path in found.without_scan:
        print(f"left out, no scan that it belongs to: {path}", file=sys.stderr)
    return 0


def _run(args: argparse.Namespace) -> int:
    from EfficientMedSAM2Lib.cohort.manifest.read import ManifestError, read_cohort_manifest
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
    from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort
    from EfficientMedSAM2Lib.cohort.run.progress import ProgressBar
    from EfficientMedSAM2Lib.runtimes.tasks import read_task

    settings = RunSettings(
        **_engine(args),
        propagation=PropagationOptions(args.propagate, args.range_mm, args.stop_when_lost),
        output_format=args.format,
        pictures=args.pictures,
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
    )
    cluster = ClusterOptions(args.workers, args.memory_gb, args.scheduler, args.dashboard_port)
    try:
        cases = read_cohort_manifest(args.manifest, read_task(args.task).name if args.task else None)
        if args.format == "dicom-seg":
            _check_dicom(args.manifest, cases)
    except ManifestError as error:
        for line in error.problems:
            print(f"efficient-medsam2: {line}", file=sys.stderr)
        return BAD_INPUT
    try:
        summary = run_cohort(
            cases,
            args.output,
            settings,
            cluster,
            args.retry_failed,
            None if args.quiet else ProgressBar,
            None if args.quiet else lambda text: print(text, file=sys.stderr),
        )
    except KeyboardInterrupt:
        print("efficient-medsam2: stopped; the same command goes on with the cases that are left.", file=sys.stderr)
        return FAILED
    return _report(summary, args.output, args.quiet)


def _engine(args: argparse.Namespace) -> dict[str, Any]:
    """Engine options as settings of a run, which hold plain text."""
    paths = {name: str(getattr(args, name)) if getattr(args, name) else None for name in ("weights", "task")}
    return {**engine_arguments(args), **paths}


def _check_dicom(manifest: Path, cases: list[CaseSpec]) -> None:
    from EfficientMedSAM2Lib.cohort.manifest.read import ManifestError

    problems = [
        (case.line, f"{case.image} is no DICOM folder, which DICOM SEG refers to; use --format seg.nrrd.")
        for case in cases
        if not Path(case.image).is_dir()
    ]
    if problems:
        raise ManifestError(str(manifest), problems)


def _report(summary: RunSummary, output: Path, quiet: bool) -> int:
    """Say how it ended; the exit code is 1 when a case has no result."""
    failed = summary.failed
    for outcome in failed:
        print(f"efficient-medsam2: case {outcome.name} failed: {outcome.reason}", file=sys.stderr)
    if summary.stopped:
        print(f"efficient-medsam2: {summary.stopped}", file=sys.stderr)
    if not quiet:
        done = len(summary.outcomes) - len(failed)
        print(f"{done} cases done, {len(failed)} failed, {summary.left} left; {summary.already} were settled before")
        print(f"Look at the least certain first: {output / 'contact-sheet.html'}")
    return FAILED if failed or summary.stopped or summary.left else 0


def _review(args: argparse.Namespace) -> int:
    from EfficientMedSAM2Lib.cohort.results.review import review_cases

    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit must be at least 1, not {args.limit}.")
    for case in review_cases(args.output, args.limit, args.below):
        print(f"{case.confidence:.2f}  {case.name}: {case.text}")
        print(f"      {case.scene or case.problem}")
    return 0


def _next(args: argparse.Namespace) -> int:
    from EfficientMedSAM2Lib.cohort.results.review import review_cases

    for case in review_cases(args.output, limit=1, only_open=True):
        print(f"{case.confidence:.2f}  {case.name}: {case.text}")
        print(f"      {case.scene or case.problem}")
        return 0
    print("Every case has been reviewed.")
    return 0


def _accept(args: argparse.Namespace) -> int:
    from EfficientMedSAM2Lib.cohort.results.corrections import accept_corrections

    code = 0
    for name, problem in accept_corrections(args.output):
        if problem:
            print(f"efficient-medsam2: the correction of {name} cannot be accepted: {problem}", file=sys.stderr)
            code = FAILED
        else:
            print(f"{name}: corrected")
    return code


def _benchmark(args: argparse.Namespace) -> int:
    import tempfile

    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.cohort.run.benchmark import measure, report, write_cases

    settings = RunSettings(**_engine(args))
    runs = []
    with tempfile.TemporaryDirectory(prefix="efficient-medsam2-benchmark-") as folder:
        manifest = write_cases(Path(folder), args.cases)
        for repeat in range(args.repeats):  # in turn, so that what else the machine does falls on all alike
            for workers in args.workers:
                runs.append(measure(manifest, workers, settings))
                print(f"run {repeat + 1}, {workers} workers: {runs[-1].rate:.2f} cases per second", file=sys.stderr)
    print(report(runs, args.cases))
    return 0
