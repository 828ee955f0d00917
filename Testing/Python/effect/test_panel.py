"""The panel: everything needed is at the top in fixed places, in colours that are seen in light and in dark windows."""

from __future__ import annotations

import pytest
from effect_user import INSIDE

#: Pixels that Slicer's own widgets leave to the effect's options on a screen of 1366 x 768 (take_pictures.py measures).
ROOM = 200


def rows(user):
    """The panel's parts, from the top, that a reader uses for each structure."""
    panel = user.panel
    return (
        (*panel.toolButtons.values(), panel.roiButton),
        (panel.includeButton, panel.excludeButton, panel.lockButton, panel.nextButton),
        (panel.messageArea,),
        (beside_propagate(panel), panel.propagateButton),
        (panel.strip.label, panel.weakestButton),
        (panel.moreSection,),
    )


def beside_propagate(panel):
    """What is shown there: one of three."""
    (shown,) = [part for part in (panel.staleLabel, panel.progressBar, panel.previewFrame) if not part.isHidden()]
    return shown


def places(user):
    """(left, top, right, bottom) of each of them in the options frame."""
    from host.pythonqt import unwrap
    from PySide6 import QtCore

    user.host.process_events(0)
    frame = unwrap(user.editor.scripted_effect.optionsFrame())
    found = []
    for row in rows(user):
        for widget in row:
            native = unwrap(widget)
            corner = native.mapTo(frame, QtCore.QPoint(0, 0))
            found.append((corner.x(), corner.y(), corner.x() + native.width(), corner.y() + native.height()))
    return found


@pytest.fixture
def shown(user):
    user.editor.widget.resize(400, 700)
    user.editor.widget.show()
    user.host.process_events(0)
    return user


def test_what_is_needed_is_at_the_top_and_fits_a_small_screen(shown):
    found = places(shown)
    number = 0
    bottom = -1
    for row in rows(shown):
        tops = [found[number + n][1] for n in range(len(row))]
        assert min(tops) >= bottom - 2, row
        bottom = max(found[number + n][3] for n in range(len(row)))
        number += len(row)
    *_needed, more = found
    assert more[1] - found[0][1] <= ROOM
    assert max(right for _left, _top, right, _bottom in found) <= 400
    assert shown.panel.moreSection.collapsed


def test_it_scrolls_into_view_when_the_effect_is_chosen(user):
    """On a small screen with Slicer's Data Probe open, half of it would lie below the fold."""
    from host.pythonqt import unwrap
    from PySide6 import QtCore, QtWidgets

    area = QtWidgets.QScrollArea()
    inside = QtWidgets.QWidget()
    column = QtWidgets.QVBoxLayout(inside)
    above = QtWidgets.QWidget()
    above.setFixedHeight(300)
    column.addWidget(above)
    frame = unwrap(user.editor.scripted_effect.optionsFrame())
    home = frame.parentWidget()
    column.addWidget(frame)
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.resize(400, 400)
    area.show()
    user.host.process_events(0)
    bottom = unwrap(user.panel.strip.label)

    def is_seen():
        return bottom.visibleRegion().boundingRect().size() == bottom.size()

    assert not is_seen()
    user.editor.widget.setActiveEffectByName("")
    user.editor.widget.setActiveEffectByName("EfficientMedSAM2")
    user.wait()
    user.host.process_events(20)
    frame.show()
    place = bottom.mapTo(area.viewport(), QtCore.QPoint(0, bottom.height()))
    assert area.verticalScrollBar().value() > 0
    assert place.y() <= area.viewport().height()
    frame.setParent(home)  # it does not end with the area


