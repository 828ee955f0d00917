"""Clicks, boxes, lines, previews and undo through the effect's own files, on real MRML and segment editor logic."""

from __future__ import annotations

import numpy as np
import pytest
from desk import BESIDE, INSIDE, tube, tube_slice


def test_click_fills_the_segment_and_is_one_undo_step(desk):
    before = desk.voxels()
    desk.click(INSIDE)
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))
    desk.undo()
    assert desk.count() == 0
    assert desk.prompt_count() == 0
    desk.redo()
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))
    assert desk.prompt_count() == 1
    assert desk.voxels() == before
    assert desk.controller.first_latency_s < 5


@pytest.mark.parametrize(("view", "axis"), [("Red", 0), ("Green", 1), ("Yellow", 2)])
def test_click_works_in_every_view(desk, view, axis):
    desk.click((10, 8, 6), view)
    expected = np.zeros_like(tube())
    plane = [slice(None)] * 3
    plane[axis] = (10, 8, 6)[axis]
    expected[tuple(plane)] = tube()[tuple(plane)]
    np.testing.assert_array_equal(desk.editor.mask(), expected)


def test_negative_click_takes_away(desk):
    desk.click(INSIDE)
    desk.press(desk.panel.excludeButton)
    desk.click(INSIDE)
    assert desk.count() == 36 - 9
    assert [prompt.positive for prompt in desk.session.prompts("A")] == [True, False]
    desk.undo()
    assert desk.count() == 36


def test_a_double_click_is_one_prompt_and_two_quick_clicks_are_two(desk):
    mouse = desk.look_at(INSIDE)
    mouse.click(desk.world(INSIDE))
    mouse.event("LeftButtonDoubleClick", desk.world(INSIDE))
    assert mouse.widget.aborted  # or Slicer would enlarge the view
    mouse.event("LeftButtonRelease", desk.world(INSIDE))
    desk.wait()
    assert desk.prompt_count() == 1
    mouse.event("LeftButtonDoubleClick", desk.world(BESIDE))
    mouse.event("LeftButtonRelease", desk.world(BESIDE))
    desk.wait()
    assert desk.prompt_count() == 2
    assert desk.count() == 36 + 15


@pytest.mark.parametrize("modifier", ["shift", "ctrl", "alt"])
def test_the_mouse_is_slicers_while_a_modifier_is_down(desk, modifier):
    desk.look_at(INSIDE).click(desk.world(INSIDE), **{modifier: True})
    desk.wait()
    assert desk.count() == 0
    assert desk.predictor.prompted == []
    assert not desk.mouse.widget.aborted


@pytest.mark.parametrize(
    ("view", "first", "last"),
    [("Red", (6, 6, 5), (6, 9, 8)), ("Green", (6, 8, 5), (15, 8, 8)), ("Yellow", (6, 6, 6), (15, 9, 6))],
)
def test_box_is_dragged_in_every_view(desk, view, first, last):
    desk.press(desk.panel.toolButtons["box"])
    desk.look_at(first, view).drag(desk.world(first), desk.world(last))
    desk.wait()
    expected = np.zeros_like(tube())
    expected[tuple(slice(low, high + 1) for low, high in zip(first, last))] = True
    np.testing.assert_array_equal(desk.editor.mask(), expected)
    assert desk.session.prompts("A")[0].kind == "box"


def test_box_shows_a_rubber_band_and_a_slip_is_no_box(desk):
    desk.press(desk.panel.toolButtons["box"])
    mouse = desk.look_at((4, 8, 6))
    x, y = mouse.xy(desk.world((4, 8, 6)))
    mouse.event("LeftButtonPress", (x, y))
    mouse.event("MouseMove", (x + 30, y + 20))
    actor = desk.band(mouse)
    assert actor.GetVisibility()
    assert actor.GetMapper().GetInput().GetBounds()[:4] == (x, x + 30, y, y + 20)
    mouse.event("MouseMove", (x + 1, y))
    mouse.event("LeftButtonRelease", (x + 1, y))
    desk.wait()
    assert not actor.GetVisibility()
    assert desk.count() == 0


def test_line_is_a_recist_diameter(desk):
    desk.press(desk.panel.toolButtons["line"])
    desk.look_at((4, 8, 6)).drag(desk.world((4, 5, 6)), desk.world((4, 10, 6)))
    desk.wait()
    assert desk.session.prompts("A")[0].kind == "line"
    assert desk.editor.mask()[4].any()
    assert not (desk.editor.mask() & ~tube()).any()


def test_preview_is_outlined_and_written_on_enter(desk):
    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    assert desk.count() == 0
    outline = desk.outline("Red")
    assert outline.GetVisibility()
    corners = np.array([desk.mouse.xy(desk.world((4, row, column))) for row in (5, 10) for column in (4, 9)])
    x0, x1, y0, y1 = outline.GetMapper().GetInput().GetBounds()[:4]
    assert abs(np.array([x0, y0]) - corners.min(axis=0)).max() < 6
    assert abs(np.array([x1, y1]) - corners.max(axis=0)).max() < 6
    desk.mouse.key("Return")
    desk.wait()
    assert desk.count() == 36
    assert not outline.GetVisibility()
    desk.undo()
    assert desk.count() == 0


