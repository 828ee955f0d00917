"""A reader's long day: five scans, a reload, two tabs, a crash; and nothing is lost."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np
import pytest
from web_user import Gateway, User, children

pytestmark = [pytest.mark.browser, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and signals")]

NAMES = ["one", "two", "three", "four"]


@pytest.fixture
def scans(tmp_path):
    """Four small scans with a bright ball, each larger than the one before."""
    sitk = pytest.importorskip("SimpleITK")
    k, j, i = np.ogrid[:24, :48, :48]
    paths = []
    for n, name in enumerate(NAMES):
        ball = (k - 12) ** 2 * 4 + (j - 24) ** 2 + (i - 24) ** 2 < (9 + 2 * n) ** 2
        noise = np.random.default_rng(n).integers(0, 60, ball.shape)  # a scan, not labels
        image = sitk.GetImageFromArray((np.where(ball, 900, 100) + noise).astype(np.int16))
        paths.append(tmp_path / f"{name}.nii.gz")
        sitk.WriteImage(image, str(paths[-1]))
    return paths


def click_and_name(user, name):
    """A point in the middle, and a name; returns the volume."""
    user.rename(name)
    user.key("p", "1", "Enter")
    volume = user.wait_for_volume()
    user.rest()
    return volume


def rows(user):
    return [(s["name"], float(s["volume"])) for s in user.state("segments")]


def go_back(user, name):
    """Choose an earlier scan."""
    user.page.select_option("[data-choice=earlier]", label=next(t for _key, t in user.state("earlier") if name in t))
    user.wait("volume_name", f"value === {name!r}")
    user.wait("segments", "value.length > 0 && value.every(s => Number(s.volume) > 0)")


def test_a_long_day(browser, tmp_path, scans):
    served = Gateway(tmp_path, "--sessions", "1")
    try:
        user = User(browser.new_context(viewport={"width": 1280, "height": 720}).new_page(), served.url).come()
        user.open_sample()
        user.draw_box()
        user.rename("heart")
        user.rest()
        done = {"CTChest4": rows(user)}
        for path in scans:
            asked = len(user.asked)
            assert f"{path.name} is open." in user.send(path)
            user.wait("volume_name", f"value === {path.name[:-7]!r}")
            assert "are kept: Earlier scans leads back" in user.asked[asked]
            click_and_name(user, f"ball {path.name}")
            done[path.name[:-7]] = rows(user)
        assert [text.split(",")[0] for _key, text in user.state("earlier")] == ["three", "two", "one", "CTChest4"]
        user.picture("earlier-scans")

        user.page.reload()
        user.page.wait_for_selector(".header")
        user.wait("volume_name", "value === 'four'")
        user.wait("segments", "value.length === 1")
        assert rows(user) == done["four"]

        tab = User(user.page.context.new_page(), served.url)  # a second tab takes over, and goes on elsewhere
        tab.page.goto(served.url)
        tab.page.wait_for_selector(".header")
        user.page.wait_for_url("**/elsewhere")
        go_back(tab, "CTChest4")
        assert rows(tab) == done["CTChest4"]
        tab.page.close()
        user.use_here()
        user.wait("volume_name", "value === 'CTChest4'")

        go_back(user, "two")
        assert rows(user) == done["two"]
        user.key("a", "p", "1", "Shift+ArrowRight", "Enter")
        user.wait("segments", "value.length === 2 && Number(value[1].volume) > 0")
        user.rest()
        done["two"] = rows(user)
        user.wait_kept()
        (process,) = children(served.process.pid)
        os.kill(process, signal.SIGKILL)
        user.page.wait_for_selector("text=It has ended by a fault")
        assert "two, 2 segments, saved" in user.page.inner_text("main")
        assert "and 4 earlier scans" in user.page.inner_text("main")
        user.start("text=Go on with this work")
        user.wait("segments", "value && value.length === 2 && value.every(s => Number(s.volume) > 0)")
        assert rows(user) == done["two"]
        user.wait("is_ready", "value === true")
        for name in ("CTChest4", "one", "three", "four"):
            go_back(user, name)
            assert rows(user) == done[name]
        user.page.click("[data-action=end]")
        user.page.wait_for_selector("text=No scan, segments or prompts of it are on the server any more")
        user.page.context.close()
        assert served.stop() == 0
        assert not list(tmp_path.glob("efficient-medsam2-*"))
        assert "Traceback" not in "".join(served.lines), served.lines
    finally:
        served.process.kill()
