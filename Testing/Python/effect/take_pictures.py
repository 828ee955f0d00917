"""Pictures for the tutorial and the catalogue: `python Testing/Python/effect/take_pictures.py`.

The effect's own files and the shipped weights, on the small chest CT of PyPI's slicerio, in the stand-in host.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(REPOSITORY / "Testing" / "Python"), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import slicerio  # noqa: E402
from desk import Desk, open_desk  # noqa: E402
from host.running_editor import start_editor  # noqa: E402
from host.slicer_host import SlicerHost  # noqa: E402
from PySide6 import QtCore, QtGui  # noqa: E402
from scipy import ndimage  # noqa: E402
from view_picture import view_picture  # noqa: E402

from EfficientMedSAM2Lib.imaging.volumes import read_volume  # noqa: E402
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice  # noqa: E402

FOLDER = REPOSITORY / "Screenshots"
PANEL_WIDTH, PATIENCE_MS = 400, 300_000
VIEW = (400, 506)  # pixels, and mm, of a view
WINDOW = (-1250.0, 350.0)  # lung, with enough of the soft tissue
RIGHT_LUNG = (17, 62, 92)  # voxel k, j, i


def main() -> None:
    """Render the steps of the tutorial."""
    scan = read_volume(Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd")
    with SlicerHost() as host:
        desk = open_desk(
            host, start_editor, None, scan.array, ijk_to_ras=scan.ijk_to_ras, segments=("Right lung",), name="CTChest",
            wait=False,
        )  # fmt: skip
        desk.wait(PATIENCE_MS)
        desk.editor.segmentation.GetSegmentation().GetSegment("Right lung").SetColor(0.0, 0.62, 0.88)
        for view, orientation in (("Red", "Axial"), ("Green", "Coronal")):
            node = host.mouse(view).node
            node.SetOrientation(orientation)
            node.SetDimensions(*VIEW, 1)
            node.SetFieldOfView(*VIEW, 1.0)
        click(desk, RIGHT_LUNG)
        take(desk, "tutorial-1-click", RIGHT_LUNG)
        desk.press(desk.panel.propagateButton, wait=False)
        host.process_events(PATIENCE_MS, until=lambda: (p := desk.controller.progress) is not None and p.done >= 8)
        take(desk, "tutorial-2-propagate", RIGHT_LUNG)
        desk.wait(PATIENCE_MS)
        desk.panel.strip.goToWeakest()
        take(desk, "tutorial-3-weakest")
        desk.press(desk.panel.excludeButton, wait=False)
        k, clicks = desk.panel.strip.current, 0
        while desk.editor.mask()[k].any() and clicks < 6:
            click(desk, deepest(desk, k))
            clicks += 1
        print(f"slice {k} is empty after {clicks} clicks")
        take(desk, "tutorial-4-correct")
        host.grab(desk.editor.widget, FOLDER / "effect-panel.png", PANEL_WIDTH)
        desk.press(desk.panel.propagateButton, wait=False)
        desk.wait(PATIENCE_MS)
        take(desk, "tutorial-5-result", RIGHT_LUNG)
        print("scores", {k: round(v, 2) for k, v in desk.controller.scores.scores.items()})


def click(desk: Desk, index_kji: Any) -> None:
    """Click on a voxel in the axial view."""
    look(desk, index_kji)
    desk.host.mouse("Red").click(desk.world(index_kji))
    desk.wait(PATIENCE_MS)


def deepest(desk: Desk, k: int) -> tuple[int, ...]:
    """The voxel of a slice that is deepest inside the segment."""
    depth = ndimage.distance_transform_edt(desk.editor.mask()[k])
    return (k, *(int(v) for v in np.unravel_index(depth.argmax(), depth.shape)))


def look(desk: Desk, index_kji: Any) -> None:
    """Both views through a voxel; the axial one stays in the middle of the patient."""
    middle = [size // 2 for size in desk.volume.GetImageData().GetDimensions()[::-1]]
    desk.host.mouse("Red").jump_to(desk.world((index_kji[0], *middle[1:])))
    desk.host.mouse("Green").jump_to(desk.world((middle[0], index_kji[1], middle[2])))


def take(desk: Desk, name: str, index_kji: Any = None) -> None:
    """Picture of the panel, the axial and the coronal view side by side."""
    if index_kji is not None:
        look(desk, index_kji)
    axis, index = view_slice(desk.mouse.node, desk.volume)
    desk.panel.strip.show(desk.controller.scores, index if axis == desk.controller.scores.axis else None)
    file = desk.host.grab(desk.editor.widget, FOLDER / f"{name}.png", PANEL_WIDTH)
    panel = QtGui.QImage(str(file))
    views = [view_picture(desk, view, WINDOW) for view in ("Red", "Green")]
    height = max(panel.height(), views[0].height())
    whole = QtGui.QImage(PANEL_WIDTH + sum(v.width() for v in views), height, QtGui.QImage.Format_RGB888)
    whole.fill(QtGui.QColor(0, 0, 0))
    painter = QtGui.QPainter(whole)
    painter.fillRect(0, 0, PANEL_WIDTH, height, panel.pixelColor(2, panel.height() - 2))
    x = PANEL_WIDTH
    painter.drawImage(QtCore.QPoint(0, 0), panel)
    for view in views:
        painter.drawImage(QtCore.QPoint(x, 0), view)
        x += view.width()
    painter.end()
    whole.save(str(file))
    print(f"{file.relative_to(REPOSITORY)}: {desk.controller.message or 'no message'}, {desk.count()} voxels")


if __name__ == "__main__":
    main()
