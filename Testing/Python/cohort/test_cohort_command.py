"""`efficient-medsam2 cohort` as it is typed: the real network on a real scan, the bar, exit codes, stopping."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.core.resources import shipped_weights


@pytest.fixture(scope="session")
def weights():
    """The smaller network's, which is shipped exported as well: workers start without PyTorch."""
    return shipped_weights("mobilenet")


@pytest.fixture
def real_cohort(cohort):
    """Two pieces of a real CT, the second of them cut off."""
    import slicerio

    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    chest = read_volume(Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd").array
    cohort.add("whole", np.ascontiguousarray(chest[10:16, 30:90, 30:90]), points="30,30,3")
    cut = cohort.add("cut", np.ascontiguousarray(chest[16:22, 30:90, 30:90]), points="30,30,3")
    cut.write_bytes(cut.read_bytes()[:2000])
    return cohort


@pytest.mark.slow
def test_the_network_on_worker_processes(real_cohort, weights, capfd):
    command = [
        "cohort",
        "run",
        str(real_cohort.manifest),
        "--output",
        str(real_cohort.output),
        "--weights",
        str(weights),
    ]
    command += ["--workers", "1", "--no-stop-when-lost"]
    assert main(command) == 1
    out, err = capfd.readouterr()
    assert "1 cases done, 1 failed, 0 left" in out
    assert re.search(r"efficient-medsam2: case cut failed: .*cut\.nrrd", err)
    assert "Traceback" not in err
    assert re.search(r"Dashboard: http://127\.0\.0\.1:\d+", err)
    assert re.search(r"2/2 .*1 failed", err)
    assert "case/s" in err or "s/case" in err
    first = real_cohort.files()
    assert list(first) == ["whole"]

    import json

    record = json.loads((real_cohort.output / "cases" / "whole" / "provenance.json").read_text())
    assert len(record["segments"][0]["scores"]) == 6
    assert len(record["weights_sha256"]) == 64
    assert record["settings"]["encoder"] == "mobilenet"

    again = real_cohort.output.with_name("again")
    command[command.index("--output") + 1] = str(again)
    assert main([*command, "--quiet"]) == 1
    assert (again / "cases/whole/segmentation.seg.nrrd").read_bytes() == first["whole"]


def test_a_case_does_not_depend_on_those_before_it(cohort, weights):
    """What a worker keeps between cases (features, memory, windows) must not show, not even in the scores."""
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.pipeline.case import PropagationOptions

    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        cohort.add(name, random.normal(0, 200, (4, 40, 40)).astype(np.int16), points="20,20,2")
    settings = RunSettings("mobilenet", str(weights), propagation=PropagationOptions(stop_when_lost=False))
    first = {outcome.name: outcome.record["segments"] for outcome in cohort.run(settings=settings).outcomes}
    forward = cohort.files()
    cohort.lines.reverse()
    cohort.output = cohort.output.with_name("backward")
    second = {outcome.name: outcome.record["segments"] for outcome in cohort.run(settings=settings).outcomes}
    assert cohort.files() == forward
    assert len(forward) == 3
    assert second == first
    assert len({str(segments[0]["scores"]) for segments in first.values()}) == 3


def test_weights_that_are_not_there_stop_the_run_before_it_begins(cohort, capsys):
    cohort.add("a")
    command = ["cohort", "run", str(cohort.manifest), "--output", str(cohort.output), "--weights", "none.safetensors"]
    assert main(command) == 2
    assert "none.safetensors" in capsys.readouterr().err
    assert not cohort.output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "worker"),
        (["--memory-gb", "-1"], "memory"),
        (["--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "scheduler"),
        (["--range-mm", "-3"], "range"),
    ],
)
def test_impossible_options_are_one_line(cohort, capsys, options, message):
    cohort.add("a")
    assert main(["cohort", "run", str(cohort.manifest), "--output", str(cohort.output), *options]) == 2
    err = capsys.readouterr().err
    assert message in err.lower()
    assert len(err.splitlines()) == 1
    assert not cohort.output.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to one process")
def test_ctrl_c_keeps_what_is_done(cohort):
    for number in range(40):
        cohort.add(f"c{number:02}")
    runner = Path(__file__).with_name("cohort_runner.py")
    command = [sys.executable, str(runner), str(cohort.manifest), str(cohort.output), "cheap_engine:build_slow_session"]
    run = subprocess.Popen(
        [*command, "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 180
    while len(cohort.files()) < 3:
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=180)
    assert run.returncode != 0
    assert "KeyboardInterrupt" in err
    done = cohort.files()
    assert 3 <= len(done) < 40
    table = (cohort.output / "measurements.csv").read_text().splitlines()
    # The two cases that were handed out may be finished without the run hearing of it; the next run recognises them.
    assert len(done) - 2 <= len(table) - 1 <= len(done)


@pytest.mark.nightly
def test_the_benchmark_prints_a_table(weights, capsys, monkeypatch):
    from EfficientMedSAM2Lib.cohort.run import benchmark

    monkeypatch.setattr(benchmark, "SHAPE", (2, 40, 40))
    options = ["--cases", "5", "--workers", "1", "--repeats", "1", "--weights", str(weights)]
    assert main(["cohort", "benchmark", *options]) == 0
    out = capsys.readouterr().out
    assert "5 cases of 40 x 40 x 2 voxels" in out
    assert re.search(r"^\| 1 \| 1 \| [\d.]+ \([\d.]+ to [\d.]+\) \| 1\.00 \|.*\| 0 \|$", out, re.MULTILINE)
