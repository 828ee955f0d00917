"""Work that outlives a session's process and the server, for its own user only."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from web_user import Gateway, User, children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and signals")


def works(served):
    """Folders with saved work."""
    return sorted({path.parents[1] for path in served.temporary.glob("efficient-medsam2-*/work-*/scan-*/work.json")})


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.1)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


@pytest.fixture
def serve(tmp_path):
    """Starts servers one after another; none is left."""
    started = []

    def start(*options):
        started.append(Gateway(tmp_path, *options))
        return started[-1]

    yield start
    for served in started:
        served.process.kill()


def begin(browser, served):
    """A user with a box, propagated nowhere, a coronal point on a second segment, and a third one without voxels."""
    user = User(browser.new_context(viewport={"width": 1280, "height": 720}).new_page(), served.url).come()
    user.open_sample()
    user.draw_box()
    user.rename("heart")
    user.rest()
    user.key("a", "p")
    user.wait("segments", "value.length === 2 && value[1].selected")
    user.drag("Green", (0.3, 0.5))
    user.wait_for_volume()
    user.rest()
    user.key("a")
    user.wait("segments", "value && value.length === 3")
    user.command("select_segment", user.state("segments")[1]["id"])
    user.wait("strip", "value.length > 0")
    user.wait("segments", "value[1].selected && value.every(segment => segment.volume !== '…')")
    user.key("r")
    user.wait("tool", "value === 'ruler'")
    user.drag("Red", (0.4, 0.3), (0.6, 0.5))
    user.wait("rulers", "value.length === 1")
    return user


def saved_as(user, folder):
    """What the files that the user saves hold, once it is saved on the server, too."""
    from EfficientMedSAM2Lib.core.geometry import roi_corners_ras
    from EfficientMedSAM2Lib.imaging.markups import read_markups
    from EfficientMedSAM2Lib.imaging.sample import sample_scan
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    volume = read_volume(sample_scan())
    folder.mkdir()
    segments = read_segmentation(user.save("segmentation", folder), volume)
    zipfile.ZipFile(user.save("prompts", folder)).extractall(folder)
    markups = [markup for path in sorted(folder.glob("*.mrk.json")) for markup in read_markups(path)]
    said = [(markup.kind, markup.positive, markup.planes) for markup in markups]
    places = [m.points_ras if m.size is None else roi_corners_ras(m.object_to_world, m.size) for m in markups]
    return [(s.name, s.color, s.terminology) for s in segments], [s.mask for s in segments], said, places


def same(first, second):
    assert second[0] == first[0]
    assert all(np.array_equal(a, b) for a, b in zip(first[1], second[1]))
    assert second[2] == first[2]
    assert {"coronal", "axial"} == {plane for _kind, _positive, planes in first[2] for plane in planes}
    for a, b in zip(first[3], second[3]):
        assert np.allclose(np.sort(a, axis=0), np.sort(b, axis=0), atol=0.002)  # mm, of the scene's own record


@pytest.mark.slow
@pytest.mark.browser
def test_work_is_gone_on_with_after_a_crash_and_after_a_restart(browser, serve, tmp_path):
    options = ["--port", free_port(), "--sessions", "2", "--token", "a long token"]
    served = serve(*options)
    served.url += "?token=a+long+token"
    user = begin(browser, served)
    rows, before, ruler = user.state("segments"), saved_as(user, tmp_path / "before"), user.state("rulers")
    strip = user.state("strip")
    user.wait_kept()
    (process,) = children(served.process.pid)
    os.kill(process, signal.SIGKILL)
    user.page.wait_for_selector("text=It has ended by a fault")
    user.picture("ended-by-a-fault")
    assert "CTChest4, 3 segments, saved" in user.page.inner_text("main")

    stranger = browser.new_context().new_page()  # knows the token, and even the name of the work
    stranger.goto(served.url)
    assert "Go on with" not in stranger.inner_text("main")
    stranger.evaluate("document.querySelector('button.start').value = " + repr(works(served)[0].name[5:]))
    stranger.evaluate("document.querySelector('button.start').name = 'work'")
    stranger.click("button.start")
    stranger.wait_for_selector("text=This work is not kept any more")
    stranger.context.close()

    user.start("text=Go on with this work")
    user.wait("segments", "value && value.length === 3")
    assert "Your work is open" in user.wait("message", "value")
    user.wait("is_ready", "value === true")
    measured = [segment["volume"] for segment in rows]
    user.wait("segments", f"String(value.map(segment => segment.volume)) === '{','.join(measured)}'")
    assert user.state("segments") == rows
    assert user.state("rulers") == ruler
    user.wait("strip", "value.length > 0")  # how sure the network was, to three digits
    assert all(abs(a - b) <= 1 for (_n, a, _k), (_m, b, _l) in zip(strip, user.state("strip")))
    assert len(user.state("strip")) == len(strip)
    same(before, saved_as(user, tmp_path / "after"))
    assert user.state("can_undo") is False
    user.command("setting", "keep_out", False)
    user.draw_box()  # on the second segment, whose point still counts, and which may enter others now
    user.wait("segments", "value[0].volume === '0'")  # it has taken the place of the first
    user.rest()
    rows, before = user.state("segments"), saved_as(user, tmp_path / "again")
    user.picture("gone-on-with")

    served.process.kill()  # at once: the process of the session saves what is new when it sees that
    served.process.wait(60)
    user.page.wait_for_selector("text=If the server was stopped, it can be gone on with")
    assert "kept on the server" in user.page.inner_text(".lost")
    until(lambda: not served.folders())
    served = serve(*options)
    user.page.wait_for_selector("#token")
    user.page.fill("#token", "a long token")
    user.page.click("text=Open")
    user.start("text=Go on with this work")
    user.wait("segments", "value && value.length === 3")
    user.wait("is_ready", "value === true")
    user.wait("segments", f"value[1].volume === '{rows[1]['volume']}'")
    same(before, saved_as(user, tmp_path / "restarted"))
    assert user.state("rulers") == ruler
    user.page.click("[data-action=end]")
    user.page.wait_for_selector("text=No scan, segments or prompts of it are on the server any more")
    assert "Go on" not in user.page.inner_text("main")
    assert works(served) == []
    assert set(user.errors) <= {"Object"}  # promises of trame, whose connection was cut twice
    user.page.context.close()
    assert served.stop() == 0
    assert not list(tmp_path.glob("efficient-medsam2-*"))
    assert "Traceback" not in "".join(served.lines)


@pytest.mark.slow
@pytest.mark.browser
def test_kept_work_goes_after_its_time(browser, serve, tmp_path):
    served = serve("--sessions", "1", "--sample")
    user = User(browser.new_context(viewport={"width": 1280, "height": 720}).new_page(), served.url).come()
    user.wait("volume_name", "value === 'CTChest4'")
    assert user.state("kept") == ""  # nothing was made
    user.draw_box()
    user.wait("kept", "value === 'soon'")
    user.wait_kept()
    assert len(works(served)) == 1
    assert served.stop() == 0
    assert "Work of 1 that" in served.process.stdout.read()
    (folder,) = works(served)
    assert Path(folder).stat().st_mode & 0o077 == 0
    for owner in folder.glob("owner"):
        os.utime(owner, (0, 0))  # long ago
    served = serve("--keep", "1")
    assert works(served) == []
    assert not folder.exists()
    user.page.context.close()
    assert served.stop() == 0
    assert not list(tmp_path.glob("efficient-medsam2-*"))


def test_work_of_a_server_that_runs_is_not_taken_over(tmp_path, monkeypatch):
    from EfficientMedSAM2Lib.web.gateway.works import ROOT_PREFIX, Works

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = (Works(Path(tempfile.mkdtemp(prefix=ROOT_PREFIX)), 100.0) for _ in range(2))
    name = first.create()
    first.own(name, "key")
    scan = first.folder(name) / "scan-1"
    scan.mkdir()
    (scan / "work.json").write_text(json.dumps({"scan": {"name": "x"}, "segments": [1], "saved": time.time()}))
    second.adopt_leftovers()
    assert second.of({name: "key"}) == []
    first._lock.close()  # as the system does it when the process ends
    second.adopt_leftovers()
    assert not first.root.exists()
    assert [work.text.split(", saved")[0] for work in second.of({name: "key"})] == ["x, 1 segment"]
    assert second.of({name: "another"}) == []


def test_what_is_in_the_folder_is_the_work(tmp_path):
    """Also of a server of before, which knew neither rulers nor slices."""
    from EfficientMedSAM2Lib.core.windows import IntensityWindow
    from EfficientMedSAM2Lib.imaging.volumes import Volume
    from EfficientMedSAM2Lib.web.work.files import Work, WorkSegment, read_work, write_scan, write_work

    windows = IntensityWindow(-100.0, 300.0, "SOFT"), IntensityWindow(-1200.0, 200.0, "LUNG")
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    scan = Volume(array, np.diag([-1.0, -2.0, 3.0, 1.0]), "CT", "a", file_windows=windows, headers=b"PK")
    mask = np.ones((1, 2, 2), bool)
    segment = WorkSegment("S_x", "lesion", (1.0, 0.0, 0.0), None, [[1, 2], [1, 3], [2, 4]], mask, (), "eJw=")
    rulers = (((1.0, 2.0, 3.0), (4.5, 5.0, 6.0)),)
    write_scan(tmp_path, scan)
    write_work(tmp_path, Work(scan, (segment,), "S_x", rulers))
    found = read_work(tmp_path)
    assert (found.volume.file_windows, found.volume.headers, found.rulers) == (windows, b"PK", rulers)
    assert (found.segments[0].slices, found.segments[0].mask.sum()) == ("eJw=", 4)
    index = json.loads((tmp_path / "work.json").read_text())
    del index["rulers"]
    index["segments"] = [row[:6] for row in index["segments"]]
    (tmp_path / "work.json").write_text(json.dumps(index))
    before = read_work(tmp_path)
    assert (before.rulers, before.segments[0].slices, before.segments[0].name) == ((), "", "lesion")
