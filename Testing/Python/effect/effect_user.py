"""A user in front of the real effect: volume with two tubes, oracle in place of the network, editor, mouse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SHAPE = (24, 20, 22)
#: A voxel (k, j, i) in each of the two tubes.
INSIDE, BESIDE = (4, 8, 6), (4, 15, 15)
IJK_TO_RAS = np.diag([-0.7, -0.8, 2.5, 1.0])
IJK_TO_RAS[:3, 3] = (10.0, -20.0, 30.0)
#: What takes longer will never come, on a machine that is busy with other things, too.
PATIENCE_MS = 60_000


def tube() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:18, 5:11, 4:10] = True
    return mask


def truth() -> np.ndarray:
    both = tube()
    both[:, 14:17, 13:18] = True
    return both


@dataclass
class EffectUser:
    """What a test holds in its hands."""

    host: Any
    editor: Any
    predictor: Any
    volume: Any

    @property
    def effect(self) -> Any:
        return self.editor.effect

    @property
    def controller(self) -> Any:
        return self.editor.effect.controller

    @property
    def panel(self) -> Any:
        return self.editor.effect.panel

    @property
    def session(self) -> Any:
        return self.controller.session

    @property
    def mouse(self) -> Any:
        return self.editor.mouse

    def world(self, index_kji: Any) -> list[float]:
        from EfficientMedSAM2Lib.mrml.volume_reader import local_to_world, volume_matrix

        k, j, i = index_kji
        local = volume_matrix(self.volume) @ (i, j, k, 1.0)
        return local_to_world(local[:3], self.volume)[0].tolist()

    def orient_views(self) -> None:
        """Axial, coronal and sagittal."""
        for view, normal, transverse in (
            ("Red", (0, 0, 1), (-1, 0, 0)),
            ("Green", (0, 1, 0), (-1, 0, 0)),
            ("Yellow", (1, 0, 0), (0, -1, 0)),
        ):
            self.host.mouse(view).look_along(normal, transverse, (0.0, 0.0, 0.0))

    def wait(self, milliseconds: int = PATIENCE_MS) -> None:
        assert self.host.process_events(milliseconds, until=lambda: not self.controller.is_busy), (
            f"still {self.controller.activity}"
        )
        self.host.process_events(0)

    def propagated(self, slices: int) -> bool:
        """Wait until more than so many slices are propagated."""

        def reached() -> bool:
            progress = self.controller.progress
            return progress is not None and progress.done > slices

        return self.host.process_events(PATIENCE_MS, until=reached)

    def jump_to(self, index_kji: Any, view: str = "Red") -> Any:
        mouse = self.host.mouse(view)
        mouse.jump_to(self.world(index_kji))
        return mouse

    def click(self, index_kji: Any, view: str = "Red", wait: bool = True) -> None:
        self.jump_to(index_kji, view).click(self.world(index_kji))
        if wait:
            self.wait()

    def press(self, button: Any, wait: bool = True) -> None:
        assert button.enabled
        button.click()
        if wait:
            self.wait()

    def parameter(self, name: str, value: str) -> None:
        self.editor.scripted_effect.setParameter(name, value)
        self.host.process_events(0)

    def select(self, segment_id: str) -> None:
        self.editor.widget.setCurrentSegmentID(segment_id)
        self.host.process_events(0)
        self.wait()

    def undo(self) -> None:
        self.editor.widget.undo()
        self.wait()

    def redo(self) -> None:
        self.editor.widget.redo()
        self.wait()

    def count(self, segment_id: str | None = None) -> int:
        return int(self.editor.mask(segment_id).sum())

    def prompt_count(self, segment_id: str = "A") -> int:
        return len(self.session.prompts(segment_id))

    def band(self, mouse: Any) -> Any:
        return self._pipeline(mouse).band

    def outline(self, view: str) -> Any:
        return self._pipeline(self.host.mouse(view)).outline

    def _pipeline(self, mouse: Any) -> Any:
        from host.pythonqt import wrap

        return self.effect.pipelines.pipeline(wrap(mouse.widget))

    def press_at(self, widget: Any, x: int) -> None:
        """Click on a pixel column of a widget."""
        from host.pythonqt import unwrap
        from PySide6 import QtCore, QtTest

        native = unwrap(widget)
        QtTest.QTest.mouseClick(native, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, QtCore.QPoint(x, 10))
        self.wait()

    def paint(self, segment_id: str, mask: np.ndarray) -> None:
        """What Slicer's own Paint effect does."""
        self._modify(segment_id, mask, self.editor.logic.ModificationModeAdd)

    def erase(self, segment_id: str, mask: np.ndarray) -> None:
        """What Slicer's own Erase effect does."""
        self._modify(segment_id, mask, self.editor.logic.ModificationModeRemove)

    def _modify(self, segment_id: str, mask: np.ndarray, mode: int) -> None:
        from EfficientMedSAM2Lib.mrml.labelmaps import oriented_image
        from EfficientMedSAM2Lib.mrml.volume_reader import volume_matrix

        logic, nodes = self.editor.logic, (self.editor.segmentation, segment_id)
        image = oriented_image(mask, (0, 0, 0), volume_matrix(self.volume))
        logic.SaveStateForUndo()
        logic.ModifySegmentByLabelmap(*nodes, image, mode, list(image.GetExtent()), True, False)
        self.wait()

    def voxels(self) -> bytes:
        from EfficientMedSAM2Lib.mrml.labelmaps import array_view

        return array_view(self.volume.GetImageData()).tobytes()


def start_user(
    host: Any,
    segment_editor: Any,
    predictor: Any,
    array: Any,
    ijk_to_ras: Any = IJK_TO_RAS,
    segments: Any = ("A", "B", "C"),
    name: str = "V",
    wait: bool = True,
) -> EffectUser:
    volume = host.volume(array, ijk_to_ras, name)
    user = EffectUser(host, segment_editor(host, volume, segments), predictor, volume)
    user.orient_views()
    if wait:
        user.wait()
    return user


def tube_slice(k: int) -> np.ndarray:
    """One slice of the first tube."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[k] = tube()[k]
    return mask
