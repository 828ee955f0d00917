"""A strip of small bars, one for each slice: colour is the confidence, hatching what is out of date."""

import qt
from slicer.i18n import tr as _

from EfficientMedSAM2Lib.mrml.effect.slice_scores import SliceScores
from SegmentEditorEfficientMedSAM2Lib.panel_style import isDark

HEIGHT = 26
SURE, UNSURE = (96, 170, 90), (214, 86, 60)
#: Grey levels in light and in dark windows, as in Slicer's dark style: ground, frame, empty slices, marks and hatching.
LIGHT, DARK = (238, 150, 206, 0, 60), (38, 110, 84, 255, 205)
NARROWEST_BAR = 3
#: Slices shown on each side of those that have a score.
MARGIN = 3
#: A mouse that moves less, in pixels, while its button is down means a click.
SHORTEST_DRAG = 3


class _Mouse(qt.QObject):
    """Passes the strip clicks, movements and changes of its size and style."""

    def __init__(self, strip):
        qt.QObject.__init__(self)
        self.strip = strip

    def eventFilter(self, watched, event):
        """Nothing is held back from the label."""
        kind = event.type()
        if kind == qt.QEvent.MouseButtonPress:
            self.strip.onPress(event.pos().x())
        elif kind == qt.QEvent.MouseMove:
            self.strip.onMove(event.pos().x())
        elif kind == qt.QEvent.MouseButtonRelease:
            self.strip.onRelease()
        elif kind in (qt.QEvent.Resize, qt.QEvent.PaletteChange):
            self.strip.paint()
        return False


class ConfidenceStrip:
    """The widget is ``label``. A click goes to the slice of the bar under it, a drag through the slices.

    Args:
        jump: Called with the number of the slice to show.
    """

    def __init__(self, jump):
        self.jump = jump
        self.scores = SliceScores()
        self.current = None
        self._looked_at = []
        self._pressed = None
        self._dragging = False
        self.label = qt.QLabel()
        self.label.objectName = "EfficientMedSAM2ConfidenceStrip"
        self.label.minimumWidth = 60
        self.label.setFixedHeight(HEIGHT)
        self.label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Fixed)
        self.label.mouseTracking = True
        self.label.toolTip = self.helpText()
        self._mouse = _Mouse(self)
        self.label.installEventFilter(self._mouse)

    def cleanup(self):
        """Let go of the label."""
        self.label.removeEventFilter(self._mouse)

    def helpText(self):
        """What the strip shows."""
        return _(
            "Confidence of each slice: green is sure, red is unsure. Hatched slices are out of date: press Propagate. "
            "Slices with a mark on top have prompts. Click or drag to go to a slice."
        )

    def show(self, scores, current=None):
        """Show scores by slice; ``current`` is the slice on view."""
        if scores is not self.scores or current != self.current:
            self.scores, self.current = scores, current
            self.paint()

    def sliceAt(self, x):
        """Number of the slice under a pixel column, None where there is none."""
        if not self.scores.count:
            return None
        first, last = self.scores.shown_range(MARGIN)
        width = max(self.label.width, 1)
        return min(max(first + int(x * (last - first + 1) / width), first), last)

    def xOf(self, index):
        """Left pixel column of a slice's bar."""
        first, last = self.scores.shown_range(MARGIN)
        return round((index - first) * max(self.label.width, 1) / (last - first + 1))

    def goToWeakest(self):
        """Show the slice of the lowest confidence, or the next one while that is on view; False when there is none."""
        order = self.scores.by_uncertainty
        if not self._looked_at or self.current != self._looked_at[-1] or set(order) <= set(self._looked_at):
            self._looked_at = []
        index = next((n for n in order if n not in self._looked_at), None)
        if index is None:
            return False
        self._looked_at.append(index)
        self.jump(index)
        self.show(self.scores, index)  # also when the view was there already, and did not report a movement
        return True

    def onPress(self, x):
        """A click or a drag begins."""
        self._pressed, self._dragging = x, False

    def onRelease(self):
        """It was a click unless the mouse was moved."""
        clicked = self._pressed is not None and not self._dragging
        index = self.sliceAt(self._pressed) if clicked else None
        self._pressed, self._dragging = None, False
        if clicked and index is not None:
            self.jump(index)
            self.show(self.scores, index)

    def onMove(self, x):
        """Say what is known of the slice under the mouse; go there while a button is down."""
        index = self.sliceAt(x)
        if self._pressed is not None and abs(x - self._pressed) >= SHORTEST_DRAG:
            self._dragging = True
        if self._dragging and index is not None and index != self.current:
            self.jump(index)
        self.label.toolTip = self.helpText() if index is None else self.scores.describe(index)

    def paint(self):
        """Draw the strip into the label's pixmap."""
        width = max(self.label.width, 1)
        pixmap = qt.QPixmap(width, HEIGHT)
        ground, frame, empty, mark, hatch = (
            qt.QColor(grey, grey, grey) for grey in (DARK if isDark(self.label) else LIGHT)
        )
        pixmap.fill(ground)
        canvas = qt.QPainter()
        canvas.begin(pixmap)
        try:
            if self.scores.count:
                self._paintSlices(canvas, empty, mark, hatch)
            canvas.setPen(frame)
            canvas.drawRect(0, 0, width - 1, HEIGHT - 1)
        finally:
            canvas.end()
        self.label.setPixmap(pixmap)

    def _paintSlices(self, canvas, empty, mark, hatch):
        first, last = self.scores.shown_range(MARGIN)
        for index in range(first, last + 1):
            left, right = self.xOf(index), self.xOf(index + 1)
            width = max(right - left - (1 if right - left > NARROWEST_BAR else 0), 1)
            if index in self.scores.scores:
                score = min(max(self.scores.scores[index], 0.0), 1.0)
                color = qt.QColor(*_mix(score)) if index in self.scores.filled else empty
                height = max(round(score * (HEIGHT - 8)), 3)
                canvas.fillRect(left, HEIGHT - 1 - height, width, height, color)
            elif index in self.scores.filled:  # nobody has judged it
                canvas.fillRect(left, 8, width, HEIGHT - 9, empty)
            if index in self.scores.stale:
                canvas.fillRect(left, 6, width, HEIGHT - 7, qt.QBrush(hatch, qt.Qt.BDiagPattern))
            if index in self.scores.prompted:
                canvas.fillRect(left, 1, width, 4, mark)
            if index == self.current:
                canvas.setPen(qt.QColor(40, 120, 235))
                canvas.drawRect(left, 0, max(width, 2), HEIGHT - 1)


def _mix(score):
    return tuple(round(low + (high - low) * score) for low, high in zip(UNSURE, SURE))
