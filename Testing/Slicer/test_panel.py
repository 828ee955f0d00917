"""The panel: what is needed fits a small screen, prompts are things, and what is shown belongs to the segment."""

from __future__ import annotations

import qt
import slicer
from slicer_case import BALLS, Editor, check, clicked, let_work, make_volume, run, wait_until

from EfficientMedSAM2Lib.mrml.effect.progress import PropagationProgress

A, B = BALLS["A"][0], BALLS["B"][0]
SMALL_SCREEN = (1366, 768)


def needed(panel):
    """What a reader uses for each structure, from the top."""
    return (
        *panel.toolButtons.values(),
        panel.roiButton,
        panel.includeButton,
        panel.excludeButton,
        panel.lockButton,
        panel.nextButton,
        panel.messageArea,
        panel.propagateButton,
        panel.strip.label,
        panel.weakestButton,
    )


def what_is_needed_fits_a_small_screen():
    """All of it is seen at once in a window of 1366 x 768 pixels, also with Data Probe open."""
    window = slicer.util.mainWindow()
    if window is not None:
        before = window.size
        window.resize(*SMALL_SCREEN)
    editor = Editor(make_volume())
    let_work(1.0)
    hidden = [part for part in needed(editor.effect.self().panel) if not seen_whole(part)]
    texts = [getattr(part, "text", part.objectName) for part in hidden]
    if window is not None:
        window.resize(before)
    check(not hidden, f"all is seen; not seen: {texts}")


def seen_whole(widget):
    """Whether no part of a widget is cut off by what it scrolls in."""
    seen = widget.visibleRegion().boundingRect()
    return (seen.width(), seen.height()) == (widget.width, widget.height)


