"""Throughput of a cohort on this machine: small cases cut from a real CT, on one worker and on several.

What is measured: cases per second once all workers are at work (the first cases of each, which load the network, are
left out), their median over several runs; peak memory of a worker; and how many cases per second the machinery around
the network can handle (hand out, hash, recognise, take back, ledger), which is what limits a large cluster. For that
the same cases are run once more without their ledger, so that the workers find every result finished.
"""

from __future__ import annotations

import csv
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
from EfficientMedSAM2Lib.cohort.records.ledger import FILE_NAME
from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort
from EfficientMedSAM2Lib.cohort.run.progress import RunProgress
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.sample import sample_scan
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume
from EfficientMedSAM2Lib.pipeline.machine import processor_name

#: Voxels of a case, k, j, i, and the box on its middle slice that is the prompt.
SHAPE = (12, 80, 80)
_MARGIN = 12
#: Numbers of workers that the report estimates for.
FORECAST = (1, 16, 256)


@dataclass
class Clock(RunProgress):
    """Notes when each case ended, and how long its worker needed for it."""

    ended: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    peak_memory_mb: float = 0.0
    failed: int = 0

    def add(self, outcome: CaseOutcome) -> None:
        """A case has ended."""
        self.ended.append(time.perf_counter())
        self.seconds.append(outcome.seconds)
        self.peak_memory_mb = max(self.peak_memory_mb, outcome.record.get("peak_memory_mb") or 0.0)
        self.failed += outcome.failed


@dataclass(frozen=True)
class Throughput:
    """One run.

    Attributes:
        workers: Number of workers.
        rate: Cases per second, all workers at work.
        total_seconds: From the beginning to the last file, start of the workers included.
        case_seconds: Median time of a worker for a case.
        peak_memory_mb: Largest resident memory of a worker.
        machinery_rate: Cases per second that are handed out, recognised as finished and written into the ledger.
        failed: Cases without a result.
    """

    workers: int
    rate: float
    total_seconds: float
    case_seconds: float
    peak_memory_mb: float
    machinery_rate: float
    failed: int


def write_cases(folder: Path, count: int) -> Path:
    """Write small scans, each another piece of slicerio's chest CT with its own noise, and their manifest."""
    import SimpleITK as sitk

    from EfficientMedSAM2Lib.imaging.labelmaps import array_to_image

    chest = read_volume(sample_scan())
    random = np.random.default_rng(0)
    depth, height, width = SHAPE
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(("case", "image", "segment", "box_ijk"))
        for number in range(count):
            start = [int(random.integers(0, most - size + 1)) for most, size in zip(chest.shape_kji, SHAPE)]
            piece = chest.array[tuple(slice(a, a + size) for a, size in zip(start, SHAPE))]
            noisy = (piece + random.normal(0, 10, SHAPE)).astype(np.int16)
            volume = Volume(noisy, chest.ijk_to_ras)
            sitk.WriteImage(array_to_image(volume.array, volume.ijk_to_ras), str(folder / f"case-{number:05}.nrrd"))
            box = (_MARGIN, _MARGIN, depth // 2, width - _MARGIN, height - _MARGIN, depth // 2)
            lines.writerow((f"case-{number:05}", f"case-{number:05}.nrrd", "structure", ",".join(map(str, box))))
    return manifest


def measure(manifest: Path, workers: int, settings: RunSettings) -> Throughput:
    """Run the cases of a manifest once, into a folder that is removed afterwards.

    Raises:
        UserError: There are too few cases to tell a rate.
    """
    cases = read_cohort_manifest(manifest)
    if len(cases) < 4 * workers:
        raise UserError(f"{len(cases)} cases are too few for {workers} workers; take at least {4 * workers}.")
    clock, again = Clock(), Clock()
    with tempfile.TemporaryDirectory(prefix="efficient-medsam2-benchmark-") as folder:
        begun = time.perf_counter()
        run_cohort(cases, Path(folder), settings, ClusterOptions(workers), progress=lambda *_: clock)
        total = time.perf_counter() - begun
        (Path(folder) / FILE_NAME).unlink()
        run_cohort(cases, Path(folder), settings, ClusterOptions(workers), progress=lambda *_: again)
    return Throughput(
        workers,
        _rate(clock, workers),
        total,
        statistics.median(clock.seconds),
        clock.peak_memory_mb,
        _rate(again, workers),
        clock.failed,
    )


def _rate(clock: Clock, workers: int) -> float:
    """Cases per second from when each worker has loaded the network and ended its second case."""
    first = 2 * workers
    return (len(clock.ended) - first) / max(clock.ended[-1] - clock.ended[first - 1], 1e-9)


def report(runs: Sequence[Throughput], count: int) -> str:
    """A table in Markdown: medians, speed-up over the smallest number of workers, and what a day does at that rate."""
    title = (
        f"{count} cases of {' x '.join(map(str, reversed(SHAPE)))} voxels, one box each, propagated both ways; "
        f"{platform.machine()}, {processor_name()}, Python {platform.python_version()}."
    )
    head = "| workers | runs | cases per second, median (least to most) | speed-up | s per case | s in all "
    lines = [title, "", f"{head}| cases a day | MB per worker | failed |", "|---" * 9 + "|"]
    counts = sorted({run.workers for run in runs})
    base = 0.0
    for workers in counts:
        chosen = [run for run in runs if run.workers == workers]
        rates = sorted(run.rate for run in chosen)
        rate = statistics.median(rates)
        base = base or rate
        seconds = statistics.median(run.case_seconds for run in chosen)
        total = statistics.median(run.total_seconds for run in chosen)
        memory = max(run.peak_memory_mb for run in chosen)
        lines.append(
            f"| {workers} | {len(chosen)} | {rate:.2f} ({rates[0]:.2f} to {rates[-1]:.2f}) | {rate / base:.2f} "
            f"| {seconds:.3f} | {total:.1f} | {86400 * rate:.0f} | {memory:.0f} | {sum(run.failed for run in chosen)} |"
        )
    lines += ["", *_forecast(runs)]
    return "\n".join(lines)


def _forecast(runs: Sequence[Throughput]) -> list[str]:
    """What more workers would do if their rates added up, and where the machinery ends that: an estimate."""
    limit = statistics.median(run.machinery_rate for run in runs)
    most = max(run.workers for run in runs)
    each = statistics.median(run.rate / run.workers for run in runs if run.workers == most)
    days = ", ".join(f"{n} workers {86400 * min(n * each, limit):.0f}" for n in FORECAST)
    return [
        f"The machinery without the network: {limit:.0f} cases per second ({1000 / limit:.2f} ms a case).",
        f"It can feed {limit / each:.0f} workers with cases as small as these.",
        f"Estimated from that, not measured: cases a day on {days}.",
    ]
