"""A gateway and users in a real, headless Chromium; skipped where there is none."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from web_user import Gateway, User

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture(scope="session")
def browser():
    pytest.importorskip("trame_slicer", reason="needs the extra web: pip install 'efficient-medsam2[web]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs PyPI's playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium here; .ci/install-browser installs it on Debian and Ubuntu")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def gateway(browser, tmp_path_factory):
    """One gateway for two users."""
    served = Gateway(tmp_path_factory.mktemp("gateway"), "--sessions", "2")
    yield served
    code = served.stop()
    assert code == 0
    assert not served.folders(), "files were left"  # but for the work of users who did not end their session
    text = "".join(served.lines)
    assert "Traceback" not in text, text


@pytest.fixture(scope="session")
def user(browser, gateway):
    """The first user, who goes on from test to test; the scan is opened anew in each."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
    came = User(context.new_page(), gateway.url).come()
    yield came
    assert came.errors == []
    context.close()


@pytest.fixture(autouse=True)
def agreeable(request):
    """What one test answers to the page's questions is no matter of the next."""
    yield
    if "user" in request.fixturenames:
        request.getfixturevalue("user").reply = True


@pytest.fixture
def sample(user):
    """The first user with the sample scan, as it is opened, in all views."""
    user.key("Escape")
    user.command("layout", "four")
    user.page.evaluate("window.trame.state.set('more_open', false)")
    user.open_sample()
    user.wait("segments", "value.length === 1 && value[0].volume === '0'")
    user.command("setting", "include", True)
    user.command("setting", "auto_commit", True)
    user.wait("settings", "value.include && value.auto_commit")
    user.wait("layout", "value === 'four'")
    return user
