"""A measured process: `python -m EfficientMedSAM2Lib.evaluation.benchmark.worker START JOB`.

Loads one network, measures what the job asks for and prints a `BenchmarkResult` as its last line. START is when the
process was started, in seconds since 1970: the way to the first mask begins before Python does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from EfficientMedSAM2Lib.evaluation.benchmark.jobs import BenchmarkJob, BenchmarkResult
from EfficientMedSAM2Lib.evaluation.benchmark.memory import MEBIBYTE, peak_memory, resident_memory
from EfficientMedSAM2Lib.evaluation.benchmark.networks import NETWORKS, NetworkOptions, TimedNetwork
from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan, read_scan
from EfficientMedSAM2Lib.evaluation.benchmark.timing import Clock, part_times, step_times, timed_ms

BAD_INPUT = 2
FULL_MEMORY = 8  # steps after which the bank of memories is full: MedSAM2's holds seven
PART_STEPS = 16
ROUNDS, ROUND_SECONDS = 7, 10.0


def main(arguments: list[str]) -> int:
    """Measure; bad input is one line on stderr and exit code 2."""
    started, job = float(arguments[0]), BenchmarkJob.from_json(arguments[1])
    try:
        result = accuracy(job) if job.accuracy else measure(job, started)
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return BAD_INPUT
    sys.stdout.write(result.to_json() + "\n")
    return 0


def measure(job: BenchmarkJob, started: float) -> BenchmarkResult:
    """Time and memory of one network.

    Args:
        job: What to do.
        started: When this process was started, `time.time()`.
    """
    result, values = _started(job)
    network = _network(job)
    clock = time.process_time if job.processor_time else time.perf_counter
    values["import_s"] = _seconds(network.import_libraries, clock)
    libraries = resident_memory()
    values["load_s"] = _seconds(network.load, clock)
    scan = read_scan(Path(job.scan))
    network.open(scan)
    network.box(0)
    values["first_mask_s"] = time.process_time() if job.processor_time else time.time() - started

    steps, masks = step_times(network, clock, keep=bool(job.masks))
    if steps:
        values["slices_per_s"] = len(steps) / sum(steps)
        values["slice_ms"] = _slice_ms(steps)
    peak = peak_memory()
    values["peak_mb"] = peak / MEBIBYTE
    # The scan is the caller's; what a network makes of it is its own.
    values["above_mb"] = (peak - libraries - scan.voxels.nbytes) / MEBIBYTE
    values.update(_gpu_memory())
    if job.masks:
        bits = np.zeros((len(scan.voxels), *masks[0].shape), np.uint8)
        bits[: len(masks)] = masks  # behind the last one the object was lost
        np.savez_compressed(job.masks, bits=bits, width=scan.voxels.shape[2])
    if job.details:
        _details(network, scan, values, clock)
        result.parts = part_times(network, scan, PART_STEPS, clock)
    values["parameters_m"] = network.method.parameter_count() / 1e6
    values["file_mb"] = network.method.file_bytes() / 1e6
    result.facts = _facts(network)
    return result


def _details(network: TimedNetwork, scan: Scan, values: dict[str, float], clock: Clock) -> None:
    """Single steps. A slice is new once: each is taken from a volume opened anew, where nothing is known of it."""
    last = len(scan.voxels) - 1
    values["encode_ms"] = timed_ms(lambda number: number % last, network.encode, clock)
    prompts = {"box": network.box, **({"click": network.click} if network.takes_clicks else {})}
    for name, prompt in prompts.items():

        def on_new_slice(number: int) -> int:
            if number % last == 0:
                network.open(scan)
            network.method.forget()
            return 1 + number % last

        def on_known_slice(_: int) -> int:
            network.method.forget()
            return 1

        values[f"{name}_new_ms"] = timed_ms(on_new_slice, prompt, clock)
        network.open(scan)
        prompt(1)
        values[f"{name}_known_ms"] = timed_ms(on_known_slice, prompt, clock)
    if network.takes_clicks:

        def after_a_click(_: int) -> int:
            network.method.forget()
            network.click(1)
            return 1

        values["correct_ms"] = timed_ms(after_a_click, network.correct, clock)
    values["encoder_ms"], values["slice_ms"] = _alternating(network, scan, clock)


def _alternating(network: TimedNetwork, scan: Scan, clock: Clock) -> tuple[float, float]:
    """Milliseconds of the bare encoder and of a propagated slice, medians of alternate rounds.

    They are held against each other, so that both must see the same seconds: the encoder alone took 7 ms in one second
    and 12 in the next, while the system had its two threads on one core.
    """
    encoder = network.encoder()
    rounds: list[tuple[float, float]] = []
    begin = clock()
    while not rounds or (len(rounds) < ROUNDS and clock() - begin < ROUND_SECONDS):
        encoder_ms = timed_ms(lambda number: number, lambda _: encoder(), clock)
        network.open(scan)
        steps, _ = step_times(network, clock, keep=False)
        rounds.append((encoder_ms, _slice_ms(steps)))
    encoder_ms, slice_ms = np.median(rounds, axis=0)
    return float(encoder_ms), float(slice_ms)


def _slice_ms(steps: list[float]) -> float:
    return 1000 * float(np.median(steps[FULL_MEMORY:] if len(steps) > FULL_MEMORY else steps))


def accuracy(job: BenchmarkJob) -> BenchmarkResult:
    """Dice of jittered boxes on labelled slices, macro over data sets and labels."""
    from EfficientMedSAM2Lib.evaluation.benchmark.scans import images_of
    from EfficientMedSAM2Lib.evaluation.cases import choose_cases
    from EfficientMedSAM2Lib.evaluation.methods.interface import BOX
    from EfficientMedSAM2Lib.evaluation.protocols import run_protocol
    from EfficientMedSAM2Lib.evaluation.report.tables import summarise

    result, values = _started(job)
    network = _network(job)
    network.import_libraries()
    network.load()
    cases = choose_cases(images_of(Path(job.data_dir) if job.data_dir else None), job.objects or None)
    records = list(run_protocol(BOX, network.method, cases))
    if records:
        values["box_dice"] = summarise(records)["macro"]["dice"]
        values["box_objects"] = len(records)
    return result


def _network(job: BenchmarkJob) -> TimedNetwork:
    options = NetworkOptions(Path(job.weights) if job.weights else None, job.device, job.random)
    return NETWORKS[job.network](options)


def _started(job: BenchmarkJob) -> tuple[BenchmarkResult, dict[str, float]]:
    result = BenchmarkResult(job.network, job.slices, job.repeat)
    return result, result.values


def _seconds(action: Callable[[], object], clock: Clock) -> float:
    start = clock()
    action()
    return clock() - start


def _gpu_memory() -> dict[str, float]:
    if "torch" not in sys.modules:  # ONNX Runtime does without
        return {}
    import torch

    return {"gpu_mb": torch.cuda.max_memory_allocated() / MEBIBYTE} if torch.cuda.is_initialized() else {}


def _facts(network: TimedNetwork) -> dict[str, object]:
    facts: dict[str, object] = {**network.method.computation(), "has_weights": network.has_weights}
    if "threads" not in facts and "torch" in sys.modules:
        import torch

        facts["threads"] = torch.get_num_threads()
    return facts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
