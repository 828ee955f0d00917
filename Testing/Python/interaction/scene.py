"""Small scenes: a tube, a second tube, a volume that shows them."""

from __future__ import annotations

import numpy as np
from oracle_predictor import OraclePredictor

from EfficientMedSAM2Lib.interaction import InteractiveSession

SHAPE = (24, 20, 22)
#: Slices on which the first tube exists.
FIRST, LAST = 4, 17


def tube_truth() -> np.ndarray:
    """A tube along k at rows 5..10, columns 4..9 on slices FIRST..LAST, and a smaller one beside it, all slices."""
    truth = np.zeros(SHAPE, dtype=bool)
    truth[FIRST : LAST + 1, 5:11, 4:10] = True
    truth[:, 14:17, 13:18] = True
    return truth


def make_session(truth=None, spacing_kji=(3.0, 1.0, 1.0), **options):
    """Session on a CT-like volume whose truth the predictor knows: (session, predictor, truth)."""
    truth = tube_truth() if truth is None else truth
    volume = np.where(truth, 60, -80).astype(np.int16)
    predictor = OraclePredictor(truth)
    session = InteractiveSession(predictor, **options)
    k, j, i = spacing_kji
    session.set_image(volume, np.diag([i, j, k, 1.0]), modality="CT")
    return session, predictor, truth


def first_tube() -> np.ndarray:
    """Mask of the first tube alone."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[FIRST : LAST + 1, 5:11, 4:10] = True
    return mask


def run(propagation) -> list:
    """All updates of a propagation."""
    return list(propagation)


def repeat_prompts(session, other):
    """Give another session the prompts of one, in their order."""
    for name in session.segments:
        for prompt in session.prompts(name):
            other.add_prompt(prompt, name)
