"""The rounds of a benchmark: every network in its own process, one after another, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.evaluation.benchmark.jobs import BenchmarkJob, BenchmarkResult
from EfficientMedSAM2Lib.evaluation.benchmark.networks import NETWORKS, ORIGINALS, NetworkOptions, TimedNetwork
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan
from EfficientMedSAM2Lib.evaluation.benchmark.worker import BAD_INPUT


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        networks: Names in `NETWORKS`, in the order of a round.
        slices: Numbers of slices for EfficientMedSAM2.
        original_slices: The one for the originals; EfficientMedSAM2 runs with it too, for the comparison.
        repeats: Rounds.
        objects: Labelled slices for accuracy, for each data set; 0 leaves accuracy out.
        weights: Network -> file.
        random: Networks with random weights, whose masks mean nothing.
        data_dir: See `scans.images_of`.
        device: See `NetworkOptions`.
        threads: Of each process; None leaves it to torch.
        processor_time: See `BenchmarkJob`.
    """

    networks: Sequence[str]
    slices: Sequence[int] = (50, 200, 800)
    original_slices: int = 20
    repeats: int = 3
    objects: int = 12
    weights: dict[str, str] | None = None
    random: Sequence[str] = ()
    data_dir: str = ""
    device: str = "auto"
    threads: int | None = None
    processor_time: bool = False

    def lengths(self) -> list[int]:
        """All numbers of slices."""
        return sorted({*self.slices, self.original_slices})


def jobs(plan: Plan, folder: Path) -> list[BenchmarkJob]:
    """The processes in the order in which they run. Rounds are interleaved: a slow minute hits every network."""
    found = []
    for repeat in range(plan.repeats):
        for length in plan.lengths():
            for network in plan.networks:
                if network in ORIGINALS and length != plan.original_slices:
                    continue
                job = replace(_job(plan, network, folder), slices=length, repeat=repeat, scan=str(folder / str(length)))
                if length == plan.original_slices:
                    masks = str(folder / f"{network}.npz") if repeat == 0 and network not in plan.random else ""
                    job = replace(job, details=True, masks=masks)
                found.append(job)
    if plan.objects:
        meaningful = [network for network in plan.networks if network not in plan.random]
        found += [replace(_job(plan, network, folder), accuracy=True, objects=plan.objects) for network in meaningful]
    return found


def _job(plan: Plan, network: str, folder: Path) -> BenchmarkJob:
    return BenchmarkJob(
        network,
        str(folder),
        0,
        data_dir=plan.data_dir,
        weights=(plan.weights or {}).get(network, ""),
        device=plan.device,
        random=network in plan.random,
        processor_time=plan.processor_time,
    )


def make_network(plan: Plan, network: str) -> TimedNetwork:
    """A network of a plan, in this process."""
    weights = (plan.weights or {}).get(network)
    options = NetworkOptions(Path(weights) if weights else None, plan.device, network in plan.random)
    return NETWORKS[network](options)


def write_scans(plan: Plan, scan: Scan, folder: Path) -> None:
    """Write the scan in all lengths, for the processes to read."""
    for length in plan.lengths():
        place = folder / str(length)
        place.mkdir()
        scan.of_length(length).save(place)


def run_jobs(waiting: Iterable[BenchmarkJob], threads: int | None = None) -> Iterator[BenchmarkResult]:
    """Run one process after another.

    Args:
        waiting: What to run.
        threads: See `Plan`.

    Raises:
        UserError: A process could not use what it was given, such as a checkpoint.
        RuntimeError: A process failed.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    worker = f"{__package__}.worker"
    for job in waiting:
        command = [sys.executable, "-W", "ignore", "-m", worker, repr(time.time()), job.to_json()]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode == 0:
            yield BenchmarkResult.from_json(done.stdout.splitlines()[-1])
            continue
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if done.returncode == BAD_INPUT:
            raise UserError(reason)
        raise RuntimeError(f"The process that measures {job.network} with {job.slices} slices failed: {reason}")
