"""A volume predictor that knows the truth: deterministic, no network, and it counts what it is asked.

Points choose the connected region of the truth under them; a box keeps what of the truth is inside. A propagated slice
is the truth that overlaps the nearest slice the oracle has a mask of, so that a wrong start spreads and a correction
heals, as with a real predictor.
"""

from __future__ import annotations

import copy

import numpy as np
from scipy import ndimage


class OraclePredictor:
    """Implements VolumePredictor over a label volume (D,H,W)."""

    def __init__(self, truth: np.ndarray, noise: float = 0.0) -> None:
        self.truth = np.asarray(truth) > 0
        self.noise = noise
        self.propagated: list[int] = []
        self.prompted: list[int] = []
        self.given_masks: list[int] = []
        self.prefetched: list[int] = []
        self.low_scores: set[int] = set()
        self.logits: dict[int, np.ndarray | float] = {}  # by object: how sure it is of each place of a slice
        self.fail_at: int | None = None
        self.states: list[dict] = []

    # --- SAM2 side

    def init_state(self, volume, *, spacing, modality, axis, window):
        assert not volume.flags.writeable
        state = {"volume": volume, "axis": axis, "spacing": spacing, "window": window, "objects": {}}
        self.states.append(state)
        return state

    def add_new_points_or_box(
        self,
        state,
        frame_idx,
        obj_id,
        points=None,
        labels=None,
        clear_old_points=True,
        normalize_coords=True,
        box=None,
        need_output=True,
    ):
        assert box is None or clear_old_points, "as in SAM2, a box needs clear_old_points"
        self._maybe_fail(frame_idx)
        self.prompted.append(frame_idx)
        slice_state = self._slice(state, obj_id, frame_idx)
        if clear_old_points:
            slice_state.update(points=[], box=None, given=None)
        if box is not None:
            slice_state["box"] = tuple(float(v) for v in box)
        if points is not None:
            slice_state["points"] = slice_state["points"] + [
                (float(x), float(y), int(label)) for (x, y), label in zip(points, labels)
            ]
        slice_state["mask"] = self._segment(state, frame_idx, slice_state)
        slice_state["conditioning"] = True
        slice_state["score"] = 0.9 if slice_state["mask"].any() else 0.05

    def add_new_mask(self, state, frame_idx, obj_id, mask, need_output=True):
        assert mask.dtype == bool
        self.given_masks.append(frame_idx)
        self._slice(state, obj_id, frame_idx).update(
            points=[], box=None, given=mask.copy(), mask=mask.copy(), conditioning=True, score=1.0
        )

    def clear_all_prompts_in_frame(self, state, frame_idx, obj_id, need_output=True):
        state["objects"].get(obj_id, {}).pop(frame_idx, None)

    def propagate_object(self, state, obj_id, start_frame_idx, frames, reverse=False):
        slices = state["objects"][obj_id]
        assert slices[start_frame_idx]["conditioning"]
        frames = list(frames)
        assert frames == sorted(frames, reverse=reverse)
        for frame in frames:
            self._maybe_fail(frame)
            self.propagated.append(frame)
            assert frame not in slices or not slices[frame]["conditioning"]
            nearest = min((i for i in slices if i != frame), key=lambda i: (abs(i - frame), i > frame))
            truth = self._truth(state, frame)
            mask = _touching(truth, slices[nearest]["mask"])
            if self.noise:
                mask = mask & (np.random.default_rng(frame).random(mask.shape) > self.noise)
            score = 0.01 if frame in self.low_scores else (0.8 if mask.any() else 0.02)
            self._slice(state, obj_id, frame).update(mask=mask, conditioning=False, score=score)
            yield frame, mask.copy(), score

    # --- ours on top

    def slice_mask(self, state, obj_id, frame_idx):
        found = state["objects"].get(obj_id, {}).get(frame_idx)
        return None if found is None else found["mask"].copy()

    def slice_score(self, state, obj_id, frame_idx):
        found = state["objects"].get(obj_id, {}).get(frame_idx)
        return None if found is None else found["score"]

    def snapshot_object(self, state, obj_id):
        return copy.deepcopy(state["objects"].get(obj_id))

    def restore_object(self, state, obj_id, snapshot):
        state["objects"].pop(obj_id, None)
        if snapshot is not None:
            state["objects"][obj_id] = copy.deepcopy(snapshot)

    def reset_state(self, state):
        state["objects"].clear()

    def slice_logits(self, state, obj_id, frame_idx):
        found = state["objects"].get(obj_id, {}).get(frame_idx)
        if found is None or found["given"] is not None:
            return None
        return np.where(found["mask"], self.logits.get(obj_id, 3.0), -3.0).astype(np.float32)

    def slice_features(self, state, frame_idx):
        """Each pixel a cell, whose features say what is there."""
        from EfficientMedSAM2Lib.predictors.slices.similarity import SliceFeatures

        truth = self._truth(state, frame_idx)
        rows, columns = (np.arange(size, dtype=float) for size in truth.shape)
        return SliceFeatures(np.stack([truth, ~truth]).astype(np.float32), rows, columns)

    def prefetch(self, state, frame_idx, obj_id=None):
        self.prefetched.append(frame_idx)

    # --- inside

    def forget_calls(self):
        self.propagated, self.prompted, self.given_masks = [], [], []

    def _maybe_fail(self, frame):
        if frame == self.fail_at:
            raise MemoryError(frame)

    def _slice(self, state, obj_id, frame):
        slices = state["objects"].setdefault(obj_id, {})
        empty = np.zeros(self._truth(state, frame).shape, dtype=bool)
        return slices.setdefault(
            frame, {"points": [], "box": None, "given": None, "mask": empty, "conditioning": False, "score": 0.0}
        )

    def _truth(self, state, frame):
        return self.truth.take(frame, state["axis"])

    def _segment(self, state, frame, slice_state):
        truth = self._truth(state, frame)
        if slice_state["box"] is not None:
            x0, y0, x1, y1 = slice_state["box"]
            rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
            mask = truth & (rows >= y0) & (rows <= y1) & (columns >= x0) & (columns <= x1)
        else:
            mask = slice_state["mask"].copy()
        labels, _ = ndimage.label(truth)
        for x, y, positive in slice_state["points"]:
            row, column = round(y), round(x)
            region = labels == labels[row, column] if labels[row, column] else np.zeros_like(truth)
            near = np.zeros_like(truth)
            near[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
            mask = mask | region if positive else mask & ~near
        return mask


def _touching(truth, previous):
    labels, _ = ndimage.label(truth)
    kept = np.unique(labels[previous & truth])
    return np.isin(labels, kept[kept > 0])
