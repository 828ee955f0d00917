"""Random interactions: locked segments and voxels that were edited by hand stay as they are, whatever is done.

`Slicer --python-script Testing/Slicer/test_random.py 2000 7`: so many interactions, beginning of the random numbers.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import slicer
from slicer_case import BALLS, SHAPE, TIMEOUT_S, Editor, ball, check, make_volume, run

INTERACTIONS, SEED = (int(text) for text in [*[t for t in sys.argv[1:] if t.isdigit()], "50", "1"][:2])
BRUSH_MM = 6.0
#: Voxels on each side of a place that a stroke of that size may touch.
BRUSH = (1, 3, 3)


class Reader:
    """Does one thing after the other, and knows what must not change by it.

    Attributes:
        locked: Mask of each locked segment.
        edits: What was painted or erased by hand, by segment; ``values`` is what it was made to be.
        done: How often each thing was done.
        last: The last ones, with the segment that was selected.
    """

    def __init__(self, editor):
        self.editor = editor
        self.rng = np.random.default_rng(SEED)
        self.controller = editor.effect.self().controller
        self.panel = editor.effect.self().panel
        self.node = editor.widget.mrmlSegmentEditorNode()
        self.locked = {}
        self.edits = {name: np.zeros(SHAPE, bool) for name in "AB"}
        self.values = {name: np.zeros(SHAPE, bool) for name in "AB"}
        self.done = {}
        self.last = []
        self.things = (
            (8, self.click),
            (2, self.click_and_undo),
            (2, self.box),
            (3, self.propagate),
            (1, self.cancel),
            (1, self.switch_include),
            (2, self.select),
            (1, self.lock),
            (3, self.paint),
            (2, self.erase),
            (1, self.overwrite),
            (1, self.keep_out),
        )

    def act(self):
        """One random interaction."""
        weights = np.array([weight for weight, _thing in self.things], float)
        thing = self.things[self.rng.choice(len(self.things), p=weights / weights.sum())][1]
        self.last = [*self.last[-9:], [thing.__name__, self.selected]]
        thing()
        self.done[thing.__name__] = self.done.get(thing.__name__, 0) + 1
        slicer.app.processEvents()

    def wait(self):
        """Until nothing is under way."""
        end = time.monotonic() + TIMEOUT_S
        slicer.app.processEvents()
        while self.controller.is_busy:
            if time.monotonic() > end:
                raise AssertionError(f"still {self.controller.activity} after {TIMEOUT_S:g} s")
            slicer.app.processEvents()
            time.sleep(0.002)

    def check(self):
        """Nothing that must not change has changed."""
        self.wait()
        masks = {name: self.editor.mask(name) for name in "ABC"}
        for name, mask in self.locked.items():
            if not np.array_equal(masks[name], mask):
                raise AssertionError(f"the locked segment {name} has changed; the last were {self.last}")
        for name, other in ("AB", "BA"):
            if self.editor.effect.parameter("KeepOut") == "0":  # by the user's own choice, it may lose them to another
                self.edits[name] &= ~(self.values[name] & masks[other])
            wrong = self.edits[name] & (masks[name] != self.values[name])
            if wrong.any():
                voxels = [(tuple(v.tolist()), bool(self.values[name][tuple(v)])) for v in np.argwhere(wrong)[:5]]
                raise AssertionError(f"edited voxels of {name} have changed: {voxels}; the last were {self.last}")

    @property
    def selected(self):
        """ID of the selected segment."""
        return self.editor.widget.currentSegmentID()

    def place(self):
        """A random voxel, half of the time in a ball."""
        where = ball("AB"[self.rng.integers(2)]) if self.rng.integers(2) else np.ones(SHAPE, bool)
        where[:, :4] = where[:, -4:] = where[:, :, :4] = where[:, :, -4:] = where[:2] = where[-2:] = False
        places = np.argwhere(where)
        return tuple(int(v) for v in places[self.rng.integers(len(places))])

    def click(self):
        """A point; not one that takes back a stroke by contradicting it, which is another matter."""
        place, name = self.place(), self.selected
        include = self.editor.effect.parameter("Include") == "1"
        if name in self.edits and self.edits[name][place] and self.values[name][place] != include:
            return
        self.editor.effect.setParameter("Tool", "point")
        self.last[-1] += [place, include]
        self.editor.click(place)
        if self.editor.effect.parameter("KeepOut") == "0":
            self.wait()

    def click_and_undo(self):
        """A point that is taken back leaves everything as it was."""
        self.wait()
        before = {name: self.editor.mask(name) for name in "ABC"}
        self.click()
        self.wait()
        if any(not np.array_equal(self.editor.mask(name), mask) for name, mask in before.items()):
            self.editor.widget.undo()
            self.wait()
        for name, mask in before.items():
            if not np.array_equal(self.editor.mask(name), mask):
                raise AssertionError(f"undo of a click does not bring back {name}; the last were {self.last}")

    def box(self):
        """A rectangle around something, or nothing."""
        self.editor.effect.setParameter("Include", "1")
        self.editor.effect.setParameter("Tool", "box")
        k, j, i = self.place()
        end = (k, *(int(np.clip(v + self.rng.integers(-25, 26), 2, size - 3)) for v, size in zip((j, i), SHAPE[1:])))
        self.last[-1] += [(k, j, i), end]
        self.editor.drag((k, j, i), end)
        self.wait()

    def propagate(self):
        """Go on at once, or wait for the end."""
        self.panel.propagateButton.click()
        if self.rng.integers(2) or self.editor.effect.parameter("KeepOut") == "0":
            self.wait()

    def cancel(self):
        """Propagate and cancel after a moment."""
        self.wait()
        self.panel.propagateButton.click()
        for _ in range(self.rng.integers(1, 30)):
            slicer.app.processEvents()
        self.panel.propagateButton.click()
        self.wait()

    def switch_include(self):
        """The other of Include and Exclude."""
        (self.panel.excludeButton if self.panel.includeButton.checked else self.panel.includeButton).click()

    def select(self, name=""):
        """Another segment."""
        self.editor.widget.setCurrentSegmentID(name or "ABC"[self.rng.integers(3)])
        self.wait()

    def lock(self, name=""):
        """Lock a segment, or unlock it."""
        name = name or "AAABBBC"[self.rng.integers(7)]
        self.wait()
        self.select(name)
        self.panel.lockButton.click()
        self.wait()
        if self.panel.lockButton.checked:
            self.locked[name] = self.editor.mask(name)
        else:
            self.locked.pop(name, None)

    def paint(self):
        """A stroke of Slicer's own brush where no segment is."""
        self.stroke("Paint", lambda name, masks: ~np.any([*masks.values(), *self.edits.values()], axis=0))

    def erase(self):
        """A stroke of Slicer's own eraser inside a segment."""
        self.stroke("Erase", lambda name, masks: masks[name] & ~self.edits[name])

    def stroke(self, effect, where):
        """Draw with another effect on a segment that is not locked."""
        self.wait()
        name = "AB"[self.rng.integers(2)]
        if name in self.locked:
            return
        masks = {each: self.editor.mask(each) for each in "ABC"}
        allowed = where(name, masks)
        for _ in range(20):
            k, j, i = self.place()
            near = tuple(slice(max(v - r, 0), v + r + 1) for v, r in zip((k, j, i), BRUSH))
            if allowed[near].all():
                break
        else:
            return
        self.select(name)
        mode = self.node.GetOverwriteMode()
        self.draw(effect, name, masks[name], (k, j, i))
        self.node.SetOverwriteMode(mode)
        after = self.editor.mask(name)
        changed = after != masks[name]
        self.edits[name] |= changed
        self.values[name][changed] = after[changed]
        self.wait()

    def draw(self, effect, name, mask, place):
        """With the mouse, or, where this Slicer has no such effect, by the array."""
        k, j, i = place
        if effect in self.editor.widget.availableEffectNames():
            self.editor.widget.setActiveEffectByName(effect)
            other = self.editor.widget.activeEffect()
            other.setCommonParameter("BrushDiameterIsRelative", 0)
            other.setCommonParameter("BrushAbsoluteDiameter", BRUSH_MM)
            other.setCommonParameter("BrushSphere", 0)
            self.editor.drag((k, j, i), (k, j + 1, i + 1))
            slicer.app.processEvents()
            self.editor.widget.setActiveEffectByName("EfficientMedSAM2")
        else:
            drawn = mask.copy()
            drawn[k, j : j + 2, i : i + 2] = effect == "Paint"
            nodes = self.editor.segmentation, name, self.editor.volume
            slicer.util.updateSegmentBinaryLabelmapFromArray(drawn.astype(np.uint8), *nodes)

    def overwrite(self):
        """Another choice of Slicer's Modify other segments."""
        self.wait()
        self.node.SetOverwriteMode(int(self.rng.integers(3)))

    def keep_out(self):
        """Let segments enter each other, or no more."""
        self.check()
        self.editor.effect.setParameter("KeepOut", "0" if self.editor.effect.parameter("KeepOut") == "1" else "1")
        self.last[-1] += [self.editor.effect.parameter("KeepOut")]


