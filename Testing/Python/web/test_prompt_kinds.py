"""Every kind of prompt in the browser: by the mouse on the axial view; a mask as a file that is opened."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from prompt_kinds import (
    PLACES,
    SCAN_NAME,
    SHAPE,
    SLICE,
    SPACING_KJI,
    TAKEN_AWAY,
    check_slice,
    check_taken_away,
    check_volume,
    every_excluding_kind,
    every_kind,
    given_mask,
    ijk_to_ras,
    scan,
    write_scan,
)

pytestmark = pytest.mark.browser

KEYS = {"point": "p", "box": "x", "line": "l", "scribble": "d", "lasso": "e"}


@pytest.fixture(scope="module")
def opened(user, tmp_path_factory):
    """The first user with the scan, opened once."""
    user.key("Escape")
    user.command("layout", "four")
    assert f"{SCAN_NAME}.nii.gz is open" in user.send(write_scan(tmp_path_factory.mktemp("scan")))
    user.wait("volume_name", f"value === {SCAN_NAME!r}")
    user.command("setting", "auto_commit", True)
    user.wait("settings", "value.auto_commit")
    user.command("slice", "Red", SLICE)
    user.wait("slices", f"value.Red.index === {SLICE}")
    return user


@pytest.fixture
def ball(opened):
    """The same with one empty segment, in place of an earlier test's."""
    for segment in opened.state("segments"):
        opened.command("remove_segment", segment["id"])
    opened.wait("segments", "value.length === 0")
    opened.command("add_segment")
    opened.wait("segments", "value.length === 1 && value[0].selected && value[0].volume === '0'")
    return opened


def pixels(user, places):
    """Where voxels of the prompted slice are in the page: the view shows the scan's middle in its own, as long as the
    scale bar says; patient left is right, posterior is down."""
    box = user.page.locator("[data-view=Red]").bounding_box()
    shown = user.state("slices")["Red"]
    millimetres = float(re.match(r"[\d.]+", shown["bar_text"])[0]) / (shown["bar"] / 100)
    scale = box["width"] / millimetres
    middle = [(size - 1) / 2 for size in SHAPE]
    return [
        (
            box["x"] + box["width"] / 2 + (i - middle[2]) * SPACING_KJI[2] * scale,
            box["y"] + box["height"] / 2 + (j - middle[1]) * SPACING_KJI[1] * scale,
        )
        for _k, j, i in places
    ]


def give(user, kind, include=True):
    """A prompt as it is drawn, and its mask as it is saved."""
    user.command("setting", "include", include)
    user.key(KEYS[kind])
    user.wait("tool", f"value === {kind!r}")
    user.wait("settings", f"value.include === {str(include).lower()}")
    path = pixels(user, (PLACES if include else TAKEN_AWAY)[kind])
    if kind == "lasso":
        path.append(path[0])
    before = user.page.evaluate("window.trame.state.get('prompts').length")
    user.page.mouse.move(*path[0])
    user.page.mouse.down()
    for start, end in zip(path, path[1:]):  # a browser leaves out moves: without many, corners are cut
        user.page.mouse.move(*end, steps=math.ceil(math.dist(start, end) / 10))
    user.page.mouse.up()
    user.wait("prompts", f"value.length === {before + 1}")
    user.rest()


def saved(user, folder):
    """The only segment as the page saves it."""
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import Volume

    (segment,) = read_segmentation(user.save("segmentation", folder), Volume(scan(), ijk_to_ras()))
    return segment.mask


@pytest.mark.slow
@every_kind
def test_a_prompt_finds_the_ball(ball, kind, tmp_path):
    user = ball
    if kind == "mask":
        earlier = write_scan(tmp_path, given_mask().astype(np.uint8), "earlier")
        assert "1 segment was added" in user.send(earlier)
        user.wait_for_volume()
    else:
        give(user, kind)
    check_slice(saved(user, tmp_path))
    found = user.volume()
    user.key("m")
    user.wait("segments", f"Number(value[0].volume) > {3 * found}")
    user.rest()
    check_volume(saved(user, tmp_path))
    user.picture(f"prompt-{kind}")


@pytest.mark.slow
@every_excluding_kind
def test_a_prompt_takes_away(ball, kind, tmp_path):
    user = ball
    give(user, "box")
    give(user, kind, include=False)
    check_taken_away(saved(user, tmp_path), kind)
    user.picture(f"prompt-no-{kind}")
