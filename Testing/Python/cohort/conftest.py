"""A small scan whose voxel values say what they belong to, prompts for it, and a predictor that reads the values."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

LIVER, SPLEEN = 100, 200
SPACING_MM = (1.0, 2.0, 5.0)  # i, j, k
ORIGIN_LPS = (-20.0, 30.0, -40.0)


class OraclePredictor:
    """A segment is all voxels with the value at its prompts; confident where there are any. Needs no network."""

    def init_state(self, volume, *, spacing, modality, axis, window):
        return {"volume": volume, "axis": axis, "value": {}, "slices": {}, "window": window}

    def add_new_points_or_box(
        self, state, frame_idx, obj_id, points=None, labels=None, clear_old_points=True, normalize_coords=True, box=None
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

    def add_new_mask(self, state, frame_idx, obj_id, mask):
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


@pytest.fixture
def oracle_session():
    from EfficientMedSAM2Lib import InteractiveSession

    return InteractiveSession(OraclePredictor())


@pytest.fixture
def scan(tmp_path):
    """A scan on disk with a liver on slices 2...7 and a spleen on slices 4...9, and where things are in LPS."""
    import SimpleITK as sitk

    array = np.zeros((12, 20, 24), dtype=np.int16)
    array[2:8, 4:12, 3:13] = LIVER
    array[4:10, 6:15, 15:22] = SPLEEN
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_LPS)
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image, str(path))
    return SimpleNamespace(path=path, array=array, liver=array == LIVER, spleen=array == SPLEEN)


def lps_of(index_kji):
    """LPS position in mm of a voxel index of `scan`."""
    return [float(o + s * v) for o, s, v in zip(ORIGIN_LPS, SPACING_MM, index_kji[::-1])]


def write_markups(path, **markup):
    """A markups file with the keys that matter of those that 3D Slicer writes."""
    path.write_text(json.dumps({"markups": [{"coordinateSystem": "LPS", "coordinateUnits": "mm", **markup}]}))
    return path


@pytest.fixture
def write_points(tmp_path):
    def write(name, *indices_kji, labels=()):
        labels = [*labels, *["F"] * len(indices_kji)]
        return write_markups(
            tmp_path / name,
            type="Fiducial",
            controlPoints=[
                {"label": label, "description": "", "position": lps_of(index), "positionStatus": "defined"}
                for label, index in zip(labels, indices_kji)
            ],
        )

    return write


@pytest.fixture
def write_roi(tmp_path):
    def write(name, first_kji, last_kji, size=None):
        """An ROI around the voxels first ... last, both included."""
        center = (np.array(lps_of(first_kji)) + np.array(lps_of(last_kji))) / 2
        extent = (np.array(last_kji) - np.array(first_kji))[::-1] * SPACING_MM + 0.8 * np.array(SPACING_MM)
        return write_markups(
            tmp_path / name,
            type="ROI",
            roiType="Box",
            center=center.tolist(),
            orientation=[-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
            size=extent.tolist() if size is None else size,
            insideOut=False,
            controlPoints=[{"label": "R-1", "position": center.tolist(), "positionStatus": "defined"}],
        )

    return write
