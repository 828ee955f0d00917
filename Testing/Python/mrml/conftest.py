# ruff: noqa: E402
"""A head-less Slicer scene in a few lines: real MRML, real segment editor logic, nothing mocked."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs PyPI's slicer-core")
vtk = pytest.importorskip("vtk")

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "interaction"):
    sys.path.insert(0, str(folder))
from oracle_predictor import OraclePredictor

from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.mrml.labelmaps import array_view, to_vtk_matrix
from EfficientMedSAM2Lib.mrml.markups_reader import point_at
from EfficientMedSAM2Lib.mrml.ports.segment_editor_logic_port import SegmentEditorLogicPort
from EfficientMedSAM2Lib.mrml.segment_editor_session import SegmentEditorSession
from EfficientMedSAM2Lib.mrml.segment_voxels import WriteReport, read_segment

SHAPE = (8, 14, 16)  # k, j, i


@dataclass
class Scene:
    """One volume, one segmentation with empty segments A, B, C (A selected), and the editor on them."""

    mrml: Any
    volume: Any
    segmentation: Any
    editor_node: Any
    logic: Any
    port: Any
    keep: list[Any] = field(default_factory=list)

    def transform(self, matrix: np.ndarray, name: str = "T") -> Any:
        node = self.mrml.AddNewNodeByClass("vtkMRMLLinearTransformNode", name)
        node.SetMatrixTransformToParent(to_vtk_matrix(matrix))
        return node

    def move(self, transform: Any, matrix: Sequence[Sequence[float]]) -> None:
        transform.SetMatrixTransformToParent(to_vtk_matrix(np.array(matrix, dtype=float)))

    def points(self, positions: Sequence[Sequence[float]], labels: Sequence[str] | None = None) -> Any:
        node = self.mrml.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "F")
        for n, position in enumerate(positions):
            node.AddControlPointWorld(vtk.vtkVector3d(*position), labels[n] if labels else f"F-{n + 1}")
        return node

    def line(self, start: Sequence[float], end: Sequence[float]) -> Any:
        node = self.mrml.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "L")
        for position in (start, end):
            node.AddControlPointWorld(vtk.vtkVector3d(*position))
        return node

    def curve(self, points: Sequence[Sequence[float]], closed: bool, label: str = "C") -> Any:
        kind = "vtkMRMLMarkupsClosedCurveNode" if closed else "vtkMRMLMarkupsCurveNode"
        node = self.mrml.AddNewNodeByClass(kind, "C")
        for position in points:
            node.AddControlPointWorld(vtk.vtkVector3d(*position), label)
        return node

    def roi(self, object_to_world: np.ndarray, size: Sequence[float]) -> Any:
        node = self.mrml.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
        node.SetSize(*size)
        node.SetAndObserveObjectToNodeMatrix(to_vtk_matrix(object_to_world))
        return node

    def add_volume(self, array: np.ndarray, ijk_to_ras: np.ndarray, name: str = "V2") -> Any:
        return make_volume(self.mrml, array, ijk_to_ras, name)

    def select(self, segment_id: str) -> None:
        self.logic.SetCurrentSegmentID(segment_id)

    def masks(self) -> dict[str, np.ndarray]:
        return {s: read_segment(self.segmentation, s, self.volume) for s in self.port.segment_ids()}

    def voxels_hash(self) -> bytes:
        return array_view(self.volume.GetImageData()).tobytes()


class CountingPort(SegmentEditorLogicPort):
    """The real adapter, counting what it is asked to do."""

    def __init__(self, logic: Any) -> None:
        super().__init__(logic)
        self.saves = 0
        self.modes: list[str] = []

    def save_state_for_undo(self) -> None:
        self.saves += 1
        super().save_state_for_undo()

    def modify_selected_segment(self, labelmap: Any, mode: Any, extent: Sequence[int]) -> None:
        self.modes.append(mode.value)
        super().modify_selected_segment(labelmap, mode, extent)


def make_volume(mrml: Any, array: np.ndarray, ijk_to_ras: np.ndarray, name: str = "V") -> Any:
    components = 1 if array.ndim == 3 else array.shape[3]
    kind = "vtkMRMLScalarVolumeNode" if components == 1 else "vtkMRMLVectorVolumeNode"
    image = vtk.vtkImageData()
    image.SetDimensions(*array.shape[2::-1])
    image.AllocateScalars(vtk.util.numpy_support.get_vtk_array_type(array.dtype), components)
    array_view(image)[...] = array
    node = mrml.AddNewNodeByClass(kind, name)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk_matrix(ijk_to_ras))
    return node


def make_scene(
    array: np.ndarray | None = None,
    ijk_to_ras: np.ndarray | None = None,
    volume_transform: np.ndarray | None = None,
    segmentation_transform: np.ndarray | None = None,
) -> Scene:
    import vtk.util.numpy_support

    vtk.vtkObject.GlobalWarningDisplayOff()
    mrml = slicer.vtkMRMLScene()
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
    segmentations.SetMRMLScene(mrml)
    markups = slicer.vtkSlicerMarkupsLogic()  # makes markups storable
    markups.SetMRMLScene(mrml)
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(mrml)
    if array is None:
        array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) % 400 - 100
    if ijk_to_ras is None:
        ijk_to_ras = np.diag([-0.7, -0.8, 2.5, 1.0])
        ijk_to_ras[:3, 3] = (10.0, -20.0, 30.0)
    volume = make_volume(mrml, array, ijk_to_ras)
    segmentation = mrml.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in "ABC":
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(mrml)
    editor_node = mrml.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "E")
    logic.SetSegmentEditorNode(editor_node)
    logic.SetSegmentationNode(segmentation)
    logic.SetSourceVolumeNode(volume)
    logic.SetCurrentSegmentID("A")
    logic.SetMaximumNumberOfUndoStates(50)
    scene = Scene(mrml, volume, segmentation, editor_node, logic, CountingPort(logic), [segmentations, markups])
    if volume_transform is not None:
        volume.SetAndObserveTransformNodeID(scene.transform(volume_transform, "TV").GetID())
    if segmentation_transform is not None:
        segmentation.SetAndObserveTransformNodeID(scene.transform(segmentation_transform, "TS").GetID())
    return scene


@pytest.fixture
def scene() -> Scene:
    return make_scene()


@pytest.fixture
def build_scene() -> Any:
    """The factory itself, for scenes with a geometry of their own."""
    return make_scene


@dataclass
class Case:
    """A user in front of the editor: a volume with two tubes along k, a predictor that knows them, a session."""

    scene: Scene
    port: CountingPort
    predictor: Any
    engine: Any
    session: Any
    tube: np.ndarray
    auto_commit: bool = True

    def act(self, prompts: Sequence[Any]) -> WriteReport:
        """One action, as the effect's controller does it, without its threads."""
        self.session.begin()
        self.session.run(prompts)
        return self.session.commit() if self.auto_commit else WriteReport()

    def click(self, point_world_ras: Sequence[float], include: bool = True, axis: int | None = None) -> WriteReport:
        return self.act([point_at(point_world_ras, self.port.source_volume_node(), include, axis)])

    def add_markups(self, node: Any) -> WriteReport:
        return self.act(self.session.prompts_of(node))

    def propagate(self, *arguments: Any, **options: Any) -> Generator[Any, None, None]:
        """Slices one by one; written once, at the end or when closed."""
        self.session.begin()
        propagation = self.session.plan_propagation(*arguments, **options)

        def updates() -> Generator[Any, None, None]:
            try:
                yield from propagation
            finally:
                self.session.finish_propagation()
                self.session.commit()

        return updates()

    def undo(self) -> None:
        """Esc, or the editor's button."""
        if self.session.has_preview:
            self.session.reject()
        elif self.port.can_undo():
            self.port.undo()
            self.session.sync_with_editor()

    def redo(self) -> None:
        if not self.session.has_preview and self.port.can_redo():
            self.port.redo()
            self.session.sync_with_editor()

    def tube_slice(self, k: int) -> np.ndarray:
        mask = np.zeros_like(self.tube)
        mask[k] = self.tube[k]
        return mask


def make_case(max_undo_steps: int = 50, **geometry: Any) -> Case:
    tube = np.zeros((24, 20, 22), dtype=bool)
    tube[4:18, 5:11, 4:10] = True
    truth = tube.copy()
    truth[:, 14:17, 13:18] = True
    scene = make_scene(np.where(truth, 60, -80).astype(np.int16), **geometry)
    predictor = OraclePredictor(truth)
    engine = InteractiveSession(predictor, max_undo_steps)
    return Case(scene, scene.port, predictor, engine, SegmentEditorSession(scene.port, engine), tube)


@pytest.fixture
def case() -> Case:
    return make_case()


@pytest.fixture
def build_case() -> Any:
    return make_case