def a_bar_of_the_strip_leads_to_its_slice():
    """Press and release the mouse on bars of the strip, and look at the red view."""
    editor = clicked()
    editor.press("Propagate")
    editor.finish()
    strip = editor.effect.self().panel.strip
    low, high = min(strip.scores.filled), max(strip.scores.filled)
    for index in (low, high, (low + high) // 2):
        press_at(strip.label, strip.xOf(index) + 2)
        let_work(0.3)
        check(editor.shown_slice() == index == strip.current, f"slice {index} is shown")


def press_at(widget, x):
    """A click of the left button on a widget, as the window system reports it."""
    place = qt.QPointF(x, widget.height / 2)
    for kind, buttons in (
        (qt.QEvent.MouseButtonPress, qt.Qt.LeftButton),
        (qt.QEvent.MouseButtonRelease, qt.Qt.NoButton),
    ):
        event = qt.QMouseEvent(kind, place, qt.Qt.LeftButton, buttons, qt.Qt.NoModifier)
        qt.QApplication.sendEvent(widget, event)


def a_correction_is_counted_as_out_of_date():
    """In words beside Propagate; after another propagation, nothing is."""
    editor = clicked()
    editor.press("Propagate")
    editor.finish()
    label = editor.effect.self().panel.staleLabel
    check(label.text == "", "nothing is out of date")
    editor.click((14, 48, 40))
    editor.settle()
    check("out of date" in label.text, f"'{label.text}'")
    editor.press("Propagate")
    editor.finish()
    check(label.text == "", "nothing is out of date any more")


def a_slice_is_cleared_and_a_segment_begun_anew():
    """The buttons of the section More; one undo brings each back."""
    editor = clicked()
    first = int(editor.mask().sum())
    editor.click((14, 48, 36))
    both = editor.settle()
    check(both > first, "two slices have a mask")
    editor.press("Clear slice")
    check(editor.settle() == first, "the one on view is cleared")
    editor.press("Start over")
    check(editor.settle() == 0, "the segment is empty")
    panel = editor.effect.self().panel
    check(panel.promptList.count == 0, "and has no prompts")
    editor.widget.undo()
    check(editor.settle() == first, "undo brings it back")
    check(panel.promptList.count == 1, "with its prompt")


def prompts_and_messages_belong_to_their_segment():
    """Those of the selected segment are seen, while the effect is active; a new segment begins with Include."""
    editor = Editor(make_volume())
    panel = editor.effect.self().panel
    editor.click(A)
    editor.settle()
    check(len(markers()) == 1, "the marker is seen")
    panel.excludeButton.click()
    panel.startOverButton.click()
    editor.settle()
    said = panel.messageLabel.text
    editor.widget.undo()
    editor.settle()
    panel.nextButton.click()
    let_work(0.5)
    check(editor.widget.currentSegmentID() == "B", "Next goes to B")
    check(markers() == [], "A's marker is not seen")
    check(bool(said) and panel.messageLabel.text != said, "nor what was said of A")
    panel.nextButton.click()
    let_work(0.5)
    check(len(editor.segmentation.GetSegmentation().GetSegmentIDs()) == 3, "after the last one Next adds a segment")
    check(panel.includeButton.checked, "which begins with Include")
    editor.widget.setCurrentSegmentID("A")
    let_work(0.5)
    check(len(markers()) == 1, "A's marker is seen again")
    editor.widget.setActiveEffectByName("")
    let_work(0.5)
    check(markers() == [], "under no effect a marker is seen")


def markers():
    """Markups that are seen."""
    return [
        node.GetName()
        for node in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        if node.GetDisplayNode() is not None and node.GetDisplayNode().GetVisibility()
    ]


def nothing_moves_while_it_works():
    """Before, during and after a propagation, with a preview waiting and after it, all controls have one place."""
    editor = clicked()
    panel, controller = editor.effect.self().panel, editor.effect.self().controller
    places, seen = {"before": placed(panel)}, set()
    editor.press("Propagate")
    while controller.is_busy:
        if panel.progressBar.visible:
            seen.add(panel.progressBar.format if panel.progressBar.maximum else panel.busyLabel.text)
        places["propagating"] = placed(panel)
    editor.finish()
    check(
        "Preparing..." in seen and not any(text.startswith("0 of") for text in seen),
        f"it looks busy at once: {len(seen)}",
    )
    places["propagated"] = placed(panel)
    editor.effect.setParameter("AutoCommit", "0")
    editor.click((14, 48, 40))
    wait_until(lambda: panel.previewFrame.visible, "a preview waits")
    places["preview"] = placed(panel)
    panel.rejectButton.click()
    wait_until(lambda: not panel.previewFrame.visible, "it is dropped")
    places["dropped"] = placed(panel)
    moved = {what: place for what, place in places.items() if place != places["before"]}
    check(not moved, f"nothing has moved in {len(places)} states{moved or ''}")
    panel.showProgress(PropagationProgress(1180, 2400, 100.0), False)
    text = panel.progressBar.format
    cut = panel.progressBar.fontMetrics().boundingRect(text).width() - panel.strip.label.width
    check(cut <= 0 or slicer.util.mainWindow() is None, f"'{text}' is not cut off")


def placed(panel):
    """Left, top, width and height of what is needed, and where the section More begins."""
    slicer.app.processEvents()
    return [(part.x, part.y, part.width, part.height) for part in needed(panel)] + [panel.moreSection.y]


def the_tool_and_what_it_does_are_seen():
    """The button that is down has a colour of its own; keys stand on the buttons."""
    editor = Editor(make_volume())
    panel = editor.effect.self().panel
    for button in (panel.toolButtons["box"], panel.excludeButton, panel.toolButtons["point"], panel.includeButton):
        button.click()
        let_work(0.2)
        check(button.checked and bool(button.styleSheet), f"'{button.text}' is down, and coloured")
    texts = [button.text for button in panel.toolButtons.values()]
    check(all(text.endswith(")") for text in texts), f"{texts}")


run(
    what_is_needed_fits_a_small_screen,
    a_bar_of_the_strip_leads_to_its_slice,
    a_correction_is_counted_as_out_of_date,
    a_slice_is_cleared_and_a_segment_begun_anew,
    prompts_and_messages_belong_to_their_segment,
    nothing_moves_while_it_works,
    the_tool_and_what_it_does_are_seen,
)
