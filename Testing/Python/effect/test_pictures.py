"""The options panel can be shown as a picture. Testing/Slicer/take_pictures.py takes those for the documents."""

from __future__ import annotations

from desk import INSIDE


def test_panel_is_rendered(desk, tmp_path):
    from PySide6 import QtGui

    desk.click(INSIDE)
    desk.predictor.low_scores = {11, 12, 13}
    desk.parameter("StopWhenLost", "0")
    desk.press(desk.panel.propagateButton)
    desk.parameter("StopWhenLost", "1")
    desk.press(desk.panel.excludeButton)
    desk.click((15, 7, 6))
    desk.host.grab(desk.editor.widget, tmp_path / "effect-panel.png", 460)
    desk.host.process_events(50)
    desk.effect.panel.strip.paint()
    picture = desk.host.grab(desk.editor.widget, tmp_path / "effect-panel.png", 460)
    image = QtGui.QImage(str(picture))
    assert image.width() == 460
    assert image.height() > 300
    colours = {image.pixel(x, y) for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}
    assert len(colours) > 50
