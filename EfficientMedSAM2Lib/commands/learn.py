"""`efficient-medsam2 learn`: finished cases of one structure in, a task out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.engine import DEFAULT_ENCODER, add_engine_options

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `learn`."""
    parser.description = (
        "Learn a structure from 2 to 50 finished cases, on a CPU. The task that is written makes boxes, clicks, "
        "volumes and proposals of that structure better; it is written only where it is better on cases left out."
    )
    add = parser.add_argument
    cases_help = (
        "a folder of scans with masks beside them (case1.nii.gz, case1.seg.nrrd), the --output of cohort run, of which "
        "the reviewed cases count, a cohort's manifest with the column mask, or an index.json"
    )
    add("cases", type=Path, metavar="CASES", help=cases_help)
    add("--segment", required=True, metavar="NAME", help="name of the structure, or its value in label maps")
    add("--output", type=Path, required=True, metavar="FILE.task")
    minutes_help = "about, on two idle cores; default: one for each case, at least 5 and at most 15"
    add("--minutes", type=float, metavar="N", help=minutes_help)
    add("--seed", type=int, default=0, help="the same cases and seed give the same task; default: 0")
    add_engine_options(parser, "encoder", "weights", "threads")
    progress_help = "a bar (default), or lines such as `learning from fold 1 of 2: 12 of 130` for other programs"
    add("--progress", choices=("bar", "lines"), default="bar", help=progress_help)
    add("--quiet", action="store_true", help="no progress bar and no result")


def run(args: argparse.Namespace) -> int:
    """Learn, and say what was won."""
    from EfficientMedSAM2Lib.runtimes.tasks.task_file import SUFFIX

    if not args.output.name.lower().endswith(SUFFIX):
        raise UserError(f"The output {args.output} must end in {SUFFIX}.")
    if args.threads is not None and args.threads < 1:
        raise UserError(f"Learning needs at least one thread, not {args.threads}.")
    from EfficientMedSAM2Lib.learning.tasks.cases import read_cases
    from EfficientMedSAM2Lib.learning.tasks.curve import corrections_by_task, curve_lines
    from EfficientMedSAM2Lib.learning.tasks.judge import results_text
    from EfficientMedSAM2Lib.learning.tasks.learn import LearnOptions, learn
    from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

    encoder = args.encoder or (encoder_of(args.weights) if args.weights else DEFAULT_ENCODER)
    options = LearnOptions(args.minutes, encoder, args.weights, args.seed)
    if args.threads is not None:
        import torch

        torch.set_num_threads(args.threads)
    cases = read_cases(args.cases, args.segment)
    bar = None if args.quiet else _Lines() if args.progress == "lines" else _Bar()
    try:
        task = learn(cases, args.segment, args.output, options, bar)
    except KeyboardInterrupt:
        print("efficient-medsam2: stopped; the same command goes on where it ended.", file=sys.stderr)
        return FAILED
    finally:
        if bar is not None:
            bar.close()
    if not args.quiet:
        print(f"{task.name}, from {task.cases} cases; on cases left out: {results_text(dict(task.results))}")
        for line in curve_lines(task, corrections_by_task(args.cases)):
            print(line)
        print(args.output)
    return 0


class _Bar:
    """A progress bar for each part of the work."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if what != self._what:
            self.close()
            self._bar, self._what = tqdm(total=total, desc=what, dynamic_ncols=True), what
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()


class _Lines:
    """A line for each step, on stderr."""

    def __call__(self, what: str, done: int, total: int) -> None:
        print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is left open."""