@pytest.mark.slow
def test_nothing_moves_whatever_happens(shown):
    import time

    before = places(shown)
    shown.controller._say("A message that is much too long for the two lines that it has. " * 4)
    shown.effect._onChanged()
    assert places(shown) == before
    shown.click(INSIDE)
    shown.predictor._maybe_fail = lambda _frame: time.sleep(0.03)
    shown.press(shown.panel.propagateButton, wait=False)
    assert shown.propagated(1)
    assert places(shown) == before
    assert not shown.panel.progressBar.isHidden()
    shown.wait()
    shown.click((8, 8, 6))
    assert "out of date" in shown.panel.staleLabel.text
    assert places(shown) == before
    shown.press(shown.panel.autoCommitCheck)
    shown.click((9, 8, 6))
    assert shown.controller.has_preview
    assert beside_propagate(shown.panel) is shown.panel.previewFrame
    assert places(shown) == before
    shown.press(shown.panel.rejectButton)
    assert beside_propagate(shown.panel) is shown.panel.staleLabel
    assert places(shown) == before
    shown.mouse.look_along((0.0, 0.4, 0.9), (-1.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    shown.host.process_events(0)
    assert not shown.panel.rotateButton.isHidden()
    at = places(shown)
    message = next(n for n, part in enumerate(sum(rows(shown), ())) if part is shown.panel.messageArea)
    assert at[message][:2] == before[message][:2]  # it makes room for the button at its right
    assert at[:message] + at[message + 1 :] == before[:message] + before[message + 1 :]


def test_a_propagation_that_begins_looks_busy(shown):
    """Until its first slice is done, nobody knows how long it takes, and there is no "0 of 0" to be read."""
    from host.pythonqt import unwrap

    from EfficientMedSAM2Lib.mrml.effect.progress import PropagationProgress

    seen = []
    show_progress = shown.panel.showProgress

    def showProgress(progress, cancelling):
        show_progress(progress, cancelling)
        if progress is not None:
            text = shown.panel.busyLabel.text or shown.panel.progressBar.format
            seen.append((progress, shown.panel.progressBar.maximum, text))

    shown.panel.showProgress = showProgress
    shown.click(INSIDE)
    shown.press(shown.panel.propagateButton)
    begun = [(maximum, text) for progress, maximum, text in seen if progress.done == 0]
    assert begun
    assert set(begun) == {(0, "Preparing...")}
    assert all(maximum == progress.total > 0 for progress, maximum, _text in seen if progress.done)
    show_progress(PropagationProgress(3, 20, 1.0), False)
    assert (shown.panel.busyLabel.text, shown.panel.progressBar.format) == ("", "3 of 20 slices, 3.0/s, 6 s left")
    shown.panel._showPlace(shown.panel.progressBar)
    shown.host.process_events(0)
    bar = unwrap(shown.panel.progressBar)
    assert bar.fontMetrics().horizontalAdvance(bar.format()) <= bar.width()


def test_keys_stand_on_the_buttons(user):
    panel = user.panel
    texts = [button.text for button in (*panel.toolButtons.values(), panel.propagateButton, panel.weakestButton)]
    assert texts[:5] == ["Point (P)", "Box (X)", "Line (L)", "Scribble (D)", "Lasso (E)"]
    assert texts[5:] == ["Propagate (M)", "Weakest (U)"]
    assert (panel.commitButton.text, panel.rejectButton.text) == ("Apply (Enter)", "Discard (Esc)")
    assert (panel.includeButton.text, panel.excludeButton.text) == ("+ Include", "\N{MINUS SIGN} Exclude (N)")
    user.press(panel.excludeButton)
    assert (panel.includeButton.text, panel.excludeButton.text) == ("+ Include (N)", "\N{MINUS SIGN} Exclude")


def luminance(color):
    """Of a colour, as WCAG defines it."""
    parts = [value / 255 for value in (color.red(), color.green(), color.blue())]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ground(widget):
    """The commonest colour of a button as it is drawn, and its luminance."""
    from collections import Counter

    from host.pythonqt import unwrap
    from PySide6 import QtGui

    image = unwrap(widget).grab().toImage()
    pixels = Counter(image.pixel(x, y) for x in range(4, image.width() - 4) for y in range(4, image.height() - 4))
    color = QtGui.QColor(pixels.most_common(1)[0][0])
    return color, luminance(color)


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_active_tool_is_plainly_seen_in_both_styles(shown, is_dark):
    from host.pythonqt import unwrap
    from PySide6 import QtGui

    palette = QtGui.QPalette(QtGui.QColor(50, 50, 50) if is_dark else QtGui.QColor(239, 239, 239))
    shown.editor.widget.setPalette(palette)
    shown.host.process_events(0)
    panel = shown.panel
    for on, off in (
        (panel.toolButtons["point"], panel.toolButtons["box"]),
        (panel.includeButton, panel.excludeButton),
    ):
        (color, light), (plain, plain_light) = ground(on), ground(off)
        assert color.saturation() > 90
        assert plain.saturation() < 30
        assert 1.05 / (light + 0.05) >= 4.5  # its text is white
        assert max(light, plain_light) + 0.05 >= 1.3 * (min(light, plain_light) + 0.05)
    assert ground(panel.includeButton)[0].green() > ground(panel.includeButton)[0].red()
    shown.press(panel.excludeButton)
    assert ground(panel.excludeButton)[0].red() > ground(panel.excludeButton)[0].green()
    assert unwrap(panel.excludeButton).isChecked()
