"""Others like a finished segment on the page: proposed one by one, accepted or dropped by Enter, Esc or buttons."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

pytestmark = pytest.mark.browser

SHAPE, RADIUS = (24, 96, 96), 8
#: Middles (k, j, i) of balls that are alike; the first is the one that the reader segments.
MIDDLES = ((12, 28, 28), (12, 68, 28), (11, 68, 68), (13, 28, 68))


def ball(middle):
    return sum((axis - m) ** 2 for axis, m in zip(np.ogrid[tuple(map(slice, SHAPE))], middle)) <= RADIUS**2


@pytest.fixture
def searched(user, tmp_path):
    """The page with a scan of four balls, of which the first is finished; a search for the others has found one."""
    sitk = pytest.importorskip("SimpleITK")
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    image = sitk.GetImageFromArray((np.where(np.any([ball(m) for m in MIDDLES], axis=0), 80, -80) + noise).astype("i2"))
    path = tmp_path / "balls.nii.gz"
    sitk.WriteImage(image, str(path))
    user.key("Escape")
    user.command("layout", "four")
    user.send(path)
    user.wait("volume_name", "value === 'balls'")
    user.command("setting", "auto_commit", True)
    user.key("p")
    user.command("slice", "Red", MIDDLES[0][0])
    user.wait("slices", f"value.Red.index === {MIDDLES[0][0]}")
    user.rename("nodule 1")
    # all 96 voxels of a slice fit into the height of its view; the patient's right is on the left
    box = user.page.locator("[data-view=Red]").bounding_box()
    part = min(box["width"], box["height"]) / np.array([box["width"], box["height"]])
    _k, j, i = MIDDLES[0]
    user.drag("Red", tuple(0.5 + part * (np.array([i, j]) + 0.5 - 48) / 96))
    assert user.wait_for_volume() > 0
    user.rest()
    user.key("m")
    user.wait("segments", "Number(value[0].volume) > 1")
    user.rest()
    user.page.click("#find")
    user.wait("is_offered", "value === true")
    return user


def offered(user):
    """Which ball the crosshair was brought to."""
    place = np.array([user.state("slices")[tag]["index"] for tag in ("Red", "Green", "Yellow")])
    return int(np.argmin([np.linalg.norm(place - m) for m in MIDDLES]))


def done(user):
    """Until the whole scan was looked at."""
    user.wait("find_text", "value.startsWith('Proposal')")


@pytest.mark.slow
def test_others_are_proposed_shown_and_accepted_or_dropped(searched, tmp_path):
    user = searched
    first = user.volume()
    done(user)
    assert user.page.inner_text("#find") == "End the search"
    assert user.page.inner_text(".find-text") == user.state("find_text")
    assert user.state("find_text").startswith("Proposal 1 of 3, score ")
    assert user.state("selected_name") == "nodule 1"
    seen = [offered(user)]
    user.rest()
    user.picture("find-others")

    user.key("1", "Enter")  # in a view, whose crosshair is on the proposal
    user.wait("segments", "value.length === 2 && Number(value[1].volume) > 0")
    assert [s["name"] for s in user.state("segments")] == ["nodule 1", "nodule 2"]
    assert user.state("selected_name") == "nodule 2"
    user.wait("find_text", "value.startsWith('Proposal 2 of 3')")
    user.rest()
    seen.append(offered(user))
    user.key("Escape")
    user.wait("find_text", "value.startsWith('Proposal 3 of 3')")
    user.rest()
    seen.append(offered(user))
    assert sorted(seen) == [1, 2, 3]
    user.page.click(".pending >> text=Accept")
    user.wait("is_finding", "value === false")
    user.wait("segments", "value.length === 3 && Number(value[2].volume) > 0")
    user.wait("message", "value === 'The search has ended: 3 found, 2 accepted.'")
    assert user.page.inner_text("#find") == "Find others"
    assert not user.page.is_visible("text=Drop it")
    user.rest()
    user.picture("found-others")

    segments = user.state("segments")
    assert float(segments[0]["volume"]) == first  # what was finished is as it was
    colors = [[int(s["color"][n : n + 2], 16) / 255 for n in (1, 3, 5)] for s in segments]
    assert min(np.linalg.norm(np.subtract(one, other)) for one, other in combinations(colors, 2)) > 0.2
    user.key("Control+z")  # one undo step each
    user.wait("segments", "value.filter(s => Number(s.volume) > 0).length === 2")
    user.key("Control+z")
    user.wait("segments", "value.filter(s => Number(s.volume) > 0).length === 1")
    assert float(user.state("segments")[0]["volume"]) == first


@pytest.mark.slow
def test_a_search_ends_by_its_button_and_a_preview_comes_first(searched):
    user = searched
    done(user)
    user.page.click("#find")
    user.wait("is_finding", "value === false")
    user.wait("message", "value === 'The search has ended: 3 found, 0 accepted.'")
    assert len(user.state("segments")) == 1
    user.page.click("#find")
    user.wait("is_offered", "value === true")
    done(user)
    user.command("setting", "auto_commit", False)
    before = user.volume()
    user.drag("Red", (0.5, 0.5))  # between the balls
    user.wait("has_preview", "value === true")
    assert user.state("is_offered") is False
    user.rest()
    user.key("Escape")
    user.wait("has_preview", "value === false")
    user.wait("is_offered", "value === true")
    assert user.volume() == before
    user.page.click("text=Drop it")
    user.wait("find_text", "value.startsWith('Proposal 2 of 3')")
    assert len(user.state("segments")) == 1


def test_of_an_empty_segment_there_are_no_others(sample):
    user = sample
    user.page.click("#find")
    user.wait("message", "value.startsWith('The segment is empty; select a finished one')")
    assert user.state("is_finding") is False