def test_preview_is_dropped_on_escape_and_the_effect_stays(desk):
    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    assert desk.mouse.widget is not None
    desk.mouse.key("Escape")
    desk.wait()
    assert desk.count() == 0
    assert not desk.controller.has_preview
    assert not desk.outline("Red").GetVisibility()
    assert desk.editor.scripted_effect.active()


def test_preview_of_another_segment_is_written_where_it_belongs(desk):
    desk.press(desk.panel.autoCommitCheck)
    desk.click(INSIDE)
    desk.select("B")
    assert (desk.count("A"), desk.count("B")) == (36, 0)
    assert desk.editor.widget.currentSegmentID() == "B"
    desk.click(BESIDE)
    desk.press(desk.panel.commitButton)
    assert (desk.count("A"), desk.count("B")) == (36, 15)


def test_oblique_view_and_transformed_volume(make_desk):
    import slicer

    from EfficientMedSAM2Lib.mrml.labelmaps import to_vtk_matrix

    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (5.0, 60.0, -3.0)
    desk = make_desk()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(to_vtk_matrix(turn))
    desk.volume.SetAndObserveTransformNodeID(node.GetID())
    desk.editor.segmentation.SetAndObserveTransformNodeID(node.GetID())
    mouse = desk.host.mouse("Red")
    point = desk.world(INSIDE)
    mouse.look_along((0.0, np.sin(0.2), np.cos(0.2)), (1.0, 0.0, 0.0), point)
    mouse.click(point)
    desk.wait()
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))
    assert "tilted" in desk.panel.messageLabel.text


def test_click_outside_is_explained(desk):
    mouse = desk.look_at(INSIDE)
    mouse.click((2, 2))
    desk.wait()
    assert "outside" in desk.panel.messageLabel.text
    assert desk.count() == 0
    desk.click(INSIDE)
    assert desk.panel.messageLabel.text == ""


def test_rgb_volume(make_desk):
    from desk import truth

    grey = np.where(truth(), 200, 20).astype(np.uint8)
    desk = make_desk(np.stack([grey, grey // 2, grey // 3], axis=-1))
    desk.click(INSIDE)
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))


def test_changed_voxels_are_read_anew(desk):
    import slicer

    desk.click(INSIDE)
    moved = np.where(tube(), 90, -80).astype(np.int16)
    slicer.util.updateVolumeFromArray(desk.volume, moved)
    desk.click(BESIDE)
    assert desk.session.engine.segments == ("A",)
    assert desk.predictor.states[-1]["volume"][4, 8, 6] == 90
    assert desk.count() == 36 + 15


def test_rules_of_the_editor_are_obeyed(desk):
    node = desk.editor.widget.mrmlSegmentEditorNode()
    desk.select("B")
    desk.click(INSIDE)
    desk.select("A")
    node.SetMaskMode(desk.editor.segmentation.EditAllowedOutsideAllSegments)
    desk.click(INSIDE)
    assert (desk.count("A"), desk.count("B")) == (0, 36)
    assert "36 voxels" in desk.panel.messageLabel.text
    node.SetMaskMode(desk.editor.segmentation.EditAllowedEverywhere)
    node.SetOverwriteMode(node.OverwriteAllSegments)
    desk.undo()
    desk.click(INSIDE)
    assert (desk.count("A"), desk.count("B")) == (36, 0)
    desk.undo()
    assert (desk.count("A"), desk.count("B")) == (0, 36)
    desk.press(desk.panel.keepOutCheck)
    desk.click(INSIDE)
    assert (desk.count("A"), desk.count("B")) == (0, 36)


def test_other_segments_are_not_entered_on_request(desk):
    blocked = np.zeros_like(tube())
    blocked[4:9, 5:8, 4:10] = True
    desk.paint("B", blocked)
    node = desk.editor.widget.mrmlSegmentEditorNode()
    node.SetOverwriteMode(node.OverwriteAllSegments)
    desk.press(desk.panel.keepOutCheck)
    desk.press(desk.panel.autoCommitCheck)
    desk.click((4, 9, 6))
    from EfficientMedSAM2Lib.mrml.labelmaps import array_view

    assert array_view(desk.controller.preview_image()).sum() == 18  # the outline is that of what will be written
    desk.press(desk.panel.commitButton)
    desk.press(desk.panel.propagateButton)
    desk.press(desk.panel.commitButton)
    np.testing.assert_array_equal(desk.editor.mask("A"), tube() & ~blocked)
    np.testing.assert_array_equal(desk.editor.mask("B"), blocked)


def test_window_is_shown_to_the_network(desk):
    desk.click(INSIDE)
    assert desk.session.engine.window.name == "percentile"
    desk.panel.windowCombo.currentIndex = 5
    desk.click(BESIDE)
    assert desk.session.engine.window.name == "lung"
    assert desk.editor.scripted_effect.parameter("Window") == "lung"
