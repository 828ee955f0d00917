"""Clicks, boxes, lines, previews and undo through the effect's own files, on real MRML and segment editor logic."""

from __future__ import annotations

import numpy as np
import pytest
from effect_user import BESIDE, INSIDE, tube, tube_slice


def test_click_fills_the_segment_and_is_one_undo_step(user):
    before = user.voxels()
    user.click(INSIDE)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    user.undo()
    assert user.count() == 0
    assert user.prompt_count() == 0
    user.redo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    assert user.prompt_count() == 1
    assert user.voxels() == before
    assert user.controller.first_latency_s < 5


@pytest.mark.parametrize(("view", "axis"), [("Red", 0), ("Green", 1), ("Yellow", 2)])
def test_click_works_in_every_view(user, view, axis):
    user.click((10, 8, 6), view)
    expected = np.zeros_like(tube())
    plane = [slice(None)] * 3
    plane[axis] = (10, 8, 6)[axis]
    expected[tuple(plane)] = tube()[tuple(plane)]
    np.testing.assert_array_equal(user.editor.mask(), expected)


def test_negative_click_takes_away(user):
    user.click(INSIDE)
    user.press(user.panel.excludeButton)
    user.click(INSIDE)
    assert user.count() == 36 - 9
    assert [prompt.positive for prompt in user.session.prompts("A")] == [True, False]
    user.undo()
    assert user.count() == 36


def test_a_double_click_is_one_prompt_and_two_quick_clicks_are_two(user):
    mouse = user.jump_to(INSIDE)
    mouse.click(user.world(INSIDE))
    mouse.event("LeftButtonDoubleClick", user.world(INSIDE))
    assert mouse.widget.aborted  # or Slicer would enlarge the view
    mouse.event("LeftButtonRelease", user.world(INSIDE))
    user.wait()
    assert user.prompt_count() == 1
    mouse.event("LeftButtonDoubleClick", user.world(BESIDE))
    mouse.event("LeftButtonRelease", user.world(BESIDE))
    user.wait()
    assert user.prompt_count() == 2
    assert user.count() == 36 + 15


@pytest.mark.parametrize("modifier", ["shift", "ctrl", "alt"])
def test_the_mouse_is_slicers_while_a_modifier_is_down(user, modifier):
    user.jump_to(INSIDE).click(user.world(INSIDE), **{modifier: True})
    user.wait()
    assert user.count() == 0
    assert user.predictor.prompted == []
    assert not user.mouse.widget.aborted


@pytest.mark.parametrize(("view", "axis"), [("Red", 0), ("Green", 1), ("Yellow", 2)])
def test_scribbles_are_drawn_in_every_view(user, view, axis):
    """In any view they are on its own slices: all of the tube there, and what was drawn over."""
    user.press(user.panel.toolButtons["scribble"])
    across = [n for n in range(3) if n != axis]
    path = [[10, 8, 6] for _ in range(3)]
    for n, point in enumerate(path):
        point[across[0]] += 2 * n - 2
        point[across[1]] += n % 2
    mouse = user.jump_to(path[0], view)
    mouse.draw([user.world(point) for point in path])
    user.wait()
    expected = np.zeros_like(tube())
    plane = [slice(None)] * 3
    plane[axis] = (10, 8, 6)[axis]
    expected[tuple(plane)] = tube()[tuple(plane)]
    np.testing.assert_array_equal(user.editor.mask(), expected)
    (prompt,) = user.session.prompts("A")
    assert (prompt.kind, prompt.axis) == ("scribble", axis)
    assert not user.band(mouse).GetVisibility()


def test_a_lasso_is_drawn_around_and_takes_away(user):
    user.press(user.panel.toolButtons["lasso"])
    around = [(6, 3, 2), (6, 3, 11), (6, 12, 11), (6, 12, 2), (6, 3, 2)]  # ends where it began
    mouse = user.jump_to((6, 8, 6))
    mouse.draw([user.world(point) for point in around])
    user.wait()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(6))
    user.press(user.panel.excludeButton)
    left = [(6, 3, 2), (6, 3, 6), (6, 12, 6), (6, 12, 2), (6, 3, 2)]
    mouse.draw([user.world(point) for point in left])
    user.wait()
    held = np.flatnonzero(user.editor.mask()[6].any(axis=0))
    assert held.min() in (6, 7)  # which voxels are under the line is a matter of half a pixel
    assert held.max() == 9
    assert [prompt.positive for prompt in user.session.prompts("A")] == [True, False]
    user.undo()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(6))


@pytest.mark.parametrize("tool", ["scribble", "lasso"])
def test_a_slip_of_the_hand_draws_nothing(user, tool):
    user.press(user.panel.toolButtons[tool])
    user.click(INSIDE)
    assert user.prompt_count() == 0 if user.session is not None else True
    assert user.count() == 0


