"""A cohort that is to be reviewed, and a scene of the user's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def scene():
    """A scene of the user's own, with something in it."""
    slicer = pytest.importorskip("slicer", reason="needs PyPI's slicer-core")
    scene = slicer.vtkMRMLScene()
    logics = [slicer.vtkSlicerSegmentationsModuleLogic(), slicer.vtkSlicerMarkupsLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
    scene.SetURL("/home/me/mine.mrml")
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "mine")
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine, too")
    yield scene
    scene.Clear(1)


@pytest.fixture
def done(cohort, write_points):
    """A cohort of three cases; by the scores that the ledger is given c is least certain, then a, then b."""
    from EfficientMedSAM2Lib.cohort.records.ledger import Ledger

    for name in "abc":
        cohort.add(name)
    cohort.run()
    with Ledger(cohort.output) as ledger:
        for name, score in (("a", 0.5), ("b", 0.8), ("c", 0.2)):
            outcome = ledger.outcome(name)
            outcome.record["segments"][0].update(score_volume=score, score_lowest=score, slice_lowest=3)
            ledger.record(outcome)
    return cohort
