"""`efficient-medsam2 evaluate --protocol cvpr25`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import output_folder
from EfficientMedSAM2Lib.pipeline.options import given_options

CVPR25 = "cvpr25"


def run_cvpr25(args: argparse.Namespace, model: Any) -> int:
    """Run the protocol over the cases of the arguments, write `cvpr25.csv` and `cvpr25.json`, print the table.

    Raises:
        UserError: There is no labelled image, or a file cannot be read.
    """
    from tqdm import tqdm

    from EfficientMedSAM2Lib.evaluation.cvpr25.cases import ChallengeCase, challenge_boxes, challenge_cases
    from EfficientMedSAM2Lib.evaluation.cvpr25.protocol import EfficientMedSAM2Session, run_challenge_case
    from EfficientMedSAM2Lib.evaluation.cvpr25.report import summarise, table, write_csv
    from EfficientMedSAM2Lib.evaluation.dataset.listed import listed_entries
    from EfficientMedSAM2Lib.evaluation.dataset.sample import sample_image
    from EfficientMedSAM2Lib.evaluation.report.tables import write_json

    if args.manifest is None:
        image = sample_image()
        cases, total = iter([ChallengeCase(image, challenge_boxes(image, args.seed))]), 1
    else:
        manifest, entries = listed_entries(args)
        entries = entries[: args.limit]
        cases, total = challenge_cases(manifest, entries, args.seed), len(entries)
    method = EfficientMedSAM2Session(model)
    bar = tqdm(cases, total=total, desc=CVPR25, unit="case", disable=args.quiet)
    results = [run_challenge_case(method, case) for case in bar]
    if not results:
        raise UserError(f"{args.manifest} holds no case with a label.")
    summary = summarise(results)
    output_folder(args.output)
    write_csv(args.output / f"{CVPR25}.csv", results)
    write_json(args.output / f"{CVPR25}.json", {method.name: summary}, given_options(args))
    sys.stdout.write(table(summary, results) + "\n")
    return 0
