"""A real gateway with real session processes, and somebody in front of the page."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
#: Screenshots are kept here, to be looked at.
PICTURES = REPOSITORY / "build" / "web-screenshots"
#: What takes longer will never come, on a machine that is busy with other things, too; and a session's start, which
#: the server gives up after two minutes.
PATIENCE_MS, START_MS = 90_000, 150_000
MAX_UPLOAD_MB = 20


def run_async(coroutine):
    """Run a coroutine in a thread: playwright's own loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def children(process):
    """Numbers of the processes that a process has started, on Linux."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(parent) == process and state != "Z":
            found.append(int(path.parent.name))
    return found


class Gateway:
    """`efficient-medsam2 web` in a process of its own.

    Attributes:
        url: Its address on this machine.
        lines: What it has written to stderr.
    """

    def __init__(self, folder, *options):
        self.temporary = folder
        environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(REPOSITORY)}
        environment.pop("EFFICIENT_MEDSAM2_TOKEN", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "EfficientMedSAM2Lib.cli", "web", "--max-upload", str(MAX_UPLOAD_MB), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        )
        self.lines = []
        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True).start()
        killing = threading.Timer(PATIENCE_MS / 1000, self.process.kill)
        killing.start()
        line = self.process.stdout.readline()
        killing.cancel()
        found = re.search(r"http://\S+:(\d+)/", line)
        assert found, f"{line}{self.lines}"
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}/"

    def folders(self):
        """Session folders that exist."""
        return sorted(self.temporary.glob("efficient-medsam2-*/session-*"))

    def stop(self):
        """Ctrl+C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


class User:
    """Somebody in front of the page.

    Args:
        page: Playwright's page.
        url: Address of the gateway.
    """

    def __init__(self, page, url):
        self.page, self.url = page, url
        self.errors = []
        self.asked, self.reply = [], True
        page.on("dialog", self._answer)
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note_policy)

    def _answer(self, dialog):
        """Answer a question of the page: True for yes, False for no, or a text; what was asked is noted."""
        self.asked.append(dialog.message)
        if self.reply is False:
            dialog.dismiss()
        elif self.reply is True:
            dialog.accept()
        else:
            dialog.accept(self.reply)

    def _note_policy(self, message):
        """What the page's own security policy forbids."""
        if "Content Security Policy" in message.text:
            self.errors.append(message.text)

    def come(self, until_ready=True):
        self.page.goto(self.url)
        self.start("[action=start] button.start")
        self.page.wait_for_selector(".header")
        if until_ready:
            self.wait("is_ready", "value === true")
        return self

    def start(self, button):
        """Press a button that starts a session, and wait until its page is there."""
        self.page.click(button, no_wait_after=True)
        self.page.wait_for_selector(".header, h1:has-text('This did not work')", timeout=START_MS)
        assert self.page.is_visible(".header"), self.page.inner_text("main")

    def use_here(self):
        """Come back to a window that another one has taken the session over from."""
        self.page.wait_for_url("**/elsewhere")
        self.page.click("text=Use it here")
        self.page.wait_for_selector(".header")

    def state(self, name):
        return self.page.evaluate("name => window.trame.state.get(name)", name)

    def wait(self, name, condition):
        """Until a condition in JavaScript on the ``value`` of a state variable holds; returns the value."""
        script = f"() => {{ const value = window.trame?.state?.get({name!r}); return {condition}; }}"
        try:
            self.page.wait_for_function(script)
        except Exception as error:
            names = (name, "message", "activity", "load_error")
            found = {key: self.page.evaluate("name => window.trame?.state?.get(name)", key) for key in names}
            raise AssertionError(f"In vain: {condition} of {found} at {self.page.url}") from error
        return self.state(name)

    def wait_kept(self):
        """Until all that is shown is saved on the server."""
        self.wait("kept", "value === 'kept'")

    def open_sample(self):
        self.page.click(".header [data-action=open-sample]")
        self.page.wait_for_function("document.querySelector('#transfer').textContent === ''")
        self.wait("volume_name", "value === 'CTChest4'")

    def send(self, *files):
        """Choose files in the page; returns what the page says of them."""
        self.page.evaluate("document.querySelector('#transfer').textContent = ''")
        with self.page.expect_file_chooser() as chooser:
            self.page.click(".header [data-action=open-files]")
        chooser.value.set_files([str(file) for file in files])
        place = "document.querySelector('#transfer').textContent"
        self.page.wait_for_function(f"{place} !== '' && !/^(Sending|Reading)/.test({place})")
        return self.page.inner_text("#transfer")

    def save(self, kind, folder):
        """Press a button that saves; returns the file."""
        if kind == "nifti":
            return self.save_labelmap(folder)[0]
        with self.page.expect_download() as saved:
            self.page.click(f"[data-kind={kind}]")
        path = folder / saved.value.suggested_filename
        saved.value.save_as(path)
        return path

    def save_labelmap(self, folder):
        """Press the button that saves a NIfTI label map and the names of its labels; returns both files."""
        with (
            self.page.expect_download(lambda file: file.suggested_filename.endswith(".tsv")) as names,
            self.page.expect_download(lambda file: file.suggested_filename.endswith(".nii.gz")) as labels,
        ):
            self.page.click("[data-kind=nifti]")
        files = [saved.value for saved in (labels, names)]
        for file in files:
            file.save_as(folder / file.suggested_filename)
        return [folder / file.suggested_filename for file in files]

    def key(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def command(self, *words):
        """What a button sends."""
        self.page.evaluate("words => window.trame.trigger('command', words)", list(words))

    def drag(self, tag, start, end=None):
        """Press, move and release the mouse in a view; places are parts of its width and height."""
        box = self.page.locator(f"[data-view={tag}]").bounding_box()
        (x0, y0), (x1, y1) = (
            (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end or start)
        )
        self.page.mouse.move(x0, y0)
        self.page.wait_for_timeout(80)
        self.page.mouse.down()
        if end is not None:
            self.page.wait_for_timeout(80)
            self.page.mouse.move(x1, y1, steps=5)
            self.page.wait_for_timeout(120)
        self.page.mouse.up()

    def draw_box(self):
        """A box around the heart on slice 16 of the sample; returns its volume in ml."""
        self.command("slice", "Red", 16)
        self.key("x")
        self.wait("tool", "value === 'box'")
        self.drag("Red", (0.44, 0.22), (0.61, 0.60))
        return self.wait_for_volume()

    def rename(self, name):
        """Call the selected segment by another name."""
        self.page.fill("tr.selected input.name", name)
        self.key("Enter")
        self.wait("segments", f"value.some(s => s.name === {name!r})")

    def wait_for_volume(self):
        self.wait("segments", "value.some(s => s.selected && Number(s.volume) > 0)")
        return self.volume()

    def volume(self):
        """Volume of the selected segment in ml, once it is measured."""
        selected = "window.trame.state.get('segments').find(s => s.selected).volume"
        return float(self.page.wait_for_function(f"{selected} !== '…' && {selected}").json_value())

    def rest(self):
        """Until nothing is under way."""
        self.wait("activity", "value === 'idle'")
        self.page.wait_for_timeout(400)

    def picture(self, name, settle_ms=600):
        """A screenshot, taken when all views have been drawn."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(settle_ms)
        self.page.screenshot(path=PICTURES / f"{name}.png")
