"""When views are drawn: in which order, how often, and which of them wait. Without a browser."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="needs the extra web")
vtk = pytest.importorskip("vtk")
subject = pytest.importorskip("EfficientMedSAM2Lib.web.views.render_scheduler")

TAGS = ("Red", "Green", "ThreeD")


class View:
    """What the scheduler needs of a view; it notes when it is drawn, and what is sent."""

    def __init__(self, tag, log):
        self.tag, self.log = tag, log
        self.events = vtk.vtkObject()
        self.strategy = None
        self.fails = False

    def interactor(self):
        return self.events

    def set_scheduled_render(self, strategy):
        self.strategy = strategy

    @property
    def img_cols_rows(self):
        self.log.append(self.tag)
        if self.fails:
            raise RuntimeError("no picture")
        return np.zeros((8, 8, 3), np.uint8), 8, 8

    def push(self, content, meta):
        assert content[:2] == b"\xff\xd8"  # JPEG
        self.log.append((self.tag, meta["quality"]))

    def change(self):
        self.strategy.schedule_render()


def play(scene):
    """Run ``await scene(scheduler, views, log)`` beside a scheduler; returns the log."""
    log = []

    async def run():
        scheduler = subject.RenderScheduler()
        views = {tag: View(tag, log) for tag in TAGS}
        for tag, view in views.items():
            scheduler.add(tag, view, view, view)
        task = asyncio.ensure_future(scheduler.run())
        await scene(scheduler, views, log)
        task.cancel()

    with ThreadPoolExecutor(1) as pool:  # in this thread, Playwright's loop may be running
        pool.submit(asyncio.run, run()).result()
    return log


async def moments(seconds=0.02):
    await asyncio.sleep(seconds)


def drawn(log):
    return [entry for entry in log if isinstance(entry, str)]


def test_the_view_that_was_turned_to_is_drawn_first():
    async def scene(scheduler, views, log):
        views["Green"].events.InvokeEvent("LeftButtonPressEvent")
        for view in views.values():
            view.change()
        await moments(0.1)

    log = play(scene)
    assert drawn(log)[0] == "Green"
    assert sorted(drawn(log)) == sorted(TAGS)  # each once


def test_views_that_have_to_wait_are_drawn_as_soon_as_they_may():
    async def scene(scheduler, views, log):
        scheduler.only = frozenset(["Red"])
        for view in views.values():
            view.change()
        await moments(0.1)
        assert drawn(log) == ["Red"]
        scheduler.only = frozenset(TAGS)
        await moments(0.1)

    assert sorted(drawn(play(scene))) == sorted(TAGS)


def test_many_changes_are_few_pictures_and_the_last_is_seen():
    async def scene(scheduler, views, log):
        for _ in range(50):
            views["Red"].change()
            await asyncio.sleep(0.004)
        await moments(0.1)

    log = play(scene)
    assert 2 <= len(drawn(log)) <= 0.2 / subject.FRAME_S + 3
    assert len([entry for entry in log if entry == ("Red", subject.MOVING_QUALITY)]) == len(drawn(log))


def test_a_view_at_rest_is_sent_once_more_but_not_drawn_again():
    async def scene(scheduler, views, log):
        views["Red"].change()
        await moments(subject.REST_S + 0.4)

    log = play(scene)
    assert log == ["Red", ("Red", subject.MOVING_QUALITY), ("Red", subject.STILL_QUALITY)]


def test_a_view_that_cannot_be_drawn_does_not_stop_the_others(caplog):
    async def scene(scheduler, views, log):
        views["Red"].fails = True
        scheduler.first = "Red"
        for view in views.values():
            view.change()
        await moments(0.1)

    assert sorted(drawn(play(scene))) == sorted(TAGS)
    assert "could not be drawn" in caplog.text