def test_a_lasso_in_a_tilted_view_is_on_the_image_slice_through_its_middle(user):
    mouse = user.host.mouse("Red")
    tilt = np.radians(20)
    centre = user.world((6, 8, 7))
    mouse.look_along((0.0, np.sin(tilt), np.cos(tilt)), (-1.0, 0.0, 0.0), centre)
    user.press(user.panel.toolButtons["lasso"])
    x, y = mouse.xy(centre)
    side = abs(mouse.xy(user.world((6, 8, 11)))[0] - x)
    mouse.draw([(x - side, y - side), (x + side, y - side), (x + side, y + side), (x - side, y + side)])
    user.wait()
    (prompt,) = user.session.prompts("A")
    assert prompt.mask.bounds[0] == (6, 7)
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist() == [6]


@pytest.mark.parametrize(
    ("view", "first", "last"),
    [("Red", (6, 6, 5), (6, 9, 8)), ("Green", (6, 8, 5), (15, 8, 8)), ("Yellow", (6, 6, 6), (15, 9, 6))],
)
def test_box_is_dragged_in_every_view(user, view, first, last):
    user.press(user.panel.toolButtons["box"])
    user.jump_to(first, view).drag(user.world(first), user.world(last))
    user.wait()
    expected = np.zeros_like(tube())
    expected[tuple(slice(low, high + 1) for low, high in zip(first, last))] = True
    np.testing.assert_array_equal(user.editor.mask(), expected)
    assert user.session.prompts("A")[0].kind == "box"


def test_box_shows_a_rubber_band_and_a_slip_is_no_box(user):
    user.press(user.panel.toolButtons["box"])
    mouse = user.jump_to((4, 8, 6))
    x, y = mouse.xy(user.world((4, 8, 6)))
    mouse.event("LeftButtonPress", (x, y))
    mouse.event("MouseMove", (x + 30, y + 20))
    actor = user.band(mouse)
    assert actor.GetVisibility()
    assert actor.GetMapper().GetInput().GetBounds()[:4] == (x, x + 30, y, y + 20)
    mouse.event("MouseMove", (x + 1, y))
    mouse.event("LeftButtonRelease", (x + 1, y))
    user.wait()
    assert not actor.GetVisibility()
    assert user.count() == 0


def test_line_is_a_recist_diameter(user):
    user.press(user.panel.toolButtons["line"])
    user.jump_to((4, 8, 6)).drag(user.world((4, 5, 6)), user.world((4, 10, 6)))
    user.wait()
    assert user.session.prompts("A")[0].kind == "line"
    assert user.editor.mask()[4].any()
    assert not (user.editor.mask() & ~tube()).any()


def test_preview_is_outlined_and_written_on_enter(user):
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    assert user.count() == 0
    outline = user.outline("Red")
    assert outline.GetVisibility()
    corners = np.array([user.mouse.xy(user.world((4, row, column))) for row in (5, 10) for column in (4, 9)])
    x0, x1, y0, y1 = outline.GetMapper().GetInput().GetBounds()[:4]
    assert abs(np.array([x0, y0]) - corners.min(axis=0)).max() < 6
    assert abs(np.array([x1, y1]) - corners.max(axis=0)).max() < 6
    user.mouse.key("Return")
    user.wait()
    assert user.count() == 36
    assert not outline.GetVisibility()
    user.undo()
    assert user.count() == 0


def test_preview_is_dropped_on_escape_and_the_effect_stays(user):
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    assert user.mouse.widget is not None
    user.mouse.key("Escape")
    user.wait()
    assert user.count() == 0
    assert not user.controller.has_preview
    assert not user.outline("Red").GetVisibility()
    assert user.editor.scripted_effect.active()


def test_preview_of_another_segment_is_written_where_it_belongs(user):
    user.press(user.panel.autoCommitCheck)
    user.click(INSIDE)
    user.select("B")
    assert (user.count("A"), user.count("B")) == (36, 0)
    assert user.editor.widget.currentSegmentID() == "B"
    user.click(BESIDE)
    user.press(user.panel.commitButton)
    assert (user.count("A"), user.count("B")) == (36, 15)


def test_oblique_view_and_transformed_volume(make_user):
    import slicer

    from EfficientMedSAM2Lib.mrml.labelmaps import to_vtk_matrix

    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (5.0, 60.0, -3.0)
    user = make_user()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(to_vtk_matrix(turn))
    user.volume.SetAndObserveTransformNodeID(node.GetID())
    user.editor.segmentation.SetAndObserveTransformNodeID(node.GetID())
    mouse = user.host.mouse("Red")
    point = user.world(INSIDE)
    mouse.look_along((0.0, np.sin(0.2), np.cos(0.2)), (1.0, 0.0, 0.0), point)
    mouse.click(point)
    user.wait()
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    assert "tilted" in user.panel.messageLabel.text
    assert not user.panel.rotateButton.isHidden()


