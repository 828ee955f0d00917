"""The Streamlit page in a real browser: a scan is opened, clicked, boxed, propagated, and its masks are downloaded."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.browser
REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE_MS = 300_000  # for machines that are busy with other things, too
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHAPE = (12, 90, 120)


@pytest.fixture(scope="module")
def ball():
    k, j, i = np.ogrid[tuple(slice(0, size) for size in SHAPE)]
    return ((k - 6) * 4) ** 2 + (j - 40) ** 2 + (i - 70) ** 2 < 18**2


@pytest.fixture(scope="module")
def scan(ball, tmp_path_factory):
    noise = np.random.default_rng(0).normal(0, 6, SHAPE)
    path = tmp_path_factory.mktemp("scan") / "CT_ball.npz"
    np.savez_compressed(path, imgs=np.clip(np.where(ball, 190, 60) + noise, 0, 255).astype(np.uint8), spacing=(1, 1, 4))
    return path


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page, started from the checkout as it was published, without its opening a browser of its own."""
    pytest.importorskip("streamlit", reason="needs PyPI's streamlit")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("page") / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                "efficient_medsam2/examples/web_interface.py",
                "--server.headless",
                "true",
                "--server.port",
                str(port),
            ],
            cwd=REPOSITORY,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
    yield url
    process.send_signal(signal.SIGINT)
    process.wait(60)
    text = log.read_text()
    assert "Traceback" not in text, text
    assert "External URL" not in text, "only this machine is to be served"


@pytest.fixture
def page(address):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs PyPI's playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here; .ci/install-browser installs it on Debian and Ubuntu")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--headless", "--no-sandbox", "--disable-gpu"])
        opened = browser.new_context(viewport={"width": 1400, "height": 1100}, accept_downloads=True).new_page()
        opened.set_default_timeout(PATIENCE_MS)
        opened.goto(address)
        yield opened
        browser.close()


def picture(page):
    """The slice that is clicked on, once it is there."""
    image = page.frame_locator("iframe[title*='image_prompt']").locator("img[src^='data:image/png']")
    image.wait_for()
    return image


def at(page, x, y):
    """Place on the screen of a pixel of the slice."""
    box = picture(page).bounding_box()
    return box["x"] + (x + 0.5) * box["width"] / SHAPE[2], box["y"] + (y + 0.5) * box["height"] / SHAPE[1]


def download(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(waiting.value.path()).read_bytes()


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.slow
def test_a_scan_is_segmented_in_the_browser(page, scan, ball):
    from PIL import Image

    page.locator("input[type=file]").set_input_files(scan)
    assert picture(page).get_attribute("src")
    page.get_by_text("5", exact=True).first.wait_for()  # the slider: the middle slice of twelve

    page.mouse.click(*at(page, 70, 40))
    page.get_by_text("mask 1, score").wait_for()
    assert page.get_by_text("mask 3, score").count() == 1, "a lone click has three candidates"
    mask = np.asarray(Image.open(io.BytesIO(download(page, "Download mask (.png)")))) > 0
    assert dice(mask, ball[5]) > 0.85

    start, end = at(page, 51, 21), at(page, 89, 59)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()
    page.get_by_text("mask 3, score").wait_for(state="detached")  # a box means one thing
    mask = np.asarray(Image.open(io.BytesIO(download(page, "Download mask (.png)")))) > 0
    assert dice(mask, ball[5]) > 0.9

    page.get_by_role("button", name="Propagate through the volume").click()
    page.get_by_role("button", name="Download volume (.npz)").wait_for()
    found = np.load(io.BytesIO(download(page, "Download volume (.npz)")))["segs"]
    assert found.shape == SHAPE
    assert dice(found > 0, ball) > 0.8

    page.get_by_role("slider").first.press("ArrowRight")
    page.get_by_text("mask 1, score").wait_for(state="detached")  # a slice without prompts
    page.mouse.click(*at(page, 70, 40))
    page.get_by_text("mask 1, score").wait_for()
    page.get_by_text("not here").click()
    page.mouse.click(*at(page, 5, 5))
    page.get_by_role("button", name="Clear prompts").click()
    page.get_by_text("mask 1, score").wait_for(state="detached")


def test_what_cannot_be_read_is_said(page, tmp_path):
    wrong = tmp_path / "wrong.npz"
    wrong.write_text("no archive")
    page.locator("input[type=file]").set_input_files(wrong)
    page.get_by_text("cannot be read as an .npz archive").wait_for()
