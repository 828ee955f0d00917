"""`efficient-medsam2 demo`: a real chest CT, prompts as 3D Slicer saved them, and a reference to be measured against.

The scan and its reference segmentation come with the slicerio package (MIT licence; 128 x 128 x 34 voxels of
3 x 3 x 10 mm). The prompts are in Resources/Demo, one markups file per structure, named as in the reference.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.commands.segment import progress_bar, write_results
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import output_folder
from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.imaging.sample import sample_scan, sample_segmentation
from EfficientMedSAM2Lib.pipeline.case import SegmentResult, segment_case
from EfficientMedSAM2Lib.pipeline.engine import add_engine_options, build_session, engine_arguments
from EfficientMedSAM2Lib.pipeline.machine import peak_memory_megabytes
from EfficientMedSAM2Lib.pipeline.prompts import read_prompts

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.imaging.segmentations import Segment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    default = Path("demo-output")
    parser.add_argument("--output", type=Path, default=default, metavar="FOLDER", help=f"default: {default}")
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    """Segment the demo scan, write a segmentation and a picture into a folder, print how good and how fast it was."""
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    started = time.perf_counter()
    output_folder(args.output)
    volume = read_volume(sample_scan())
    reference = read_segmentation(sample_segmentation(), volume)
    prompts = read_prompts(sorted(resource_path("Demo").glob("*.mrk.json")))
    session = build_session(**engine_arguments(args))
    loaded = time.perf_counter()

    results = segment_case(session, volume, prompts, progress=progress_bar if sys.stderr.isatty() else None)
    done = time.perf_counter()

    segmentation, picture = args.output / "CTChest.seg.nrrd", args.output / "CTChest.png"
    write_results(segmentation, picture, results, prompts, volume, session.window)
    for result in results:
        print(f"Dice {result.name} {dice(result.mask, reference_mask(reference, result.name)):.3f}")
    print(f"Time {done - loaded:.1f} s for {len(results)} structures (and {loaded - started:.1f} s to start)")
    print(f"First mask {1000 * np.mean([r.seconds_prompting for r in results]):.0f} ms after a prompt, on average")
    print(f"Speed {slices_per_second(results):.1f} slices per second")
    peak = peak_memory_megabytes()
    if peak is not None:
        print(f"Peak memory {peak:.0f} MB, libraries included")
    print(f"Written {segmentation} and {picture}")
    return 0


def reference_mask(reference: list[Segment], name: str) -> np.ndarray:
    """The mask (D,H,W) of a structure of the reference.

    Raises:
        UserError: The reference has no structure of this name.
    """
    for segment in reference:
        if segment.name == name:
            return segment.mask
    names = ", ".join(segment.name for segment in reference)
    raise UserError(f"The reference has no structure {name!r}; name the prompts file after one of: {names}.")


def slices_per_second(results: list[SegmentResult]) -> float:
    """Speed of propagation over all segments; 0 when nothing was propagated."""
    seconds = sum(result.seconds_propagating for result in results)
    return sum(result.slices_propagated for result in results) / seconds if seconds > 0 else 0.0
