"""Markups that exist in the scene, and an ROI placed with Slicer's own tool."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from desk import INSIDE, tube, tube_slice

from EfficientMedSAM2Lib.mrml.markups_reader import point_prompt


def add_roi(desk, low_kji, high_kji, name="R"):
    """ROI from the corner of one voxel to that of another."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    fill_roi(desk, node, low_kji, high_kji)
    return node


def fill_roi(desk, node, low_kji, high_kji):
    corners = np.array([desk.world(np.array(low_kji) - 0.5), desk.world(np.array(high_kji) + 0.5)])
    node.SetSize(*np.abs(corners[1] - corners[0]).tolist())
    node.SetCenter(*corners.mean(axis=0).tolist())


def choose(desk, node):
    desk.host.process_events(50)
    desk.panel.markupsCombo.currentIndex = desk.panel.markupsCombo.findData(node.GetID())
    desk.host.process_events(0)


def test_points_of_the_scene(desk):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "seeds")
    node.AddControlPointWorld(desk.world(INSIDE), "yes")
    node.AddControlPointWorld(desk.world((4, 6, 5)), "- no")
    choose(desk, node)
    desk.press(desk.panel.useMarkupsButton)
    assert desk.count() == 36 - 9
    assert node.GetNumberOfControlPoints() == 2  # the user's own markups are only read
    desk.undo()
    assert desk.count() == 0


def test_prompts_of_a_file_are_one_action(desk):
    volume = desk.volume
    prompts = [point_prompt(desk.world(INSIDE), volume), point_prompt(desk.world((4, 6, 5)), volume, False)]
    desk.controller.use_prompts(prompts)
    desk.wait()
    assert desk.count() == 36 - 9
    assert desk.prompt_count() == 2  # shown, as if the user had clicked
    desk.undo()
    assert (desk.count(), desk.prompt_count()) == (0, 0)


def test_roi_is_a_prompt_and_limits_propagation(desk):
    node = add_roi(desk, (6, 4, 3), (12, 11, 10))
    choose(desk, node)
    desk.press(desk.panel.useMarkupsButton)
    assert np.flatnonzero(desk.editor.mask().any(axis=(1, 2))).tolist() == [9]
    desk.press(desk.panel.propagateButton)
    expected = tube()
    expected[:6] = expected[13:] = False
    np.testing.assert_array_equal(desk.editor.mask(), expected)


def test_roi_limits_a_clicked_segment_too(desk):
    node = add_roi(desk, (3, 4, 3), (7, 11, 10))
    choose(desk, node)
    desk.parameter("Range", "roi")
    desk.click(INSIDE)
    desk.press(desk.panel.propagateButton)
    assert np.flatnonzero(desk.editor.mask().any(axis=(1, 2))).tolist() == [4, 5, 6, 7]


def test_missing_roi_is_explained(desk):
    desk.parameter("Range", "roi")
    desk.click(INSIDE)
    desk.press(desk.panel.propagateButton)
    assert "Choose the ROI" in desk.panel.messageLabel.text
    np.testing.assert_array_equal(desk.editor.mask(), tube_slice(4))


def test_roi_is_placed_with_slicers_tool(desk):
    desk.press(desk.panel.roiButton)
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert desk.editor.scripted_effect.active()  # placing does not end the effect
    node = desk.effect.roiPlacement.node
    desk.click(INSIDE)  # belongs to the markups
    assert desk.predictor.prompted == []
    fill_roi(desk, node, (6, 4, 3), (12, 11, 10))
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    desk.wait()
    assert np.flatnonzero(desk.editor.mask().any(axis=(1, 2))).tolist() == [9]
    assert desk.panel.chosenMarkupsID() == node.GetID()


def test_roi_is_placed_after_points_were_placed_one_after_the_other(desk):
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetPlaceModePersistence(1)
    desk.press(desk.panel.roiButton)
    node = desk.effect.roiPlacement.node
    assert node is not None
    assert node.GetScene() is slicer.mrmlScene
    assert interaction.GetPlaceModePersistence() == 0


@pytest.mark.parametrize("mode", ["Place", "AdjustWindowLevel"])
def test_other_tools_of_slicer_keep_the_mouse(desk, mode):
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(getattr(interaction, mode))
    desk.click(INSIDE)
    assert desk.predictor.prompted == []
    assert desk.editor.scripted_effect.active()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    desk.click(INSIDE)
    assert len(desk.predictor.prompted) == 1


def test_placing_that_is_given_up_leaves_nothing(desk):
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")
    desk.press(desk.panel.roiButton)
    desk.editor.widget.setActiveEffectByName("")
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode") == count


def test_placing_that_is_given_up_between_its_two_clicks_leaves_nothing(desk):
    desk.press(desk.panel.roiButton)
    node = desk.effect.roiPlacement.node
    node.AddControlPointWorld(desk.world(INSIDE))
    interaction = slicer.mrmlScene.GetSingletonNode("Singleton", "vtkMRMLInteractionNode")
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # Esc or the right button
    desk.wait()
    assert node.GetScene() is None
    assert desk.predictor.prompted == []
    assert desk.editor.scripted_effect.active()


def test_own_prompts_are_not_offered(desk):
    desk.click(INSIDE)
    desk.host.process_events(50)
    assert desk.panel.markupsCombo.count == 1
