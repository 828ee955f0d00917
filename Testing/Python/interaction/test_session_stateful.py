"""Any sequence of actions: undo and redo are exact, changed boxes hold every changed voxel, nothing breaks."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scene import SHAPE, make_session

NAMES = st.sampled_from(["a", "b"])
AXES = st.sampled_from([None, 0, 1, 2])
VOXELS = st.tuples(*(st.integers(0, size - 1) for size in SHAPE))


@st.composite
def boxes(draw):
    bounds = []
    for size in SHAPE:
        low = draw(st.integers(0, size - 1))
        bounds.append([low, draw(st.integers(low + 1, size))])
    if draw(st.booleans()):
        flat = draw(st.integers(0, 2))
        bounds[flat][1] = bounds[flat][0] + 1
    return bounds


class SessionMachine(RuleBasedStateMachine):
    """The session beside a list of what it looked like after each action."""

    def __init__(self):
        super().__init__()
        truth = np.random.default_rng(3).random(SHAPE) < 0.4
        truth[3:20, 4:12, 4:12] = True
        self.session, self.predictor, _ = make_session(truth, max_undo_steps=1000)
        self.predictor.noise = 0.1
        self.states = [self.look()]
        self.at = 0
        self.open = None

    def look(self):
        session = self.session
        return {
            name: (
                np.packbits(session.mask(name)).tobytes(),
                session.prompts(name),
                [session.scores(name, axis) for axis in range(3)],
                [session.stale_slices(name, axis) for axis in range(3)],
            )
            for name in session.segments
        }

    def memory(self):
        """All that the predictor knows, in a form that can be compared."""
        return [
            {
                obj_id: {
                    frame: {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in s.items()}
                    for frame, s in slices.items()
                }
                for obj_id, slices in state["objects"].items()
            }
            for state in self.predictor.states
        ]

    def masks(self):
        return {name: self.session.mask(name) for name in self.session.segments}

    def check_box(self, before, box):
        after = self.masks()
        for name in {*before, *after}:
            empty = np.zeros(SHAPE, dtype=bool)
            changed = before.get(name, empty) ^ after.get(name, empty)
            if box is not None:
                changed[tuple(slice(*bounds) for bounds in box)] = False
            assert not changed.any()

    def act(self, action):
        self.settle()
        before, had = self.masks(), self.session.next_undo
        box = action()
        self.check_box(before, box)
        self.note()
        assert had is None or self.session.can_undo

    def note(self):
        del self.states[self.at + 1 :]
        self.states.append(self.look())
        self.at += 1

    def settle(self):
        """A propagation left open becomes a step when the next action closes it."""
        if self.open is not None:
            wrote = self.open.done > 0
            self.open.close()
            self.open = None
            if wrote:
                self.note()

    @rule(index=VOXELS, positive=st.booleans(), name=NAMES, axis=AXES)
    def point(self, index, positive, name, axis):
        self.act(lambda: self.session.add_point_interaction(index, positive, name, axis))

    @rule(box=boxes(), positive=st.booleans(), name=NAMES, axis=AXES)
    def box(self, box, positive, name, axis):
        self.act(lambda: self.session.add_bbox_interaction(box, positive, name, axis))

    @rule(start=VOXELS, end=VOXELS, name=NAMES, axis=st.integers(0, 2))
    def line(self, start, end, name, axis):
        end = tuple(
            start[a] if a == axis else (end[a] if end[a] != start[a] else (end[a] + 1) % SHAPE[a]) for a in range(3)
        )
        self.act(lambda: self.session.add_line_interaction(start, end, name, axis))

    @rule(seed=st.integers(0, 9), name=NAMES, axis=st.integers(0, 2), slice_only=st.booleans())
    def mask(self, seed, name, axis, slice_only):
        rng = np.random.default_rng(seed)
        mask = np.zeros(SHAPE, dtype=bool)
        low = [int(rng.integers(0, size - 3)) for size in SHAPE]
        mask[tuple(slice(start, start + 3 + seed) for start in low)] = True
        if slice_only:
            index = int(rng.integers(0, SHAPE[axis]))
            self.act(lambda: self.session.add_initial_seg_interaction(mask.take(index, axis), name, axis, index))
        else:
            self.act(lambda: self.session.add_initial_seg_interaction(mask, name, axis))

    @rule(
        name=NAMES,
        direction=st.sampled_from(["both", "forward", "backward"]),
        limits=st.one_of(st.none(), st.tuples(st.integers(0, 8), st.integers(10, 30))),
        stop=st.booleans(),
        count=st.integers(0, 30),
        leave_open=st.booleans(),
    )
    def propagate(self, name, direction, limits, stop, count, leave_open):
        self.settle()
        if name not in self.session.segments or not self.session.conditioning_slices(name):
            return
        axis = self.session.prompts(name) and self.session._segment(name).latest[0]
        protected = {i: self.session.mask(name).take(i, axis) for i in self.session.conditioning_slices(name)}
        before = self.masks()
        propagation = self.session.propagate(name, direction, limits, stop)
        for _ in range(count):
            step_before = self.session.mask(name)
            update = next(propagation, None)
            if update is None:
                break
            assert np.array_equal(self.session.mask(name).take(update.index, update.axis), update.mask)
            changed = step_before ^ self.session.mask(name)
            if update.bbox is not None:
                changed[tuple(slice(*bounds) for bounds in update.bbox)] = False
            assert not changed.any()
        for index, mask in protected.items():
            assert np.array_equal(self.session.mask(name).take(index, axis), mask)
        self.check_box(before, propagation.bbox)
        if leave_open:
            self.open = propagation
        elif propagation.done:
            propagation.close()
            self.note()

    @precondition(lambda self: self.session.segments)
    @rule(name=NAMES)
    def remove(self, name):
        if name in self.session.segments:
            self.act(lambda: self.session.remove_segment(name))

    @invariant()
    def depth_counts_the_actions_in_force(self):
        waiting = self.open is not None and self.open.done > 0
        assert self.session.depth == self.at + waiting

    @rule()
    def undo(self):
        self.settle()
        before = self.masks()
        possible = self.session.can_undo
        assert possible == (self.at > 0)
        self.check_box(before, self.session.undo())
        self.at -= possible
        assert self.look() == self.states[self.at]

    @rule()
    def redo(self):
        self.settle()
        before = self.masks()
        possible = self.session.can_redo
        assert possible == (self.at + 1 < len(self.states))
        self.check_box(before, self.session.redo())
        self.at += possible
        assert self.look() == self.states[self.at]

    @invariant()
    def stale_slices_are_never_prompted(self):
        for name in self.session.segments:
            for axis in range(3):
                stale = set(self.session.stale_slices(name, axis))
                assert not stale & set(self.session.conditioning_slices(name, axis))

    def teardown(self):
        self.settle()
        end, memory = self.at, self.memory()
        while self.session.can_undo:
            self.session.undo()
        assert self.session.segments == ()
        assert all(not state["objects"] for state in self.predictor.states)
        for _ in range(end):
            self.session.redo()
        assert self.look() == self.states[end]
        assert self.memory() == memory


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSession = SessionMachine.TestCase
