"""Curves of the scene as scribbles and lassos: read, kept with the segment, shown, and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from EfficientMedSAM2Lib.imaging.markups import read_markups as markups_of_file
from EfficientMedSAM2Lib.imaging.markups import write_markups
from EfficientMedSAM2Lib.interaction import LassoPrompt, ScribblePrompt
from EfficientMedSAM2Lib.mrml.markups_reader import drawn_along, prompts_of_file, read_markups
from EfficientMedSAM2Lib.mrml.scene import prompt_store as store
from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

SQUARE = ((2, 3.2, 3.3), (2, 3.2, 9.3), (2, 8.4, 9.3), (2, 8.4, 3.3))
ALONG = ((2, 4.1, 4.2), (2, 6.2, 6.1), (2, 4.2, 10.1))


def world_of(scene: Any, index_kji: Any) -> list[float]:
    local = volume_matrix(scene.volume) @ (*reversed(index_kji), 1)
    return local_to_world(local[:3], scene.volume)[0].tolist()


def worlds(scene: Any, indices: Any) -> list[list[float]]:
    return [world_of(scene, index) for index in indices]


def place_elsewhere(scene: Any) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[0.0, -1.0], [1.0, 0.0]]
    turn[:3, 3] = 5.0, -30.0, 12.0
    scene.volume.SetAndObserveTransformNodeID(scene.transform(turn).GetID())


@pytest.mark.parametrize("moved", [False, True])
def test_a_closed_curve_is_a_lasso_and_an_open_one_a_scribble(scene: Any, moved: bool) -> None:
    if moved:
        place_elsewhere(scene)
    node = scene.curve(worlds(scene, SQUARE), closed=True)
    node.SetCurveTypeToLinear()
    (lasso,) = read_markups(node, scene.volume)
    assert (lasso.kind, lasso.positive, lasso.axis, lasso.origin.node_id) == ("lasso", True, 0, node.GetID())
    inside = np.zeros((8, 14, 16), bool)
    inside[2, 4:9, 4:10] = True
    region = lasso.mask.full(inside.shape)
    assert region[inside].all()
    assert not region[[0, 1, 3, 4, 5, 6, 7]].any()
    (scribble,) = read_markups(scene.curve(worlds(scene, ALONG), closed=False), scene.volume)
    assert (scribble.kind, scribble.positive, scribble.axis) == ("scribble", True, 0)
    drawn = scribble.mask.full(inside.shape)
    assert drawn[tuple(zip(*np.rint(ALONG).astype(int)))].all()
    assert not drawn[[0, 1, 3, 4, 5, 6, 7]].any()


def test_curves_of_nodes_and_of_the_files_that_slicer_writes_are_the_same(scene: Any, tmp_path: Any) -> None:
    place_elsewhere(scene)
    nodes = [
        scene.curve(worlds(scene, SQUARE), closed=True),
        scene.curve(worlds(scene, ALONG), closed=False),
        scene.curve(worlds(scene, ((2, 10.2, 4.3), (2, 10.2, 9.3))), closed=False, label="neg"),
    ]
    read: list[Any] = []
    for n, node in enumerate(nodes):
        node.AddDefaultStorageNode()
        node.GetStorageNode().SetFileName(str(tmp_path / f"{n}.mrk.json"))
        assert node.GetStorageNode().WriteData(node)
        read += markups_of_file(tmp_path / f"{n}.mrk.json")
    known = [prompt for node in nodes for prompt in read_markups(node, scene.volume)]
    assert prompts_of_file(read[::-1], scene.volume) == known
    straight = tmp_path / "straight.mrk.json"
    write_markups(straight, [replace(markup, straight=True) for markup in read])
    for node in nodes:
        node.SetCurveTypeToLinear()
    assert prompts_of_file(markups_of_file(straight), scene.volume) == [read_markups(n, scene.volume)[0] for n in nodes]
    assert [p.positive for p in known] == [True, True, False]
    assert "not here" in known[2].origin.warning


def test_curves_of_no_use(scene: Any) -> None:
    with pytest.raises(ValueError, match="'C' is not finished; place 3"):
        read_markups(scene.curve(worlds(scene, SQUARE[:2]), closed=True), scene.volume)
    with pytest.raises(ValueError, match="'C': The lasso lies on no slice"):
        read_markups(scene.curve(worlds(scene, ((1, 3, 3), (4, 3, 9), (7, 8, 9))), closed=True), scene.volume)
    with pytest.raises(ValueError, match=r"'C'.*outside"):
        read_markups(scene.curve([[900, 0, 0], [901, 0, 0]], closed=False), scene.volume)


def test_drawn_prompts_are_kept_with_the_segment_and_shown(scene: Any) -> None:
    place_elsewhere(scene)
    prompts: list[Any] = [
        drawn_along(LassoPrompt, worlds(scene, SQUARE), scene.volume, axis=0),
        drawn_along(ScribblePrompt, worlds(scene, ALONG), scene.volume, positive=False, axis=0),
    ]
    assert store.decode_prompts(store.encode_prompts(prompts), scene.volume) == prompts
    lasso, scribble = store.show_prompts(scene.segmentation, scene.volume, "A", prompts)
    assert lasso.IsA("vtkMRMLMarkupsClosedCurveNode")
    assert not scribble.IsA("vtkMRMLMarkupsClosedCurveNode")
    assert scribble.IsA("vtkMRMLMarkupsCurveNode")
    position = [0.0, 0.0, 0.0]
    scribble.GetNthControlPointPositionWorld(1, position)
    np.testing.assert_allclose(position, world_of(scene, ALONG[1]), atol=1e-3)
    assert lasso.GetDisplayNode().GetSelectedColor() == store.INCLUDE_COLOR
    assert scribble.GetDisplayNode().GetSelectedColor() == store.EXCLUDE_COLOR
    assert store.offered_markups(scene.mrml) == []
    (again,) = read_markups(lasso, scene.volume)  # what is shown is what counts
    assert again == prompts[0]
    store.show_prompts(scene.segmentation, scene.volume, "A", [])
    assert store.prompt_nodes(scene.segmentation) == []


def test_curves_are_offered_once(scene: Any) -> None:
    nodes = [scene.curve(worlds(scene, SQUARE), closed=closed) for closed in (True, False)]
    offered = store.offered_markups(scene.mrml)
    assert sorted(node.GetID() for node in offered) == sorted(node.GetID() for node in nodes)


def test_a_segment_with_drawn_prompts_is_undone_and_redone(case: Any) -> None:
    node = case.scene.curve(worlds(case.scene, ((5, 3, 2), (5, 3, 12), (5, 12, 12), (5, 12, 2))), closed=True)
    case.add_markups(node)
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(5))
    case.undo()
    assert not case.scene.masks()["A"].any()
    case.redo()
    assert [p.kind for p in case.session.prompts("A")] == ["lasso"]
    np.testing.assert_array_equal(case.scene.masks()["A"], case.tube_slice(5))


def test_drawn_prompts_are_moved_as_they_are(scene: Any) -> None:
    from EfficientMedSAM2Lib.mrml.effect.prompt_changes import moved_prompt

    place_elsewhere(scene)
    lasso = drawn_along(LassoPrompt, worlds(scene, SQUARE), scene.volume, axis=0)
    moved: Any = moved_prompt(lasso, world_of(scene, (4, 6.8, 8.3)), scene.volume)
    assert (lasso.index, moved.index, moved.kind) == (2, 4, "lasso")
    shape = (8, 14, 16)
    np.testing.assert_array_equal(moved.mask.full(shape)[4], np.roll(lasso.mask.full(shape)[2], (1, 2), (0, 1)))
