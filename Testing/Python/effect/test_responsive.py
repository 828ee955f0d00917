"""What keeps the window alive: a worker that stays away from Qt and MRML, a warm network; the first click is timed."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import vtk
from effect_user import INSIDE, tube

from EfficientMedSAM2Lib.mrml import segment_editor_session


@pytest.fixture
def calls_of_the_worker():
    """(class, method) of each call of a VTK or Qt object in another thread than the main one, by the profiler."""
    import shiboken6

    seen = []

    def watch(_frame, event, function):
        if event == "c_call" and threading.current_thread() is not threading.main_thread():
            owner = getattr(function, "__self__", None)
            if isinstance(owner, (vtk.vtkObjectBase, shiboken6.Object)):
                seen.append((type(owner).__name__, function.__name__))

    threading.setprofile(watch)
    yield seen
    threading.setprofile(None)


def test_the_worker_never_touches_qt_or_mrml(calls_of_the_worker, make_user):
    user = make_user()
    threads = set()
    user.predictor._maybe_fail = lambda _frame: threads.add(threading.current_thread().name)
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    user.press(user.panel.excludeButton)
    user.click((10, 7, 6))
    user.press(user.panel.propagateButton)
    user.press(user.panel.useSegmentButton)
    assert user.count() == tube().sum() - 9
    assert threads == {"EfficientMedSAM2"}
    assert calls_of_the_worker == []


def test_calls_in_another_thread_are_seen(calls_of_the_worker):
    thread = threading.Thread(target=lambda: vtk.vtkObject().GetMTime())
    thread.start()
    thread.join()
    assert calls_of_the_worker == [("vtkObject", "GetMTime")]


def test_the_first_click_is_timed_and_logged_once(user):
    lines = []

    class Log(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    handler, root = Log(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        user.press(user.panel.propagateButton)  # nothing to propagate: no answer
        assert user.controller.first_latency_s is None
        user.click(INSIDE)
        user.click((6, 8, 6))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert 0 < user.controller.first_latency_s < 5
    said = [line for line in lines if line.startswith("First click")]
    assert said == [f"First click answered after {1000 * user.controller.first_latency_s:.0f} ms."]


def test_what_the_user_looks_at_is_prepared_before_a_click(user, monkeypatch):
    read = []
    real = segment_editor_session.volume_from_node
    monkeypatch.setattr(segment_editor_session, "volume_from_node", lambda node: read.append(node) or real(node))
    assert user.controller.prefetch(0, 5)
    assert not user.controller.prefetch(0, 6)  # one thing at a time
    user.wait()
    assert user.predictor.prefetched == [5]
    assert len(read) == 1
    user.click(INSIDE)
    assert user.count() > 0
    assert len(read) == 1  # the image was at hand
    user.undo()
    assert user.count() == 0


def test_nothing_is_prepared_without_a_network_or_beside_a_preview(make_user):
    user = make_user()
    user.controller.auto_commit = False
    user.click(INSIDE)
    assert user.controller.has_preview
    assert not user.controller.prefetch(0, 5)
    user.controller.unload()
    assert not user.controller.prefetch(0, 5)


def test_the_network_is_loaded_once_and_has_answered_before_the_first_click(monkeypatch):
    torch = pytest.importorskip("torch")
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader
    from EfficientMedSAM2Lib import EfficientMedSAM2VolumePredictor

    done = []
    for name in ("add_new_points_or_box", "propagate_object"):
        real = getattr(EfficientMedSAM2VolumePredictor, name)

        def noted(self, *args, _real=real, _name=name, **options):
            done.append(_name)
            return _real(self, *args, **options)

        monkeypatch.setattr(EfficientMedSAM2VolumePredictor, name, noted)
    monkeypatch.setattr(loader, "_kept", {})
    first = loader.load_predictor("mobilenet", "random", "cpu")
    assert done == ["add_new_points_or_box", "propagate_object"]
    assert loader.load_predictor("mobilenet", "random", "cpu") is first
    assert len(done) == 2
    state = first.init_state(np.zeros((2, 40, 40), np.int16), spacing=(1, 1, 1), axis=0)
    first.add_new_points_or_box(state, 0, 1, points=np.array([[20.0, 20.0]]), labels=np.array([1]))
    assert torch.is_inference_mode_enabled() is False
