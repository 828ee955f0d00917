# ruff: noqa: E402
"""Fixtures of the effect's tests; the helpers are in effect_user.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for folder in (".", "../imaging", "../interaction", "../mrml"):
    sys.path.insert(0, str((Path(__file__).parent / folder).resolve()))
from effect_user import EffectUser, start_user, truth
from oracle_predictor import OraclePredictor, _touching


class PassOracle(OraclePredictor):
    """An oracle whose passes start from their first slice, and not from what an older pass has left behind it."""

    def propagate_object(self, state, obj_id, start_frame_idx, frames, reverse=False):
        previous = self.slice_mask(state, obj_id, start_frame_idx)
        for frame in frames:
            self._maybe_fail(frame)
            self.propagated.append(frame)
            mask = _touching(self._truth(state, frame), previous)
            score = 0.01 if frame in self.low_scores else (0.8 if mask.any() else 0.02)
            self._slice(state, obj_id, frame).update(mask=mask, conditioning=False, score=score)
            previous = mask
            yield frame, mask.copy(), score


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Iterator[OraclePredictor]:
    """The network is replaced by an oracle that knows the two tubes."""
    pytest.importorskip("slicer", reason="needs PyPI's slicer-core")
    import EfficientMedSAM2Lib.mrml.effect.predictor_loader as loader

    predictor = PassOracle(truth())
    monkeypatch.setattr(loader, "missing_packages", lambda _arguments: [])
    monkeypatch.setattr(loader, "load_predictor", lambda **_arguments: predictor)
    return predictor


@pytest.fixture
def make_user(slicer_host: Any, segment_editor: Any, oracle: Any) -> Callable[..., EffectUser]:
    """``make_user(array, ijk_to_ras)``: the effect active on a volume; by default the two tubes."""

    def make(array: Any = None, **options: Any) -> EffectUser:
        volume = np.where(truth(), 60, -80).astype(np.int16) if array is None else array
        return start_user(slicer_host, segment_editor, oracle, volume, **options)

    return make


@pytest.fixture
def user(make_user: Any) -> EffectUser:
    """The effect active on the volume with two tubes, segment A of A, B, C selected, oracle loaded."""
    return make_user()
