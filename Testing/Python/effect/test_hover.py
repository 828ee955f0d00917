"""A mouse that rests over the image shows what a click there would make, and nothing is changed by it."""

from __future__ import annotations

import numpy as np
from effect_user import BESIDE, INSIDE, tube_slice


def rest(user, index_kji, view="Red"):
    """Move the mouse to a voxel and leave it there until something is outlined, or nothing more is under way."""
    mouse = user.jump_to(index_kji, view)
    mouse.event("MouseMove", user.world(index_kji))
    return user.host.process_events(3000, until=lambda: bool(user.outline(view).GetVisibility()))


def outlined(user):
    from EfficientMedSAM2Lib.mrml.labelmaps import array_view

    image = user.controller.preview_image()
    return 0 if image is None else int(array_view(image).sum())


def test_what_a_click_would_make_is_outlined_and_nothing_is_changed(user):
    assert rest(user, INSIDE)
    assert outlined(user) == 36
    assert user.count() == 0
    assert user.prompt_count() == 0
    assert not user.editor.logic.CanUndo()
    assert not user.controller.has_preview
    user.mouse.event("MouseMove", user.world((4, 2, 2)))  # it goes on
    assert not user.outline("Red").GetVisibility()
    user.click(INSIDE)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    assert user.prompt_count() == 1


def test_a_correction_is_shown_as_it_would_be(user):
    user.click(INSIDE)
    assert rest(user, BESIDE)
    assert outlined(user) == 36 + 15
    user.press(user.panel.excludeButton)
    assert rest(user, INSIDE)
    assert outlined(user) == 36 - 9
    assert user.count() == 36
    assert user.session.engine.mask("A").sum() == 36
    user.undo()
    assert user.count() == 0


def test_nothing_is_shown_where_a_click_does_nothing(user):
    user.press(user.panel.hoverCheck)
    user.jump_to(INSIDE).event("MouseMove", user.world(INSIDE))
    assert user.effect.hover._place is None
    assert not user.controller.hover([1000.0, 0.0, 0.0], True, 0)
    user.press(user.panel.lockButton)
    assert not user.controller.hover(user.world(INSIDE), True, 0)
    assert user.predictor.prompted == []


def test_a_click_of_the_engine_can_be_tried(user):
    user.click(INSIDE)
    engine = user.session.engine
    before = engine.mask("A"), engine.depth, engine.scores("A")
    (prompt,) = user.session.prompts("A")
    assert engine.try_prompt(prompt, "B")[0].sum() == 36
    assert engine.segments == ("A",)
    np.testing.assert_array_equal(engine.mask("A"), before[0])
    assert (engine.depth, engine.scores("A")) == before[1:]
