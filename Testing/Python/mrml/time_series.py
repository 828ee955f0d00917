"""A sequence with its browser, as Slicer makes them of a 4D scan."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from EfficientMedSAM2Lib.mrml.labelmaps import array_view, to_vtk_matrix
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix


def play(scene: Any, volume: Any, arrays: list[np.ndarray]) -> Any:
    """Make a volume the proxy of a sequence of images, half a second apart; returns the browser, at the first one.

    A vtkSlicerSequencesLogic must watch the scene.
    """
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "CT")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    for n, array in enumerate(arrays):
        image = vtk.vtkImageData()
        image.SetDimensions(*array.shape[::-1])
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        array_view(image)[...] = array
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(to_vtk_matrix(volume_matrix(volume)))
        sequence.SetDataNodeAtValue(node, str(0.5 * n))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "CT browser")
    browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
    browser.AddProxyNode(volume, sequence, False)
    browser.SetSelectedItemNumber(1)
    browser.SetSelectedItemNumber(0)
    return browser
