"""Every kind of prompt in the effect, by the mouse on its slice view, with the shipped network."""

from __future__ import annotations

import pytest
from effect_user import start_user
from prompt_kinds import (
    PLACES,
    SLICE,
    TAKEN_AWAY,
    check_slice,
    check_taken_away,
    check_volume,
    every_excluding_kind,
    every_kind,
    given_mask,
    ijk_to_ras,
    scan,
)


@pytest.fixture
def user(slicer_host, segment_editor):
    """The effect active on the scan, the network loaded: once, for all tests."""
    return start_user(slicer_host, segment_editor, None, scan(), ijk_to_ras())


def give(user, kind, include=True):
    """A prompt as it is drawn; a mask is painted with Slicer's own Paint."""
    if kind == "mask":
        user.paint("A", given_mask())
        return
    if not include:
        user.press(user.panel.excludeButton)
    places = (PLACES if include else TAKEN_AWAY)[kind]
    user.press(user.panel.toolButtons[kind])
    mouse = user.jump_to(places[0])
    world = [user.world(place) for place in places]
    if kind == "point":
        mouse.click(world[0])
    elif kind in ("box", "line"):
        mouse.drag(*world)
    else:
        mouse.draw([*world, world[0]] if kind == "lasso" else world)
    user.wait()
    assert not user.controller.is_error, user.controller.message


@pytest.mark.slow
@every_kind
def test_a_prompt_finds_the_ball(user, kind):
    give(user, kind)
    check_slice(user.editor.mask())
    if kind != "mask":
        (prompt,) = user.session.prompts("A")
        assert (prompt.kind, prompt.axis, prompt.index) == (kind, 0, SLICE)
    user.press(user.panel.propagateButton)
    check_volume(user.editor.mask())


@pytest.mark.slow
@every_excluding_kind
def test_a_prompt_takes_away(user, kind):
    give(user, "box")
    give(user, kind, include=False)
    check_taken_away(user.editor.mask(), kind)
    assert [prompt.positive for prompt in user.session.prompts("A")] == [True, False]
