"""Intensity windows as other readers would have chosen them."""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.evaluation.dataset.images import LoadedImage, windowed

# Hounsfield windows (low, high) a reader may have chosen: soft tissue, lung, bone, mediastinum, wide.
CT_WINDOWS: tuple[tuple[float, float], ...] = (
    (-160.0, 240.0),
    (-1350.0, 150.0),
    (-500.0, 1300.0),
    (-125.0, 225.0),
    (-1000.0, 1000.0),
)


def random_window(
    image: LoadedImage, values: np.ndarray, inside: np.ndarray, rng: np.random.Generator, probability: float = 0.5
) -> tuple[float, float]:
    """A window as another reader or another rule would have chosen it.

    Windows in which the object can no longer be told from its surroundings are refused: nobody prompts what he
    cannot see, and such samples would teach the network to guess.

    Args:
        image: the image, for its own window and whether other Hounsfield windows apply.
        values: voxels (h, w) or (h, w, 3) around the object.
        inside: mask (h, w) of the object there.
        rng: source of randomness.
        probability: how often the window differs from the image's own.

    Returns:
        (low, high).
    """
    if rng.random() >= probability:
        return image.window
    base = image.window
    if image.is_hounsfield and rng.random() < 0.6:
        base = CT_WINDOWS[int(rng.integers(len(CT_WINDOWS)))]
    width = base[1] - base[0]
    low = base[0] + width * rng.uniform(-0.12, 0.12)
    high = max(base[1] + width * rng.uniform(-0.25, 0.2), low + 0.2 * width)
    if not inside.any() or inside.all():
        return image.window
    shown = windowed(values, (low, high))
    own = windowed(values, image.window)
    contrast = abs(float(shown[inside].mean()) - float(shown[~inside].mean()))
    usual = abs(float(own[inside].mean()) - float(own[~inside].mean()))
    return (low, high) if contrast > min(0.06, 0.6 * usual) else image.window