def nothing_that_is_locked_or_edited_changes():
    """Clicks, boxes, propagations, undo, locks, strokes of other effects, in any order."""
    editor = Editor(make_volume())
    editor.segmentation.GetSegmentation().AddEmptySegment("C", "C")
    neighbour = np.zeros(SHAPE, bool)
    neighbour[:, 40:50, 40:56] = True  # reaches into the large ball
    nodes = editor.segmentation, "C", editor.volume
    slicer.util.updateSegmentBinaryLabelmapFromArray(neighbour.astype(np.uint8), *nodes)
    reader = Reader(editor)
    reader.lock("C")
    check("C" in reader.locked, "the neighbour is locked")
    reader.select("A")
    editor.click(BALLS["A"][0])
    reader.check()
    began = time.monotonic()
    for number in range(INTERACTIONS):
        reader.act()
        if number % 2 or editor.effect.parameter("KeepOut") == "0":
            reader.check()
        if number % 100 == 99:
            print(f"    {number + 1} interactions, {time.monotonic() - began:.0f} s")
    reader.check()
    counts = ", ".join(f"{name} {count}" for name, count in sorted(reader.done.items()))
    edited = sum(int(edits.sum()) for edits in reader.edits.values())
    check(True, f"{INTERACTIONS} interactions ({counts}): {edited} edited voxels and all locked segments as they were")


run(nothing_that_is_locked_or_edited_changes)
