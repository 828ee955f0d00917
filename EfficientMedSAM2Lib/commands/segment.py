"""`efficient-medsam2 segment`: a scan and markups files in, a segmentation file out."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from EfficientMedSAM2Lib.core.boxes import in_plane_axes
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import check_place
from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, read_npz_prompts
from EfficientMedSAM2Lib.pipeline.case import PROPAGATION_CHOICES, PropagationOptions, SegmentResult, segment_case
from EfficientMedSAM2Lib.pipeline.engine import add_engine_options, build_session, engine_arguments
from EfficientMedSAM2Lib.pipeline.prompts import (
    SegmentPrompts,
    npz_prompts,
    one_segment_each,
    read_prompts,
    start_from_mask,
)
from EfficientMedSAM2Lib.pipeline.proposals import proposed_prompts

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.core.windows import IntensityWindow
    from EfficientMedSAM2Lib.imaging.dicom.reader import DicomScan
    from EfficientMedSAM2Lib.imaging.segment import Written
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.interaction import Propagation, SliceUpdate

#: Ending of a DICOM SEG, which refers to the DICOM series that was segmented.
DICOM_SUFFIX = ".dcm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `segment`."""
    parser.description = (
        "Segment structures of one scan. Each prompts file (points, boxes, lines, closed curves as lassos, open ones "
        "as scribbles; saved by 3D Slicer as .mrk.json) is one segment, named after the file; files with the same name "
        "are one segment. An .npz of MedSAM or the CVPR challenges holds its boxes and clicks. With a task and without "
        "prompts its structure is searched, and proposed."
    )
    add = parser.add_argument
    add("volume", type=Path, metavar="VOLUME", help="scan: NIfTI, NRRD, MHA, .npz, or a DICOM folder")
    prompts_help = "markups file; may be repeated; an .npz needs none"
    add("--prompts", type=Path, action="append", metavar="FILE", help=prompts_help)
    mask_help = "start from a segmentation: .seg.nrrd, DICOM SEG or label map; prompts refine it"
    add("--mask", type=Path, metavar="FILE", help=mask_help)
    which_help = "its segment, or the value in a label map; default: the one of the same name, or the only one"
    add("--mask-segment", metavar="NAME", help=which_help)
    add("--name", action="append", default=[], metavar="NAME", help="segment name: one for all files, or one per file")
    each_help = "a segment for each point, box, line and curve, numbered: for many lesions"
    add("--one-segment-each", action="store_true", help=each_help)
    rest_help = "also propose up to N others like what was found, each a numbered segment; look at them"
    add("--find-rest", type=int, default=0, metavar="N", help=rest_help)
    output_help = ".seg.nrrd, DICOM SEG (.dcm), or a label map: .nii.gz, .nii, .nrrd, .mha, .npz"
    add("--output", type=Path, required=True, metavar="FILE", help=output_help)
    add("--propagate", choices=PROPAGATION_CHOICES, default="both", help="direction; default: both")
    add("--range-mm", type=float, metavar="MM", help="propagate no farther than this from a prompt")
    stop_help = "stop where the structure ends, which is the default, or go on to the end of the range"
    add("--stop-when-lost", action=argparse.BooleanOptionalAction, default=True, help=stop_help)
    window_help = "intensity range, or a preset such as lung; default: chosen by modality"
    add("--window", metavar="LOW,HIGH", help=window_help)
    add("--time-point", type=int, metavar="N", help="which volume of a time series, counted from 0")
    add("--series", metavar="N", help="which series of a DICOM folder: its number or UID; default: the largest")
    add("--modality", metavar="NAME", help="CT, MR, PET, US, ...; default: from the file")
    add_engine_options(parser)
    add("--preview", type=Path, metavar="FILE.png", help="also draw contours and prompts")
    table_help = "also write volume, diameters, intensities and scores of each segment"
    add("--table", type=Path, metavar="FILE.csv", help=table_help)
    add("--quiet", action="store_true", help="no progress bar and no summary")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments of `segment` ask for. Nothing is written unless everything went well."""
    from EfficientMedSAM2Lib.cohort.results.measurements import COLUMNS, measure
    from EfficientMedSAM2Lib.core.windows import parse_window
    from EfficientMedSAM2Lib.imaging.formats.files import write_csv
    from EfficientMedSAM2Lib.imaging.labelmaps import LABELMAP_SUFFIXES
    from EfficientMedSAM2Lib.imaging.segmentations import SEGMENTATION_SUFFIX
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    check_writable(args.output, (SEGMENTATION_SUFFIX, DICOM_SUFFIX, *LABELMAP_SUFFIXES, NPZ_SUFFIX), args.volume)
    for extra, suffix in ((args.preview, ".png"), (args.table, ".csv")):
        if extra:
            check_writable(extra, (suffix,), args.volume)
    propagation = PropagationOptions(args.propagate, args.range_mm, args.stop_when_lost)
    window = parse_window(args.window) if args.window else None
    prompts = _prompts_of_files(args)
    volume = read_volume(args.volume, args.time_point, args.series)
    if args.mask:
        prompts = start_from_mask(
            prompts or [SegmentPrompts("".join(args.name), ())], args.mask, volume, args.mask_segment
        )
    is_npz = args.volume.name.lower().endswith(NPZ_SUFFIX)
    if not prompts and (not args.task or (is_npz and read_npz_prompts(args.volume))):
        prompts = npz_prompts(args.volume, volume)
    session = None
    if not prompts:
        session = build_session(**engine_arguments(args))
        prompts = [proposed_prompts(session, volume, "".join(args.name) or None, window, args.modality)]
    if args.one_segment_each:
        prompts = one_segment_each(prompts)
    series = _series(args, [segment.name for segment in prompts])
    session = session or build_session(**engine_arguments(args))
    progress = None if args.quiet else progress_bar
    results = segment_case(session, volume, prompts, propagation, window, args.modality, progress, args.find_rest)
    written = write_results(args.output, args.preview, results, prompts, volume, session.window, series)
    if args.table:
        write_csv(args.table, COLUMNS, [measure(result, volume) for result in results])
    for note in written.notes:
        print(f"efficient-medsam2: {note}", file=sys.stderr)
    if not args.quiet:
        name = args.output.name.lower()
        numbered = len(results) > 1 and name.endswith(LABELMAP_SUFFIXES) and not name.endswith(SEGMENTATION_SUFFIX)
        for label, (result, segment) in enumerate(zip(results, written.segments), start=1):
            # a label map holds no names, and not always the whole of a segment: this is about what is in the file
            name = f"{result.name} (label {label})" if numbered else result.name
            lost = result.mask.any() and not segment.mask.any()
            message = "All of its voxels are those of a smaller segment." if lost else result.message
            print(summary(replace(result, name=name, mask=segment.mask, message=message), volume))
        print(args.output)
    return 0


def _prompts_of_files(args: argparse.Namespace) -> list[SegmentPrompts]:
    """Prompts of the markups files; none where a mask says all, a task is to propose, or an .npz brings its own."""
    if args.find_rest < 0:
        raise UserError(f"--find-rest is {args.find_rest}; give the number of others to look for at most.")
    if args.one_segment_each and args.mask:
        raise UserError("--one-segment-each begins new segments, and --mask an earlier one; give one of them.")
    if args.mask_segment and not args.mask:
        raise UserError("--mask-segment names a segment, but there is no --mask to take it from.")
    if args.prompts:
        return read_prompts(args.prompts, args.name)
    if args.mask:
        if len(args.name) > 1:
            raise UserError(f"{len(args.name)} segment names for one mask; give one name, or none.")
        return []
    if args.task and len(args.name) < 2:
        return []
    if not args.volume.name.lower().endswith(NPZ_SUFFIX):
        raise UserError("Give the prompts, --prompts FILE: markups that 3D Slicer saved as .mrk.json; or --mask FILE.")
    if args.name:
        raise UserError("--name is for markups files; the segments of an .npz are named after their numbers.")
    return []


def write_results(
    output: Path,
    preview: Path | None,
    results: Sequence[SegmentResult],
    prompts: Sequence[SegmentPrompts],
    volume: Volume,
    window: IntensityWindow,
    series: DicomScan | None = None,
) -> Written:
    """Write a segmentation and, if wanted, a picture of it with its prompts. Each appears whole or not at all.

    Args:
        output: The segmentation's file.
        preview: The picture's; None for none.
        results: What was found.
        prompts: What was asked for.
        volume: The scan.
        window: Its grey values in the picture.
        series: The DICOM series that a DICOM SEG refers to; None for any other output.

    Returns:
        What is in the file, see `write_segmentation`.
    """
    from EfficientMedSAM2Lib.imaging.dicom.seg_writer import content_key, write_dicom_seg
    from EfficientMedSAM2Lib.imaging.preview import write_preview
    from EfficientMedSAM2Lib.imaging.segment import Segment, Written
    from EfficientMedSAM2Lib.imaging.segmentations import write_segmentation

    segments = [Segment(result.name, result.mask) for result in results]
    if series is None:
        written = write_segmentation(output, segments, volume)
    else:
        write_dicom_seg(output, segments, series, content_key(segments))
        written = Written(tuple(segments))
    if preview is not None:
        # the picture takes a prompt's colour from the segment of its name
        markups = [replace(markup, name=segment.name) for segment in prompts for markup in segment.markups]
        write_preview(preview, volume, written.segments, markups, window)
    return written


def _series(args: argparse.Namespace, names: Sequence[str]) -> DicomScan | None:
    """The series that a DICOM SEG will refer to, checked before any work; None for other outputs."""
    from EfficientMedSAM2Lib.imaging.dicom.seg_writer import check_dicom_seg, dicom_series

    if not args.output.name.lower().endswith(DICOM_SUFFIX):
        return None
    series = dicom_series(args.volume, args.time_point, args.series)
    check_dicom_seg(series, names)
    return series


def check_writable(path: Path, suffixes: Sequence[str], source: Path) -> None:
    """Refuse an output path before any work is done for it.

    Raises:
        UserError: The file's ending is not known, it is the scan itself, or its folder cannot be written to.
    """
    if not path.name.lower().endswith(tuple(suffixes)):
        raise UserError(f"The output {path} must end in {' or '.join(suffixes)}.")
    check_place(path)
    if path.exists() and source.exists() and path.samefile(source):
        raise UserError(f"The output {path} is the scan itself; give another name.")
    check_folder(path)


def check_folder(path: Path) -> None:
    """UserError where the folder of an output cannot be written to, said before any work is done for it."""
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}; choose another folder.") from error


def progress_bar(updates: Propagation, segment: str) -> Iterable[SliceUpdate]:
    """Draw a bar with slices, rate and time left on stderr while a segment is propagated."""
    from tqdm import tqdm

    bar: Iterable[SliceUpdate] = tqdm(updates, desc=segment, total=updates.total, unit="slice", dynamic_ncols=True)
    return bar


def summary(result: SegmentResult, volume: Volume) -> str:
    """One line about a segment: ml, or voxels where the scan does not tell their size; scores; or why it is empty."""
    import numpy as np

    used = np.flatnonzero(result.mask.any(axis=in_plane_axes(result.axis)))
    if len(used) == 0:
        reason = result.message or "The network found nothing at the prompts; check that --window shows the structure."
        return f"{result.name}: empty. {reason}"
    millilitres = result.voxel_count * volume.voxel_mm3 / 1000
    size = f"{millilitres:.1f} ml" if volume.spacing_known else f"{result.voxel_count} voxels"
    lowest = min(used, key=lambda index: result.scores.get(int(index), 1.0))
    mean = np.mean([result.scores[int(index)] for index in used if int(index) in result.scores])
    return (
        f"{result.name}: {size}, slices {used[0]} to {used[-1]}, mean score {mean:.2f}, "
        f"lowest {result.scores.get(int(lowest), float('nan')):.2f} on slice {lowest}"
    )
