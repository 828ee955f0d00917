"""Files written and read by Slicer's own storage nodes (slicer-core), for comparison with ours."""

from __future__ import annotations

import logging

import numpy as np
import pytest

STORAGE_NODES = {
    "vtkMRMLMarkupsROINode": "vtkMRMLMarkupsROIJsonStorageNode",
    "vtkMRMLSegmentationNode": "vtkMRMLSegmentationStorageNode",
}


@pytest.fixture(autouse=True)
def plain_log(monkeypatch):
    """The engine's log as it is without the effect, whose tests leave its relay installed: each line once."""
    engine = logging.getLogger("EfficientMedSAM2Lib")
    monkeypatch.setattr(engine, "handlers", [])
    monkeypatch.setattr(engine, "propagate", True)


class SlicerFiles:
    """Slicer without a screen: nodes to files and back, through the storage node that Slicer itself would take."""

    def __init__(self, slicer, vtk):
        self.slicer = slicer
        self.vtk = vtk
        self.scene = slicer.vtkMRMLScene()

    def node_and_storage(self, node_class: str, path):
        node = getattr(self.slicer, node_class)()
        storage = getattr(self.slicer, STORAGE_NODES.get(node_class, "vtkMRMLMarkupsJsonStorageNode"))()
        self.scene.AddNode(node)
        self.scene.AddNode(storage)
        storage.SetFileName(str(path))
        return node, storage

    def write(self, node_class: str, path, fill, coordinate_system: str = "LPS") -> None:
        node, storage = self.node_and_storage(node_class, path)
        fill(node)
        storage.SetCoordinateSystem(getattr(storage, f"CoordinateSystem{coordinate_system}"))
        assert storage.WriteData(node) == 1

    def read(self, node_class: str, path):
        node, storage = self.node_and_storage(node_class, path)
        assert storage.ReadData(node) == 1
        return node

    def point(self, point_ras):
        return self.vtk.vtkVector3d(*map(float, point_ras))

    @staticmethod
    def set_matrix(vtk_matrix, matrix) -> None:
        vtk_matrix.DeepCopy(np.asarray(matrix, dtype=float).ravel().tolist())

    @staticmethod
    def get_matrix(vtk_matrix) -> np.ndarray:
        return np.array([[vtk_matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


@pytest.fixture
def slicer_files() -> SlicerFiles:
    return SlicerFiles(pytest.importorskip("slicer"), pytest.importorskip("vtk"))


@pytest.fixture(scope="session")
def oblique() -> np.ndarray:
    """A left-handed, anisotropic ijk_to_ras, tilted about two axes."""
    axes = np.array([[0.8, -0.36, -0.48], [0.0, 0.8, -0.6], [-0.6, -0.48, -0.64]])
    axes[:, 0] *= 1 if np.linalg.det(axes) < 0 else -1
    matrix = np.eye(4)
    matrix[:3, :3] = axes * (0.7, 1.5, 4.0)
    matrix[:3, 3] = (12.0, -34.0, 56.0)
    return matrix
