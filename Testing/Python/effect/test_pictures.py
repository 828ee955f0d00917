"""The options panel can be shown as a picture. Testing/Slicer/take_pictures.py takes those for the documents."""

from __future__ import annotations

import pytest
from effect_user import INSIDE


@pytest.mark.slow
def test_panel_is_rendered(user, tmp_path):
    from PySide6 import QtGui

    user.click(INSIDE)
    user.predictor.low_scores = {11, 12, 13}
    user.parameter("StopWhenLost", "0")
    user.press(user.panel.propagateButton)
    user.parameter("StopWhenLost", "1")
    user.press(user.panel.excludeButton)
    user.click((15, 7, 6))
    user.host.grab(user.editor.widget, tmp_path / "effect-panel.png", 460)
    user.host.process_events(50)
    user.effect.panel.strip.paint()
    picture = user.host.grab(user.editor.widget, tmp_path / "effect-panel.png", 460)
    image = QtGui.QImage(str(picture))
    assert image.width() == 460
    assert image.height() > 300
    colours = {image.pixel(x, y) for x in range(0, image.width(), 2) for y in range(0, image.height(), 2)}
    assert len(colours) > 50
