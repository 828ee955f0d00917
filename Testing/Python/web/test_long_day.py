"""A reader's long day: five scans, a reload, two tabs, a crash; and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter

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


@pytest.mark.slow
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


class Reader:
    """Somebody who works on five scans, and does at random what readers and machines do; whatever is shown is noted.

    Args:
        browser: Playwright's.
        folder: Of the server.
        scans: Files; the sample is the fifth.
        seed: Of the chance.
    """

    def __init__(self, browser, folder, scans, seed):
        self.random, self.browser, self.folder, self.scans = random.Random(seed), browser, folder, scans
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = str(listener.getsockname()[1])
        self.served = Gateway(folder, "--sessions", "1", "--port", self.port)
        page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        self.user = User(page, self.served.url).come()
        self.shown = {}  # scan: segments and rulers, as they were when it was shown last
        self.done = Counter()
        self.crashes = {"killed": self.kill, "restarted": self.restart}
        self.actions = {
            "prompt": self.prompt,
            "segment": self.segment,
            "rename": self.rename,
            "ruler": self.ruler,
            "undo": self.undo,
            "delete": self.delete,
            "open": self.open,
            "earlier": self.earlier,
            "reloaded": self.reload,
            "tab": self.tab,
            **self.crashes,
        }
        self.weights = [6, 3, 2, 2, 2, 1, 2, 4, 1, 1, 1, 0.5]
        self.open()

    def go_on(self, until, pause=0.0):
        """Random actions, each followed by up to `pause` seconds of looking; returns how many."""
        while time.monotonic() < until:
            (name,) = self.random.choices([*self.actions], self.weights)
            self.actions[name]()
            self.done[name] += 1
            self.user.page.wait_for_timeout(1000 * self.random.uniform(0, pause))
        return sum(self.done.values())

    def note(self):
        """Once all is quiet: this is what must come back."""
        user = self.user
        user.rest()
        user.wait("segments", "value.every(s => s.volume !== '…')")
        user.wait("kept", "value === 'kept' || value === ''")
        name = user.state("volume_name")
        if user.state("kept"):
            self.shown[name] = self.seen()
        return name

    def seen(self):
        state = self.user.state
        return [[s["id"], s["name"], s["volume"], s["color"]] for s in state("segments")], state("rulers")

    def check(self, name):
        """The scan is there as it was noted."""
        self.user.wait("volume_name", f"value === {name!r}")
        expected = self.shown[name]
        for variable, value in zip(("segments", "rulers"), expected):
            rows = "value.map(s => [s.id, s.name, s.volume, s.color])" if variable == "segments" else "value"
            wanted = json.dumps(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
            self.user.wait(variable, f"JSON.stringify({rows}) === {wanted}")
        self.user.wait("is_ready", "value === true")

    # --- what a reader does

    def prompt(self):
        self.user.command("tool", "point")
        self.user.wait("tool", "value === 'point'")
        count = len(self.user.state("prompts"))
        place = self.random.uniform(0.42, 0.58), self.random.uniform(0.42, 0.58)
        self.user.drag(self.random.choice(["Red", "Green", "Yellow"]), place)
        self.user.wait("prompts", f"value.length === {count + 1}")
        self.note()

    def segment(self):
        count = len(self.user.state("segments"))
        if count < 5:
            self.user.command("add_segment")
            self.user.wait("segments", f"value.length === {count + 1}")
            self.note()

    def rename(self):
        segment = self.random.choice(self.user.state("segments") or [None])
        if segment:
            name = f"name {self.random.randrange(10**6)}"
            self.user.command("rename_segment", segment["id"], name)
            self.user.wait("segments", f"value.some(s => s.name === {name!r})")
            self.note()

    def ruler(self):
        count = len(self.user.state("rulers"))
        if count < 3:
            self.user.command("tool", "ruler")
            self.user.wait("tool", "value === 'ruler'")
            near, far = 0.2 + 0.1 * count, 0.6 + 0.1 * count  # a press on a ruler's end would move that one
            self.user.drag("Red", (near, 0.2), (far, self.random.uniform(0.7, 0.8)))
            self.user.wait("rulers", f"value.length === {count + 1}")
            self.note()

    def undo(self):
        if self.user.state("can_undo") and len(self.user.state("segments")) > 1:
            look = "JSON.stringify(['segments', 'prompts'].map(name => window.trame.state.get(name)))"
            before = self.user.page.evaluate(look)
            self.user.command("undo")
            self.user.page.wait_for_function(f"before => {look} !== before", arg=before)
            self.note()

    def delete(self):
        count = len(self.user.state("segments"))
        if count > 2:
            self.user.command("remove_segment")
            self.user.wait("segments", f"value.length === {count - 1} && value.some(s => s.selected)")
            self.note()

    def open(self):
        unseen = [path for path in self.scans if path.name[:-7] not in self.shown]
        if not self.shown:
            self.user.open_sample()
            self.user.wait("segments", "value.length === 1")
        elif unseen:
            self.user.send(unseen[0])
            self.user.wait("volume_name", f"value === {unseen[0].name[:-7]!r}")
            self.user.wait("segments", "value.length === 1")
        else:
            return
        self.prompt()  # nobody leaves a scan that nothing was done on

    def earlier(self):
        kept = self.user.state("earlier")
        if kept:
            key, text = self.random.choice(kept)
            self.user.page.select_option("[data-choice=earlier]", key)
            self.check(text.split(",")[0])

    # --- what machines do

    def reload(self):
        name = self.note()
        self.user.page.reload()
        self.user.page.wait_for_selector(".header")
        self.check(name)

    def tab(self):
        name, other = self.note(), User(self.user.page.context.new_page(), self.served.url)
        other.page.goto(self.served.url)
        other.page.wait_for_selector(".header")
        self.user.page.wait_for_url("**/elsewhere")
        other.page.close()
        self.user.use_here()
        self.check(name)

    def kill(self):
        name = self.note()
        (process,) = children(self.served.process.pid)
        os.kill(process, signal.SIGKILL)
        self.user.page.wait_for_selector("text=It has ended by a fault")
        self.come_back(name)

    def restart(self):
        """The server is killed, too, without any warning."""
        name = self.note()
        self.served.process.kill()
        self.served.process.wait()
        self.served = Gateway(self.folder, "--sessions", "1", "--port", self.port)
        from playwright.sync_api import Error

        with contextlib.suppress(Error):  # where the page is on its way there by itself
            self.user.page.goto(self.served.url)
        self.come_back(name)

    def come_back(self, name):
        self.user.start("text=Go on with this work")
        self.user.wait("segments", "value && value.length > 0")
        self.check(name)


@pytest.mark.nightly
def test_a_reader_goes_on_for_as_long_as_wanted(browser, tmp_path, scans):
    """`READER_MINUTES=120 READER_PAUSE=20 pytest -m nightly -s -k as_long_as_wanted` is a session of two hours."""
    minutes, seed = float(os.environ.get("READER_MINUTES", "3")), int(os.environ.get("READER_SEED", "1"))
    pause = float(os.environ.get("READER_PAUSE", "0"))
    reader = Reader(browser, tmp_path, scans, seed)
    try:
        begun = time.monotonic()
        count = reader.go_on(begun + 60 * minutes, pause)
        print(
            f"\n{(time.monotonic() - begun) / 60:.1f} minutes, {count} actions, {len(reader.shown)} scans, seed {seed}"
        )
        print(", ".join(f"{name} {number}" for name, number in sorted(reader.done.items())))
        for name in list(reader.shown):  # at the end all of it is there
            kept = {text.split(",")[0]: key for key, text in reader.user.state("earlier")}
            if name in kept:
                reader.user.page.select_option("[data-choice=earlier]", kept[name])
            reader.check(name)
        print("nothing was lost")
    finally:
        reader.served.process.kill()
