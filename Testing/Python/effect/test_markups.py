"""Markups that exist in the scene, and an ROI placed with Slicer's own tool."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from effect_user import BESIDE, INSIDE, tube, tube_slice

from EfficientMedSAM2Lib.mrml.markups_reader import point_at
from EfficientMedSAM2Lib.mrml.scene.prompt_store import prompt_nodes


def add_roi(user, low_kji, high_kji, name="R"):
    """ROI from the corner of one voxel to that of another."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    fill_roi(user, node, low_kji, high_kji)
    return node


def fill_roi(user, node, low_kji, high_kji):
    corners = np.array([user.world(np.array(low_kji) - 0.5), user.world(np.array(high_kji) + 0.5)])
    node.SetSize(*np.abs(corners[1] - corners[0]).tolist())
    node.SetCenter(*corners.mean(axis=0).tolist())


def choose(user, node):
    user.host.process_events(50)
    user.panel.markupsCombo.currentIndex = user.panel.markupsCombo.findData(node.GetID())
    user.host.process_events(0)


def test_points_of_the_scene(user):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "seeds")
    node.AddControlPointWorld(user.world(INSIDE), "yes")
    node.AddControlPointWorld(user.world((4, 6, 5)), "- no")
    choose(user, node)
    user.press(user.panel.useMarkupsButton)
    assert user.count() == 36 - 9
    assert node.GetNumberOfControlPoints() == 2  # the user's own markups are only read
    user.undo()
    assert user.count() == 0


@pytest.mark.parametrize("closed", [True, False])
def test_curves_of_the_scene(user, closed):
    kind = "ClosedCurve" if closed else "Curve"
    node = slicer.mrmlScene.AddNewNodeByClass(f"vtkMRMLMarkups{kind}Node", kind)
    around, along = ((4, 3, 2), (4, 3, 12), (4, 12, 12), (4, 12, 2)), ((4, 6, 5), (4, 9, 8))
    for index in around if closed else along:
        node.AddControlPointWorld(user.world(index), "C")
    choose(user, node)
    user.press(user.panel.useMarkupsButton)
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))
    assert [prompt.kind for prompt in user.session.prompts("A")] == ["lasso" if closed else "scribble"]
    user.undo()
    assert user.count() == 0


def test_prompts_of_a_file_are_one_action(user):
    volume = user.volume
    prompts = [point_at(user.world(INSIDE), volume), point_at(user.world((4, 6, 5)), volume, False)]
    user.controller.use_prompts(prompts)
    user.wait()
    assert user.count() == 36 - 9
    assert user.prompt_count() == 2  # shown, as if the user had clicked
    user.undo()
    assert (user.count(), user.prompt_count()) == (0, 0)


def test_roi_is_a_prompt_and_limits_propagation(user):
    node = add_roi(user, (6, 4, 3), (12, 11, 10))
    choose(user, node)
    user.press(user.panel.useMarkupsButton)
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist() == [9]
    user.press(user.panel.propagateButton)
    expected = tube()
    expected[:6] = expected[13:] = False
    np.testing.assert_array_equal(user.editor.mask(), expected)


def test_roi_limits_a_clicked_segment_too(user):
    node = add_roi(user, (3, 4, 3), (7, 11, 10))
    choose(user, node)
    user.parameter("Range", "roi")
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist() == [4, 5, 6, 7]


def test_missing_roi_is_explained(user):
    user.parameter("Range", "roi")
    user.click(INSIDE)
    user.press(user.panel.propagateButton)
    assert "Choose the ROI" in user.panel.messageLabel.text
    np.testing.assert_array_equal(user.editor.mask(), tube_slice(4))


def test_roi_is_placed_with_slicers_tool(user):
    user.press(user.panel.roiButton)
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert user.editor.scripted_effect.active()  # placing does not end the effect
    assert user.panel.roiButton.checked
    node = user.effect.roiPlacement.node
    assert not node.GetDisplayNode().GetFillVisibility()
    user.click(INSIDE)  # belongs to the markups
    assert user.predictor.prompted == []
    fill_roi(user, node, (6, 4, 3), (12, 11, 10))
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    user.wait()
    assert np.flatnonzero(user.editor.mask().any(axis=(1, 2))).tolist() == [9]
    assert not user.panel.roiButton.checked
    assert node.GetScene() is None  # it is a prompt of the segment now, and shown as such
    (shown,) = prompt_nodes(user.editor.segmentation, "A")
    assert shown.GetNodeTagName() == "MarkupsROI"
    user.undo()
    assert prompt_nodes(user.editor.segmentation, "A") == []


def test_the_button_pressed_again_gives_up(user):
    user.press(user.panel.roiButton)
    node = user.effect.roiPlacement.node
    user.press(user.panel.roiButton)
    assert node.GetScene() is None
    assert not user.panel.roiButton.checked
    user.click(INSIDE)
    assert user.count() == 36


def visible_prompts(user):
    """Names of the markups that show prompts, and are seen."""
    nodes = prompt_nodes(user.editor.segmentation)
    return sorted(node.GetName() for node in nodes if node.GetDisplayNode().GetVisibility())


def test_prompts_of_the_selected_segment_are_shown_while_the_effect_is_active(user):
    user.click(INSIDE)
    user.select("B")
    assert visible_prompts(user) == []
    user.click(BESIDE)
    assert visible_prompts(user) == ["B point"]
    user.select("A")
    assert visible_prompts(user) == ["A point"]
    (node,) = prompt_nodes(user.editor.segmentation, "A")
    assert not node.GetDisplayNode().GetVisibility3D()
    user.undo()
    user.redo()
    assert visible_prompts(user) == ["A point"]  # B's is made anew, under its old name, and not shown
    assert sorted(n.GetName() for n in prompt_nodes(user.editor.segmentation)) == ["A point", "B point"]
    user.editor.widget.setActiveEffectByName("")
    user.host.process_events(0)
    assert visible_prompts(user) == []
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    user.wait()
    user.select("B")
    assert visible_prompts(user) == ["B point"]


def test_roi_is_placed_after_points_were_placed_one_after_the_other(user):
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetPlaceModePersistence(1)
    user.press(user.panel.roiButton)
    node = user.effect.roiPlacement.node
    assert node is not None
    assert node.GetScene() is slicer.mrmlScene
    assert interaction.GetPlaceModePersistence() == 0


@pytest.mark.parametrize("mode", ["Place", "AdjustWindowLevel"])
def test_other_tools_of_slicer_keep_the_mouse(user, mode):
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(getattr(interaction, mode))
    user.click(INSIDE)
    assert user.predictor.prompted == []
    assert user.editor.scripted_effect.active()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    user.click(INSIDE)
    assert len(user.predictor.prompted) == 1


def test_placing_that_is_given_up_leaves_nothing(user):
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")
    user.press(user.panel.roiButton)
    user.editor.widget.setActiveEffectByName("")
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == count


def test_placing_that_is_given_up_between_its_two_clicks_leaves_nothing(user):
    user.press(user.panel.roiButton)
    node = user.effect.roiPlacement.node
    node.AddControlPointWorld(user.world(INSIDE))
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # Esc or the right button
    user.wait()
    assert node.GetScene() is None
    assert user.predictor.prompted == []
    assert user.editor.scripted_effect.active()


def test_own_prompts_are_not_offered(user):
    user.click(INSIDE)
    user.host.process_events(50)
    assert user.panel.markupsCombo.count == 1
