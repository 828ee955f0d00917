"""What a slice view of Slicer would show: scan, segments, prompts, the effect's outlines; through the real geometry."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from PySide6 import QtCore, QtGui

from EfficientMedSAM2Lib.mrml.effect.outline import outline_polydata
from EfficientMedSAM2Lib.mrml.labelmaps import array_view, oriented_image
from EfficientMedSAM2Lib.mrml.scene.prompt_store import prompt_nodes
from EfficientMedSAM2Lib.mrml.segment_voxels import read_segment
from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix

INCLUDE, EXCLUDE = QtGui.QColor(90, 230, 120), QtGui.QColor(255, 90, 80)
FILL_OPACITY = 0.35
#: Slicer shows a view's colour in its bar.
BARS = {"Red": QtGui.QColor(243, 74, 51), "Yellow": QtGui.QColor(237, 213, 76), "Green": QtGui.QColor(110, 176, 75)}
BAR = 14


def view_picture(desk: Any, view: str, window: tuple[float, float]) -> QtGui.QImage:
    """Picture of a view.

    Args:
        desk: With volume and segmentation.
        view: Red, Yellow or Green.
        window: Lower and upper intensity.
    """
    node = desk.host.mouse(view).node
    width, height = node.GetDimensions()[:2]
    grey = np.clip((_resliced(desk.volume, node) - window[0]) / (window[1] - window[0]), 0, 1) * 255
    pixels = np.ascontiguousarray(np.repeat(grey[::-1, :, None], 3, axis=2).astype(np.uint8))  # views count from below
    picture = QtGui.QImage(pixels, width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()
    painter = QtGui.QPainter(picture)
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    segmentation = desk.editor.segmentation.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        mask = read_segment(desk.editor.segmentation, segment_id, desk.volume)
        color = QtGui.QColor.fromRgbF(*segmentation.GetSegment(segment_id).GetColor())
        _draw_outline(painter, _outline(mask, desk.volume, node), color, height, fill=True)
    pending = desk.controller.preview_image()
    if pending is not None:
        _draw_outline(painter, outline_polydata(pending, desk.volume, node), QtGui.QColor(255, 217, 25), height)
    _draw_prompts(painter, desk, node, height)
    painter.fillRect(0, 0, width, BAR, BARS[view])
    painter.end()
    return picture


def _resliced(volume: Any, node: Any) -> np.ndarray:
    """Voxels under the pixels of a view, float (rows, columns), the lowest row first."""
    inverse = np.linalg.inv(volume_matrix(volume))
    to_ijk = vtk.vtkTransform()
    to_ijk.SetMatrix(inverse.ravel().tolist())
    to_ijk.Concatenate(node.GetXYToRAS())
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(volume.GetImageData())
    reslice.SetResliceTransform(to_ijk)
    reslice.SetInterpolationModeToLinear()
    reslice.SetBackgroundLevel(-1000)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    width, height = node.GetDimensions()[:2]
    reslice.SetOutputExtent(0, width - 1, 0, height - 1, 0, 0)
    reslice.Update()
    return array_view(reslice.GetOutput())[0].astype(np.float32)


def _outline(mask: np.ndarray, volume: Any, node: Any) -> Any:
    return outline_polydata(oriented_image(mask, (0, 0, 0), volume_matrix(volume)), volume, node)


def _draw_outline(painter: Any, lines: Any, color: QtGui.QColor, height: int, fill: bool = False) -> None:
    strips = vtk.vtkStripper()
    strips.SetInputData(lines)
    strips.JoinContiguousSegmentsOn()
    strips.SetMaximumLength(100000)
    strips.Update()
    found, path = strips.GetOutput(), QtGui.QPainterPath()
    for n in range(found.GetNumberOfCells()):
        points = found.GetCell(n).GetPoints()
        corners = [points.GetPoint(m)[:2] for m in range(points.GetNumberOfPoints())]
        path.addPolygon(QtGui.QPolygonF([QtCore.QPointF(x, height - 1 - y) for x, y in corners]))
    painter.setPen(QtGui.QPen(color, 2))
    tint = QtGui.QColor(color)
    tint.setAlphaF(FILL_OPACITY)
    painter.setBrush(tint if fill else QtCore.Qt.NoBrush)
    painter.drawPath(path)


def _draw_prompts(painter: Any, desk: Any, node: Any, height: int) -> None:
    """Points within half a slice of the viewed plane."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(node.GetXYToRAS(), inverse)
    for markups in prompt_nodes(desk.editor.segmentation):
        for n in range(markups.GetNumberOfControlPoints()):
            world = [0.0, 0.0, 0.0]
            markups.GetNthControlPointPositionWorld(n, world)
            x, y, depth, _w = inverse.MultiplyPoint((*world, 1.0))
            if abs(depth) > 1.0:
                continue
            color = EXCLUDE if markups.GetNthControlPointLabel(n).startswith("-") else INCLUDE
            painter.setPen(QtGui.QPen(QtGui.QColor(20, 20, 20), 1))
            painter.setBrush(color)
            painter.drawEllipse(QtCore.QPointF(x, height - 1 - y), 5, 5)
