"""A cohort on real worker processes: killed workers, a killed run, killed schedulers; and what listens where."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from EfficientMedSAM2Lib.cohort.records.ledger import FILE_NAME
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
from EfficientMedSAM2Lib.imaging.volumes import read_volume

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes the POSIX way")
RUNNER = Path(__file__).with_name("cohort_runner.py")
CHEAP, SLOW, COUNTED = (f"cheap_engine:build_{kind}session" for kind in ("", "slow_", "counted_"))
KILLS = 999


@contextmanager
def started(cohort, output, engine=SLOW, where="2"):
    """A run in a process of its own; it and its workers are gone at the end."""
    command = [sys.executable, str(RUNNER), str(cohort.manifest), str(output), engine, where]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield run
    finally:
        with suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(run.pid).children(recursive=True), psutil.Process(run.pid)]:
                process.kill()
        run.communicate()


def wait_for(condition, seconds=180):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.05)
    return found


def finished(output):
    """Case to (inode, time) of its folder and the process that made it, for all that are done."""
    found = {}
    for record in Path(output).glob("cases/[!.]*/provenance.json"):
        stat = record.parent.stat()
        found[record.parent.name] = (stat.st_ino, stat.st_mtime_ns, json.loads(record.read_text())["process"])
    return found


def segmentations(output):
    return {path.parent.name: path.read_bytes() for path in Path(output).glob("cases/*/*.seg.nrrd")}


@pytest.mark.slow
def test_killed_worker_then_killed_run_then_again(cohort, tmp_path):
    """The result is the same to the byte as without all that, and what was done stays untouched."""
    count = 30
    for number in range(count):
        cohort.add(f"c{number:02}")
    with started(cohort, cohort.output) as run:
        wait_for(lambda: len(finished(cohort.output)) >= 4)
        os.kill(next(iter(finished(cohort.output).values()))[2], signal.SIGKILL)
        before = len(finished(cohort.output))
        wait_for(lambda: len(finished(cohort.output)) >= before + 4)
        children = psutil.Process(run.pid).children(recursive=True)
        run.kill()
        run.wait()
    assert not psutil.wait_procs(children, timeout=30)[1], "workers outlive their run"
    done = finished(cohort.output)
    assert 4 <= len(done) < count, "killed too late to tell anything"

    with started(cohort, cohort.output) as run:
        out, err = run.communicate(timeout=300)
    assert out.split()[:3] == [str(count), "0", "0"], err
    after = finished(cohort.output)
    assert {name: after[name] for name in done} == done
    with closing(sqlite3.connect(cohort.output / FILE_NAME)) as ledger:
        assert ledger.execute("SELECT max(computed) FROM cases").fetchone() == (1,)
    assert not [path for path in (cohort.output / "cases").iterdir() if path.name.startswith(".")]

    other = tmp_path / "undisturbed"
    with started(cohort, other, CHEAP) as run:
        run.communicate(timeout=300)
    assert segmentations(cohort.output) == segmentations(other)
    assert len(segmentations(other)) == count


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_case_that_kills_its_workers_is_named_and_the_others_are_done(cohort, workers):
    """Also those that were waiting behind it, on the workers that it took down."""
    for number in range(6):
        cohort.add(f"c{number}", np.full((6, 12, 14), KILLS, dtype=np.int16) if number == 2 else None)
    summary = cohort.run(cluster=ClusterOptions(workers))
    assert [outcome.name for outcome in summary.failed] == ["c2"]
    assert "worker died" in summary.failed[0].reason
    assert summary.failed[0].kind == "machine"
    assert set(segmentations(cohort.output)) == {"c0", "c1", "c3", "c4", "c5"}
    assert "c2" in (cohort.output / "failures.csv").read_text()


@pytest.mark.slow
def test_a_worker_builds_its_session_once_and_only_this_machine_can_reach_it(cohort, tmp_path):
    for number in range(8):
        cohort.add(f"c{number}")
    log, listening = tmp_path / "log", set()

    def look(outcome):
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                listening.update(c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN)

    from EfficientMedSAM2Lib.cohort.run.progress import RunProgress

    class Watch(RunProgress):
        add = staticmethod(look)

    settings = RunSettings(engine=COUNTED, device=str(log))
    assert not cohort.run(settings=settings, cluster=ClusterOptions(2), progress=lambda *_: Watch()).failed
    built = log.read_text().split()
    workers = {str(pid) for *_, pid in finished(cohort.output).values()}
    assert len(built) == len(set(built))
    assert workers <= set(built)
    assert listening
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_cluster_that_already_runs(cohort):
    from distributed import LocalCluster

    for number in range(4):
        cohort.add(f"c{number}")
    with LocalCluster(1, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None) as cluster:
        summary = cohort.run(cluster=ClusterOptions(scheduler=cluster.scheduler_address))
        assert cluster.status.name == "running"
    assert (summary.failed, summary.left) == ([], 0)
    assert len(segmentations(cohort.output)) == 4


def test_no_scheduler_is_a_clear_line(cohort, monkeypatch):
    from EfficientMedSAM2Lib.cohort.run import cluster

    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    cohort.add("a")
    with pytest.raises(ValueError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        cohort.run(cluster=ClusterOptions(scheduler="tcp://127.0.0.1:9"))


@pytest.mark.parametrize("error", ["CommClosedError", "FutureCancelledError"])
def test_a_scheduler_that_dies_while_a_result_is_on_its_way_is_told_as_such(tmp_path, monkeypatch, error):
    import distributed
    from distributed.comm.core import CommClosedError

    from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
    from EfficientMedSAM2Lib.cohort.run.feeding import Stopped, feed

    class Future:
        status = "finished"

        def __init__(self, key):
            self.key = key

        def result(self):
            if error == "CommClosedError":
                raise CommClosedError("in <TCP (closed) ConnectionPool.gather>")
            raise distributed.client.FutureCancelledError(self.key, "scheduler-connection-lost")

    class Client:
        def nthreads(self):
            return {"worker": 1}

        def submit(self, *arguments, key, pure):
            return Future(key)

    monkeypatch.setattr(distributed, "as_completed", iter)
    with pytest.raises(Stopped, match="scheduler is gone"):
        feed(Client(), [CaseSpec("a", "a.nrrd", ())], RunSettings(), tmp_path, pytest.fail)


@pytest.mark.parametrize("status", ["lost", "pending"])
def test_an_outcome_that_dies_with_another_cases_worker_is_waited_for_again(tmp_path, monkeypatch, status):
    """Dask computes a case again that had ended on a worker which died before its outcome was fetched."""
    import distributed

    from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
    from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
    from EfficientMedSAM2Lib.cohort.run.feeding import feed

    class Future:
        def __init__(self, key, name):
            self.key, self.name, self.statuses = key, name, [status, "finished"]

        @property
        def status(self):
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

        def result(self):
            return CaseOutcome(self.name, "", "failed")

        def release(self):
            pass

    class Client:
        def nthreads(self):
            return {"worker": 1}

        def submit(self, _run, case, *_arguments, key, pure):
            return Future(key, case.name)

    class Completed(list):
        def __iter__(self):
            while self:
                yield self.pop(0)

        add = list.append

    monkeypatch.setattr(distributed, "as_completed", Completed)
    kept = []
    feed(Client(), [CaseSpec(name, f"{name}.nrrd", ()) for name in "abc"], RunSettings(), tmp_path, kept.append)
    assert sorted(outcome.name for outcome in kept) == ["a", "b", "c"]


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_run_and_the_next_goes_on(cohort, tmp_path):
    for number in range(12):
        cohort.add(f"c{number:02}")
    address = tmp_path / "scheduler.json"
    script = (
        "import sys, time, json; sys.path.insert(0, sys.argv[2]); from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(1, processes=False, protocol='tcp://', host='127.0.0.1', dashboard_address=None)\n"
        "    open(sys.argv[1], 'w').write(cluster.scheduler_address + chr(10)); time.sleep(600)\n"
    )
    (tmp_path / "serve.py").write_text(script)
    server = subprocess.Popen([sys.executable, str(tmp_path / "serve.py"), str(address), str(RUNNER.parent)])
    try:
        where = wait_for(lambda: address.is_file() and address.read_text().strip())
        with started(cohort, cohort.output, SLOW, where) as run:
            wait_for(lambda: len(finished(cohort.output)) >= 2)
            server.kill()
            out, err = run.communicate(timeout=300)
    finally:
        server.kill()
        server.wait()
    assert "scheduler is gone" in out, err
    done = finished(cohort.output)
    summary = cohort.run(settings=RunSettings(engine=SLOW, pictures=False))
    assert (summary.failed, summary.left) == ([], 0)
    after = finished(cohort.output)
    assert {name: after[name] for name in done} == done


@pytest.mark.nightly
def test_two_hundred_cases_with_one_in_twenty_broken(cohort):
    """Synthetic volumes and pieces of a real CT."""
    import slicerio

    chest = read_volume(Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd").array
    bad = set()
    for number in range(200):
        name = f"c{number:03}"
        piece = chest[number % 20 : number % 20 + 6, 40:52, 40:54] if number % 4 == 0 else None
        path = cohort.add(name, piece)
        if number % 20 == 7:
            bad.add(name)
            text = path.read_bytes()
            path.write_bytes((text[: len(text) // 2], b"", b"nonsense", text[:100])[number // 20 % 4])
    summary = cohort.run(cluster=ClusterOptions(2))
    assert {outcome.name for outcome in summary.failed} == bad
    assert len(bad) == 10
    assert len(segmentations(cohort.output)) == 190
    failures = (cohort.output / "failures.csv").read_text()
    assert all(name in failures for name in bad)
