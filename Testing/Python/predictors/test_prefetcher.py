"""A second thread for prompts, views and the next slice: the same masks, and what goes wrong there is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from stub_network import StubNetwork

from EfficientMedSAM2Lib.models import HeuristicsConfig
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.fov import FieldOfView
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.inference_thread import SecondThread
from EfficientMedSAM2Lib.predictors.volume import prefetcher as ahead

VIEW = FieldOfView(0, 0, 64, 64)


def test_a_network_that_can_work_ahead_encodes_the_next_slice_in_another_thread(scene):
    volume = np.concatenate([scene[0]] * 2, axis=1)  # a view that does not reach the border

    def followed(works_ahead):
        network = StubNetwork()
        network.works_ahead, network.threads, threads = works_ahead, 2, set()
        real = network.encode_image
        network.encode_image = lambda image: threads.add(threading.get_ident()) or real(image)
        predictor = EfficientMedSAM2VolumePredictor(network)
        state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
        predictor.add_new_points_or_box(state, 10, "liver", box=[13, 25, 43, 55])
        masks = [mask for _, mask, _ in predictor.propagate_object(state, "liver", 10, range(11, 15))]
        logits = [found.numpy() for _, _, found in predictor.propagate_in_video(state, 10, 4, reverse=True)]
        return np.stack(masks), np.stack(logits), network.encoded, threads

    alone, with_second = followed(False), followed(True)
    np.testing.assert_array_equal(alone[0], with_second[0])
    np.testing.assert_array_equal(alone[1], with_second[1])
    assert alone[3] == {threading.get_ident()}
    assert len(with_second[3]) > 1
    assert with_second[2] <= alone[2] + 2  # a guess may be wrong where the view moves


def test_prompts_and_views_have_a_thread_each(scene):
    """A click that the widest view is not sure of is looked at in two more, one in each thread."""

    def clicked(works_ahead):
        network, threads = StubNetwork(), {"encode_image": [], "encode_prompts": [], "decode": []}
        network.works_ahead, network.threads, network.certainty = works_ahead, 2, 0.5
        for name, seen in threads.items():
            real = getattr(network, name)
            setattr(
                network, name, lambda *given, real=real, seen=seen: seen.append(threading.get_ident()) or real(*given)
            )
        predictor = EfficientMedSAM2VolumePredictor(network)
        state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
        return predictor.add_new_points_or_box(state, 10, "liver", points=[[28, 40]], labels=[1])[2].numpy(), threads

    (alone, single), (mask, threads) = clicked(False), clicked(True)
    np.testing.assert_array_equal(mask, alone)
    here = threading.get_ident()
    assert {thread for seen in single.values() for thread in seen} == {here}
    assert threads["encode_prompts"][0] != here, "while the slice is encoded"
    assert threads["encode_image"][0] == threads["decode"][0] == here
    for seen in threads.values():
        assert len(set(seen)) == 2


def test_what_is_offered_while_the_thread_is_busy_is_done_by_whoever_asks():
    network = StubNetwork()
    network.works_ahead, network.threads = True, 2
    second, going, go = SecondThread(network), threading.Event(), threading.Event()
    assert second.is_idle

    def wait() -> int:
        going.set()
        assert go.wait(10)
        return threading.get_ident()

    first = second.offer(wait)
    assert going.wait(10)
    assert not second.is_idle
    assert second.offer(threading.get_ident)() == threading.get_ident()
    queued = second.queue(threading.get_ident)
    go.set()
    assert first() == queued() != threading.get_ident()
    network.threads = 1
    assert not second.is_there
    assert second.offer(threading.get_ident)() == threading.get_ident()


def test_the_thread_that_waits_for_the_other_reads_the_prompts(monkeypatch):
    """On a clock of our own, on which a slice takes the first thread 20 ms, 3 of them for its prompts."""
    now, encoding_takes = [0.0], [0.0]
    monkeypatch.setattr(ahead, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def queue(work):
        begun, takes = now[0], encoding_takes[0]

        def result():
            asked, now[0] = now[0], begun + takes
            work()
            now[0] = max(asked, now[0])

        return result

    thread = SimpleNamespace(is_there=True, queue=queue)
    slices = SimpleNamespace(second_thread=thread, encode=lambda *given: None, heuristics=HeuristicsConfig())
    encoder = ahead.Ahead(slices, FeatureCache(0))

    def first_reads_prompts() -> bool:
        encoder.wait()
        later = encoder.turn(lambda: encoder.start(None, VIEW))
        if later is None:
            now[0] += 20e-3
        else:
            now[0] += 3e-3  # the second thread has read them
            later()
            now[0] += 14e-3
        return later is None

    for takes, first in ((15, False), (19, True), (26, True), (18, True), (15, False)):
        encoding_takes[0] = takes * 1e-3
        # A slice or two until it has settled, and then it stays so.
        assert [first_reads_prompts() for _ in range(6)][3:] == [first] * 3, takes


def test_the_second_thread_does_not_wait_for_itself(monkeypatch):
    """Its work may have begun, and ask for a second thread, before whoever gave it has been told that it was taken."""
    submit, done = ThreadPoolExecutor.submit, threading.Event()

    def slow_submit(pool, work):
        future = submit(pool, work)
        assert done.wait(10)
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", slow_submit)
    network = StubNetwork()
    network.works_ahead, network.threads = True, 2
    second = SecondThread(network)

    def work() -> bool:
        idle = second.is_idle
        done.set()
        return idle

    assert second.queue(work)() is False
    assert second.is_idle


def test_what_goes_wrong_ahead_is_told_when_the_slice_is_due(network, scene):
    network.works_ahead, network.threads = True, 2
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, "liver", box=[13, 25, 43, 55])
    before = threading.active_count()
    real = network.encode_image

    def broken(image):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("no more memory")
        return real(image)

    network.encode_image = broken
    with pytest.raises(RuntimeError, match="no more memory"):
        list(predictor.propagate_object(state, "liver", 10, range(11, 15)))
    assert threading.active_count() == before