def test_tilted_views_are_turned_by_one_click(user):
    """The panel says it before the first click, too, and what was clicked is seen whole afterwards."""
    from EfficientMedSAM2Lib.mrml.effect.view_geometry import tilt_degrees, view_slice

    mouse, green = user.host.mouse("Red"), user.host.mouse("Green")
    assert user.panel.rotateButton.isHidden()
    middle = user.world((7, 10, 11))
    mouse.look_along((0.0, np.sin(0.4), np.cos(0.4)), (-1.0, 0.0, 0.0), middle)
    user.host.process_events(0)
    assert "tilted by 23" in user.panel.messageLabel.text
    assert not user.panel.rotateButton.isHidden()
    mouse.click(user.world((7, 10, 6)))  # not in the view's middle
    user.wait()
    user.panel.excludeButton.click()
    assert "tilted by 23" in user.panel.messageLabel.text
    user.press(user.panel.rotateButton)
    assert view_slice(mouse.node, user.volume) == (0, 7)
    assert max(tilt_degrees(view.node, user.volume) for view in (mouse, green)) < 0.01
    assert user.panel.messageLabel.text == ""
    assert user.panel.rotateButton.isHidden()


def test_click_outside_is_explained(user):
    mouse = user.jump_to(INSIDE)
    mouse.click((2, 2))
    user.wait()
    assert "outside" in user.panel.messageLabel.text
    assert user.count() == 0
    user.click(INSIDE)
    assert user.panel.messageLabel.text == ""


def test_rgb_volume(make_user):
    from effect_user import truth

    grey = np.where(truth(), 200, 20).astype(np.uint8)
    user = make_user(np.stack([grey, grey // 2, grey // 3], axis=-1))
    user.click(INSIDE)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))


def test_changed_voxels_are_read_anew(user):
    import slicer

    user.click(INSIDE)
    moved = np.where(tube(), 90, -80).astype(np.int16)
    slicer.util.updateVolumeFromArray(user.volume, moved)
    user.click(BESIDE)
    assert user.session.engine.segments == ("A",)
    assert user.predictor.states[-1]["volume"][4, 8, 6] == 90
    assert user.count() == 36 + 15


def test_rules_of_the_editor_are_obeyed(user):
    node = user.editor.widget.mrmlSegmentEditorNode()
    user.select("B")
    user.click(INSIDE)
    user.select("A")
    user.press(user.panel.keepOutCheck)
    node.SetMaskMode(user.editor.segmentation.EditAllowedOutsideAllSegments)
    user.click(INSIDE)
    assert (user.count("A"), user.count("B")) == (0, 36)
    assert "36 voxels" in user.panel.messageLabel.text
    node.SetMaskMode(user.editor.segmentation.EditAllowedEverywhere)
    node.SetOverwriteMode(node.OverwriteAllSegments)
    user.undo()
    user.click(INSIDE)
    assert (user.count("A"), user.count("B")) == (36, 0)
    assert "'B' lost 36 voxels" in user.panel.messageLabel.text
    user.undo()
    assert (user.count("A"), user.count("B")) == (0, 36)
    user.press(user.panel.keepOutCheck)
    user.click(INSIDE)
    assert (user.count("A"), user.count("B")) == (0, 36)


def test_other_segments_are_not_entered_by_default(user):
    blocked = np.zeros_like(tube())
    blocked[4:9, 5:8, 4:10] = True
    user.paint("B", blocked)
    node = user.editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    assert user.panel.keepOutCheck.checked
    user.press(user.panel.autoCommitCheck)
    user.click((4, 9, 6))
    from EfficientMedSAM2Lib.mrml.labelmaps import array_view

    assert array_view(user.controller.preview_image()).sum() == 18  # the outline is that of what will be written
    user.press(user.panel.commitButton)
    assert "18 voxels belong to other segments" in user.panel.messageLabel.text
    user.press(user.panel.propagateButton)
    user.press(user.panel.commitButton)
    np.testing.assert_array_equal(user.editor.mask("A"), tube() & ~blocked)
    np.testing.assert_array_equal(user.editor.mask("B"), blocked)


def test_window_is_shown_to_the_network(user):
    user.click(INSIDE)
    assert user.session.engine.window.name == "percentile"
    user.panel.windowCombo.currentIndex = 5
    user.click(BESIDE)
    assert user.session.engine.window.name == "lung"
    assert user.editor.scripted_effect.parameter("Window") == "lung"


def test_a_new_segment_begins_with_include(user):
    user.click(INSIDE)
    user.press(user.panel.excludeButton)
    user.click((4, 10, 9))
    user.select("B")
    assert user.panel.includeButton.checked
    assert user.editor.scripted_effect.parameter("Include") == "1"
    user.click(BESIDE)
    assert user.count("B") == 15
    user.press(user.panel.excludeButton)
    user.click((4, 15, 15))  # stays, as long as the segment is the same
    assert user.panel.excludeButton.checked
    user.select("A")  # which has a mask, to be corrected
    assert user.panel.excludeButton.checked
