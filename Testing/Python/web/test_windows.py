"""One session in two windows, and a server that does not answer."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from web_user import PATIENCE_MS, User, children

pytestmark = pytest.mark.browser

#: Places in the axial view: pixels from its middle to the right and down, in parts of its shorter side, which shows
#: 130 of the sample's 128 x 128 voxels.
PLACES, SHOWN, MIDDLE = [(0.3, 0.1), (-0.2, -0.35), (0.1, 0.25)], 130, 63.5


#: The server draws the axial view in the size that it has in this window, and not in that of another one.
IS_DRAWN_IN_ITS_SIZE = """() => {
    const view = document.querySelector("[data-view=Red]"), image = view?.querySelector("img");
    return Math.abs(image?.naturalWidth - view?.clientWidth) <= 1
        && Math.abs(image?.naturalHeight - view?.clientHeight) <= 1;
}"""


def check_clicks(user):
    """Clicks put the crosshair where they are, as (i, j) of the scan, once it fits into the views."""
    user.page.wait_for_function(IS_DRAWN_IN_ITS_SIZE)
    user.key("c", "0")
    user.wait("tool", "value === 'navigate'")
    user.rest()
    box = user.page.locator("[data-view=Red]").bounding_box()
    short = min(box["width"], box["height"])
    for right, down in PLACES:
        user.drag("Red", (0.5 + right * short / box["width"], 0.5 + down * short / box["height"]))
        i, j = MIDDLE - right * SHOWN, MIDDLE - down * SHOWN  # to the patient's left, and to the back
        user.wait("slices", f"Math.abs(value.Yellow.index - {i}) < 1.6 && Math.abs(value.Green.index - {j}) < 1.6")


@pytest.mark.slow
def test_a_session_is_in_one_window_at_a_time_and_clicks_land_where_they_should(sample):
    user = sample
    volume = user.draw_box()
    user.rest()
    check_clicks(user)

    page = user.page.context.new_page()
    page.set_viewport_size({"width": 1000, "height": 1100})
    second = User(page, user.url)
    page.goto(user.url)
    page.wait_for_selector(".header")
    user.page.wait_for_url("**/elsewhere")
    assert "open in another window" in user.page.inner_text("main")
    user.picture("elsewhere", settle_ms=0)
    assert second.wait_for_volume() == volume
    check_clicks(second)
    second.picture("second-window")

    page.close()
    user.use_here()
    assert user.wait_for_volume() == volume
    check_clicks(user)
    user.page.set_viewport_size({"width": 1600, "height": 700})  # a window that is made larger
    user.page.wait_for_timeout(500)
    check_clicks(user)
    user.page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and signals")
def test_a_server_that_does_not_answer_is_seen_on_the_page(sample, gateway):
    user = sample
    processes = children(gateway.process.pid)
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        user.page.wait_for_selector("#stalled >> text=The server has not answered for")
        user.picture("stalled", settle_ms=0)
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
    user.page.wait_for_selector("#stalled", state="hidden", timeout=PATIENCE_MS)
    assert user.draw_box() > 0
