"""Prompts live with the segment and in the scene, and come back."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from EfficientMedSAM2Lib.mrml.markups_reader import box_of, point_at, read_line, read_markups
from EfficientMedSAM2Lib.mrml.scene import prompt_store as store
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix


def world_of(scene: Any, index_kji: Any) -> list[float]:
    local = volume_matrix(scene.volume) @ (*reversed(index_kji), 1)
    return local_to_world(local[:3], scene.volume)[0].tolist()


def some_prompts(scene: Any) -> list[Any]:
    line = scene.line(world_of(scene, (3, 2, 4)), world_of(scene, (3, 9, 12)))
    return [
        point_at(world_of(scene, (1, 2, 3)), scene.volume),
        box_of([[2, 3], [4, 9], [5, 12]], scene.volume, axis=0),
        point_at(world_of(scene, (1, 5, 3)), scene.volume, positive=False, axis=2),
        box_of([[1, 4], [4, 9], [5, 12]], scene.volume, positive=False),
        read_line(line, scene.volume),
    ]


def test_text_and_back(scene: Any) -> None:
    prompts = some_prompts(scene)
    text = store.encode_prompts(prompts)
    assert not set('|:\n"') & set(text)
    again = store.decode_prompts(text, scene.volume)
    for old, new in zip(prompts, again):
        assert old == new
        np.testing.assert_allclose(old.origin.points_ras, new.origin.points_ras, atol=1e-3)
    assert [p.origin.node_id for p in again] == [None] * 4 + [""]


@pytest.mark.parametrize("text", ["x", "AAAA", "eJwrKMrPSgUABJ8BqA==", "%%%%"])
def test_damaged_tag_is_reported_not_fatal(scene: Any, text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert store.decode_prompts(text, scene.volume) == []
    assert "cannot be read" in caplog.text


def test_prompts_outside_another_volume_are_left_out(scene: Any) -> None:
    text = store.encode_prompts(some_prompts(scene))
    small = scene.add_volume(np.zeros((2, 14, 16), np.uint8), volume_matrix(scene.volume))
    prompts = store.decode_prompts(text, small)
    assert [prompt.kind for prompt in prompts] == ["point", "point", "box"]
    assert prompts[2].box_kji[0] == (1, 2)


def test_nodes_hide_nothing_and_tell_what_is_included(scene: Any) -> None:
    points, box, excluding = store.show_prompts(scene.segmentation, scene.volume, "A", some_prompts(scene))
    for node in (box, excluding):
        display = node.GetDisplayNode()
        shown = display.GetHandlesInteractive(), display.GetFillVisibility(), display.GetPropertiesLabelVisibility()
        assert not any(shown)
    assert box.GetDisplayNode().GetSelectedColor() == store.INCLUDE_COLOR
    assert excluding.GetDisplayNode().GetSelectedColor() == store.EXCLUDE_COLOR
    assert [points.GetNthControlPointSelected(n) for n in range(2)] == [True, False]
    assert points.GetDisplayNode().GetSelectedColor() == store.INCLUDE_COLOR
    assert points.GetDisplayNode().GetColor() == store.EXCLUDE_COLOR
    store.show_prompts(scene.segmentation, scene.volume, "A", some_prompts(scene)[3:4])
    assert box.GetDisplayNode().GetSelectedColor() == store.EXCLUDE_COLOR  # a node that is used again


def test_nodes_show_the_prompts(scene: Any) -> None:
    scene.volume.SetAndObserveTransformNodeID(scene.transform(np.diag([1.0, -1, 1, 1])).GetID())
    mine = scene.points([world_of(scene, (1, 2, 3))])
    prompts = some_prompts(scene)
    nodes = store.show_prompts(scene.segmentation, scene.volume, "A", prompts)
    assert [n.GetAttribute(store.KIND_ATTRIBUTE) for n in nodes] == ["point", "box", "box"]
    shown = [p for n in nodes for p in read_markups(n, scene.volume)]
    assert [p.index_kji for p in shown[:2]] == [prompts[n].index_kji for n in (0, 2)]
    assert [p.box_kji for p in shown[2:]] == [prompts[n].box_kji for n in (1, 3)]
    assert [p.positive for p in shown[:2]] == [True, False]
    assert not any(p.origin.warning for p in shown)
    assert store.show_prompts(scene.segmentation, scene.volume, "A", prompts[1:3]) == nodes[:2]  # reused
    store.show_prompts(scene.segmentation, scene.volume, "B", prompts[:1])
    assert len(store.prompt_nodes(scene.segmentation)) == 3
    store.show_prompts(scene.segmentation, scene.volume, "A", [])
    assert [n.GetName() for n in store.prompt_nodes(scene.segmentation)] == ["B point"]
    assert scene.mrml.GetNodeByID(mine.GetID()) is mine  # the user's own
    other = scene.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "another")
    other.GetSegmentation().AddEmptySegment("B", "B")
    assert store.prompt_nodes(other, "B") == []


def test_nodes_lie_in_a_folder(scene: Any) -> None:
    import slicer

    nodes = store.show_prompts(scene.segmentation, scene.volume, "A", some_prompts(scene))
    tree = slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene.mrml)
    parents = {tree.GetItemParent(tree.GetItemByDataNode(n)) for n in nodes}
    assert [tree.GetItemName(p) for p in parents] == [store.FOLDER_NAME]


def test_scene_saved_and_loaded(case: Any, tmp_path: Path) -> None:
    """Save, load into a fresh scene, go on: prompts are there, the segment is the start, and undo works."""
    import slicer

    from EfficientMedSAM2Lib.interaction import InteractiveSession

    def world(index_kji: Any) -> list[float]:
        return world_of(case.scene, index_kji)

    case.click(world((4, 8, 6)))
    list(case.propagate())
    case.click(world((4, 15, 15)))
    case.click(world((4, 8, 6)), include=False)
    before = case.scene.masks()["A"]
    save(case.scene, tmp_path)
    case.scene.mrml.Clear(True)
    mrml = case.scene.mrml
    mrml.SetURL(str(tmp_path / "scene.mrml"))
    assert mrml.Import()
    case.scene.volume = mrml.GetFirstNodeByName("V")
    case.scene.segmentation = mrml.GetFirstNodeByName("S")
    editor = mrml.GetFirstNodeByClass("vtkMRMLSegmentEditorNode")
    case.scene.logic.SetSegmentEditorNode(editor)
    case.scene.logic.SetSegmentationNode(case.scene.segmentation)
    case.scene.logic.SetSourceVolumeNode(case.scene.volume)
    case.scene.logic.SetCurrentSegmentID("A")
    port = type(case.port)(case.scene.logic)
    case.scene.port = port
    session = type(case.session)(port, InteractiveSession(case.predictor))
    later = replace(case, port=port, session=session)
    np.testing.assert_array_equal(case.scene.masks()["A"], before)
    prompts = session.prompts("A")
    assert [p.index_kji for p in prompts] == [(4, 8, 6), (4, 15, 15), (4, 8, 6)]
    assert [p.positive for p in prompts] == [True, True, False]
    (node,) = store.prompt_nodes(case.scene.segmentation, "A")
    assert [node.GetNthControlPointLabel(n) for n in range(3)] == ["+1", "+2", "-3"]
    assert isinstance(node, slicer.vtkMRMLMarkupsFiducialNode)
    later.click(world((5, 15, 15)))
    assert len(session.prompts("A")) == 4
    assert case.scene.masks()["A"].sum() == before.sum() + 15
    assert port.modes == ["Add"]
    later.undo()
    np.testing.assert_array_equal(case.scene.masks()["A"], before)
    assert len(session.prompts("A")) == 3
    assert store.prompt_nodes(case.scene.segmentation, "A") == [node]


def save(scene: Any, folder: Path) -> None:
    """What Slicer's Save does: each storable node to a file of its own, then the scene."""
    for n in range(scene.mrml.GetNumberOfNodes()):
        node = scene.mrml.GetNthNode(n)
        if node.IsA("vtkMRMLStorableNode") and node.GetSaveWithScene() and node.GetHideFromEditors() == 0:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
            if storage is None:
                continue
            storage.SetFileName(str(folder / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
            assert storage.WriteData(node), node.GetName()
    scene.mrml.SetRootDirectory(str(folder))
    scene.mrml.SetURL(str(folder / "scene.mrml"))
    assert scene.mrml.Commit()
