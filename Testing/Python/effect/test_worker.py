"""The worker thread alone: order, reports, cancelling, errors, its end."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCE = REPOSITORY / "EfficientMedSAM2Lib/mrml/effect/worker.py"


@pytest.fixture
def worker():
    spec = importlib.util.spec_from_file_location("effect_worker", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Worker()
    yield made
    assert made.stop()


def test_work_is_done_in_one_other_thread_in_order(worker):
    threads, order = set(), []

    def work(n):
        def run(_job):
            threads.add(threading.get_ident())
            order.append(n)
            return n

        return run

    jobs = [worker.submit(work(n)) for n in range(5)]
    assert jobs[-1].done.wait(2)
    assert order == list(range(5))
    assert [job.result for job in jobs] == order
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert worker.idle


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError(), KeyboardInterrupt(), SystemExit()])
def test_done_is_set_whatever_happens(worker, error):
    def work(_job):
        raise error

    job = worker.submit(work)
    assert job.done.wait(2)
    assert job.error is error
    assert worker.submit(lambda _job: 7).done.wait(2)  # the thread lives on


def test_reports_come_in_order_and_wake_the_waiting(worker):
    go = threading.Event()

    def work(job):
        go.wait(2)
        for n in range(3):
            job.report(n)

    job = worker.submit(work)
    assert not job.wait_for_news(0.01)
    start = time.perf_counter()
    go.set()
    worker.yield_to_tasks(5)
    assert time.perf_counter() - start < 2
    job.done.wait(2)
    assert job.take_reports() == [0, 1, 2]
    assert job.take_reports() == []


def test_cancel_is_seen_by_the_work(worker):
    def work(job):
        while not job.cancelled:
            time.sleep(0.001)
        return "cancelled"

    job = worker.submit(work)
    job.cancel()
    assert job.done.wait(2)
    assert job.result == "cancelled"


def test_stop_cancels_and_ends_the_thread(worker):
    before = threading.active_count()

    def work(job):
        job.cancel_requested.wait(5)

    job = worker.submit(work)
    assert worker.stop()
    assert job.done.is_set()
    assert threading.active_count() == before
    assert worker.submit(lambda _job: 1).done.wait(2)  # and it can be used again


def test_the_engines_log_reaches_slicer_in_the_main_thread_only(worker):
    threads = []

    class Log(logging.Handler):
        def emit(self, record):
            threads.append((record.getMessage(), threading.current_thread()))

    handler = Log()
    logging.getLogger().addHandler(handler)
    engine = logging.getLogger("EfficientMedSAM2Lib.models")
    try:
        job = worker.submit(lambda _job: engine.warning("from the worker"))
        assert job.done.wait(2)
        assert threads == []
        worker.yield_to_tasks(0)
        engine.warning("from the main thread")
    finally:
        logging.getLogger().removeHandler(handler)
    assert threads == [
        ("from the worker", threading.main_thread()),
        ("from the main thread", threading.main_thread()),
    ]


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "running"])
def test_the_exit_waits_for_work_under_way(tmp_path, stopped):
    """Torn out of torch, the thread would abort Slicer when it is closed while the network is being loaded."""
    code = f"""
import sys, time
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from EfficientMedSAM2Lib.mrml.effect.worker import Worker
worker = Worker()
worker.submit(lambda job: (time.sleep(0.7), Path({str(tmp_path / "done")!r}).touch()))
if {stopped}:
    worker.stop(0.1)
"""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (tmp_path / "done").exists()
    assert time.perf_counter() - start < 20  # an idle thread is not waited for
