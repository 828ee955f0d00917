"""A predictor that reads the answer off the voxel values, and sessions on it for workers: no network, no waiting."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

KILLS = 999  #: A voxel of this value ends the process that reads it, as the kernel does when memory runs out.


class OraclePredictor:
    """A segment is all voxels with the value at its prompts; confident where there are any. Needs no network."""

    def init_state(self, volume, *, spacing, modality, axis, window):
        return {"volume": volume, "axis": axis, "value": {}, "slices": {}, "window": window}

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
        plane = state["volume"].take(frame_idx, state["axis"])
        if box is not None:
            x0, y0, x1, y1 = np.round(box).astype(int)
            values, counts = np.unique(plane[y0 : y1 + 1, x0 : x1 + 1], return_counts=True)
            state["value"][obj_id] = values[counts.argmax()]
        for point, label in zip([] if points is None else points, [] if labels is None else labels):
            x, y = np.round(point).astype(int)
            if label == 1:
                state["value"][obj_id] = plane[y, x]
            elif plane[y, x] == state["value"].get(obj_id):
                state["value"][obj_id] = None
        state["slices"].setdefault(obj_id, {})[frame_idx] = self._mask(state, obj_id, frame_idx)

    def add_new_mask(self, state, frame_idx, obj_id, mask, need_output=True):
        state["slices"].setdefault(obj_id, {})[frame_idx] = np.asarray(mask, dtype=bool)

    def propagate_object(self, state, obj_id, start_frame_idx, frames, reverse=False):
        for frame_idx in frames:
            mask = self._mask(state, obj_id, frame_idx)
            state["slices"][obj_id][frame_idx] = mask
            yield frame_idx, mask, float(mask.any())

    def slice_mask(self, state, obj_id, frame_idx):
        return state["slices"].get(obj_id, {}).get(frame_idx)

    def slice_score(self, state, obj_id, frame_idx):
        mask = self.slice_mask(state, obj_id, frame_idx)
        return None if mask is None else float(mask.any())

    def snapshot_object(self, state, obj_id):
        return (state["value"].get(obj_id), dict(state["slices"].get(obj_id, {})))

    def restore_object(self, state, obj_id, snapshot):
        state["value"][obj_id], slices = snapshot if snapshot is not None else (None, {})
        state["slices"][obj_id] = dict(slices)

    def reset_state(self, state):
        state["value"].clear()
        state["slices"].clear()

    def prefetch(self, state, frame_idx, obj_id=None):
        pass

    @staticmethod
    def _mask(state, obj_id, frame_idx):
        plane = state["volume"].take(frame_idx, state["axis"])
        value = state["value"].get(obj_id)
        return np.zeros(plane.shape, dtype=bool) if value is None else plane == value


class DangerousPredictor(OraclePredictor):
    """Dies of some volumes, and takes its time for the others."""

    seconds = 0.0

    def init_state(self, volume, **options):
        if (volume == KILLS).any():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        return super().init_state(volume, **options)


class SlowPredictor(DangerousPredictor):
    """Slow enough to be killed midway."""

    seconds = 0.15


def build_session(**_arguments):
    """What a worker calls."""
    from EfficientMedSAM2Lib import InteractiveSession

    return InteractiveSession(DangerousPredictor())


def build_slow_session(**_arguments):
    """The same, slower."""
    from EfficientMedSAM2Lib import InteractiveSession

    return InteractiveSession(SlowPredictor())


def build_counted_session(device, **_arguments):
    """The same as the first; each building leaves a line with its process in the file that `device` names."""
    with open(device, "a") as log:
        log.write(f"{os.getpid()}\n")
    return build_session()
