"""A thread for prompts, viewports and the next slice: the same masks, and what goes wrong there is raised."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from stub_network import StubNetwork

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
from EfficientMedSAM2Lib.predictors.slices.inference_thread import InferenceThread


def test_the_next_slice_is_encoded_in_another_thread(scene):
    volume = np.concatenate([scene[0]] * 2, axis=1)  # a viewport that does not reach the border

    def propagated(runs_concurrently):
        network = StubNetwork()
        network.runs_concurrently, network.threads, threads = runs_concurrently, 2, set()
        real = network.encode_image
        network.encode_image = lambda image: threads.add(threading.get_ident()) or real(image)
        predictor = EfficientMedSAM2VolumePredictor(network)
        state = predictor.init_state(volume, spacing=(3, 1, 1), window=(0, 1))
        predictor.add_new_points_or_box(state, 10, "liver", box=[13, 25, 43, 55])
        masks = [mask for _, mask, _ in predictor.propagate_object(state, "liver", 10, range(11, 15))]
        logits = [found.numpy() for _, _, found in predictor.propagate_in_video(state, 10, 4, reverse=True)]
        return np.stack(masks), np.stack(logits), network.encoded, threads

    alone, with_second = propagated(False), propagated(True)
    np.testing.assert_array_equal(alone[0], with_second[0])
    np.testing.assert_array_equal(alone[1], with_second[1])
    assert alone[3] == {threading.get_ident()}
    assert len(with_second[3]) > 1
    assert with_second[2] <= alone[2] + 2  # a prefetched viewport may be wrong where the viewport moves


def test_prompts_and_views_have_a_thread_each(scene):
    """A click that the widest viewport is not sure of is segmented in two more, one in each thread."""

    def clicked(runs_concurrently):
        network, threads = StubNetwork(), {"encode_image": [], "encode_prompts": [], "decode": []}
        network.runs_concurrently, network.threads, network.certainty = runs_concurrently, 2, 0.5
        prompts_begun, both_views = threading.Event(), threading.Barrier(2)

        def noted(name, real, *given):
            threads[name].append(threading.get_ident())
            if name == "encode_prompts":
                prompts_begun.set()
            elif name == "encode_image" and runs_concurrently:
                # What has not begun is done by whoever asks, so neither thread may be done before the other begins.
                if len(threads[name]) == 1:
                    assert prompts_begun.wait(30)
                else:
                    both_views.wait(30)
            return real(*given)

        for name in threads:
            setattr(network, name, functools.partial(noted, name, getattr(network, name)))
        predictor = EfficientMedSAM2VolumePredictor(network)
        state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
        return predictor.add_new_points_or_box(state, 10, "liver", points=[[28, 40]], labels=[1])[2].numpy(), threads

    (alone, single), (mask, threads) = clicked(False), clicked(True)
    np.testing.assert_array_equal(mask, alone)
    caller = threading.get_ident()
    assert {thread for seen in single.values() for thread in seen} == {caller}
    assert threads["encode_prompts"][0] != caller, "while the slice is encoded"
    assert threads["encode_image"][0] == threads["decode"][0] == caller
    for seen in threads.values():
        assert len(set(seen)) == 2


def test_what_is_offered_while_the_thread_is_busy_is_done_by_whoever_asks():
    network = StubNetwork()
    network.runs_concurrently, network.threads = True, 2
    thread, going, go = InferenceThread(network), threading.Event(), threading.Event()
    assert thread.is_idle

    def wait() -> int:
        going.set()
        assert go.wait(10)
        return threading.get_ident()

    first = thread.offer(wait)
    assert going.wait(10)
    assert not thread.is_idle
    assert thread.offer(threading.get_ident)() == threading.get_ident()
    queued = thread.submit(threading.get_ident)
    go.set()
    assert first() == queued() != threading.get_ident()
    network.threads = 1
    assert not thread.is_enabled
    assert thread.offer(threading.get_ident)() == threading.get_ident()


def test_a_closed_thread_has_ended_and_starts_again():
    network = StubNetwork()
    network.runs_concurrently, network.threads = True, 2
    before, thread = threading.active_count(), InferenceThread(network)
    for _ in range(2):
        assert thread.submit(threading.get_ident)() != threading.get_ident()
        assert threading.active_count() == before + 1
        thread.close()
        assert threading.active_count() == before
        assert thread.is_idle


def test_the_inference_thread_does_not_wait_for_itself(monkeypatch):
    """Its work may have begun, and ask for a second thread, before whoever gave it knows that it was taken."""
    submit, done = ThreadPoolExecutor.submit, threading.Event()

    def slow_submit(pool, work):
        future = submit(pool, work)
        assert done.wait(10)
        return future

    monkeypatch.setattr(ThreadPoolExecutor, "submit", slow_submit)
    network = StubNetwork()
    network.runs_concurrently, network.threads = True, 2
    thread = InferenceThread(network)

    def work() -> bool:
        idle = thread.is_idle
        done.set()
        return idle

    assert thread.submit(work)() is False
    assert thread.is_idle


def test_what_goes_wrong_in_prefetching_is_raised_when_the_slice_is_due(network, scene):
    before, network.runs_concurrently, network.threads = set(threading.enumerate()), True, 2
    predictor = EfficientMedSAM2VolumePredictor(network)
    state = predictor.init_state(scene[0], spacing=(3, 1, 1), window=(0, 1))
    predictor.add_new_points_or_box(state, 10, "liver", box=[13, 25, 43, 55])
    real = network.encode_image

    def broken(image):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("no more memory")
        return real(image)

    network.encode_image = broken
    with pytest.raises(RuntimeError, match="no more memory"):
        list(predictor.propagate_object(state, "liver", 10, range(11, 15)))
    assert set(threading.enumerate()) <= before
