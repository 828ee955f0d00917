"""A mask never contradicts a click: what was clicked is in it, what was clicked away is not.

The network nearly always sees to that itself. Where it does not, the logits around the click are moved just as far as
the clicked pixel needs, less and less with the distance.
"""

from __future__ import annotations

import numpy as np

from EfficientMedSAM2Lib.predictors.viewport import NO_OBJECT_LOGIT, Viewport, resample

CLEAR_LOGIT = 0.5
"""How clearly a pixel is in or out once its click has been heard."""
REACH_CELLS, REACH_PX = 1.0, 1.5
"""Standard deviation of what is moved around a click, in cells of the logits' grid, and in pixels of the slice; the
larger counts. A mask changes by a spot that can be seen, and no more."""
CONNECTED_SHARE = 0.5
"""Share of a candidate that hangs together with the clicks, from where on it is of what was clicked on."""
ROUNDS = 4
"""Clicks next to each other move each other's logits, so that they are heard in turn."""


def heeding(
    logits: np.ndarray, viewport: Viewport, points: np.ndarray, labels: np.ndarray, slice_shape: tuple[int, int]
) -> np.ndarray:
    """Mask logits in which each clicked pixel lies on the side that its label says.

    Args:
        logits: (C,h,w) of a viewport; not changed.
        viewport: The viewport.
        points: (N,2) clicks (x, y) in slice pixels.
        labels: (N,) 1 inside, 0 outside.
        slice_shape: Rows and columns of the slice.

    Returns:
        (C,h,w) float32, `logits` itself where nothing had to be moved. An empty mask stays so.
    """
    pixels = np.floor(np.asarray(points, np.float64).reshape(-1, 2) + 0.5).astype(int)
    pixels = pixels.clip(0, (slice_shape[1] - 1, slice_shape[0] - 1))
    # the latest of several clicks on one pixel is what the user means
    meant = {(int(x), int(y)): bool(label) for (x, y), label in zip(pixels, labels)}
    heard = logits
    for number in range(len(logits)):
        if (logits[number] > 0).any():
            moved = _heeding_one(logits[number], viewport, meant)
            if moved is not None:
                heard = heard.copy() if heard is logits else heard
                heard[number] = moved
    return heard


def _heeding_one(logits: np.ndarray, viewport: Viewport, meant: dict[tuple[int, int], bool]) -> np.ndarray | None:
    """One mask's logits (h,w) as `heeding`, None where all clicks are as they should be."""
    moved: np.ndarray | None = None
    for _ in range(ROUNDS):
        calm = True
        for (x, y), inside in meant.items():
            now = logits if moved is None else moved
            value = _at(now, viewport, x, y)
            if (value > 0) == inside:
                continue
            if not (
                viewport.x0 <= x < viewport.x0 + viewport.width and viewport.y0 <= y < viewport.y0 + viewport.height
            ):
                continue  # outside the viewport there is nothing to move
            spot = _spot(now.shape, viewport, x, y)
            wanted = CLEAR_LOGIT if inside else -CLEAR_LOGIT
            # What is seen of the grid at a pixel is a weighted mean, so that this is exact.
            moved = now + np.float32((wanted - value) / _at(spot, viewport, x, y, 0.0)) * spot
            calm = False
        if calm:
            break
    return moved


def _at(values: np.ndarray, viewport: Viewport, x: int, y: int, fill: float = NO_OBJECT_LOGIT) -> float:
    return float(resample(values, viewport, Viewport(x, y, 1, 1), (1, 1), fill)[0, 0])


def _spot(shape: tuple[int, ...], viewport: Viewport, x: int, y: int) -> np.ndarray:
    """1 around a pixel and less with the distance, on the grid (h,w) of a viewport."""
    sigma = max(REACH_CELLS * max(viewport.width / shape[1], viewport.height / shape[0]), REACH_PX)
    rows, columns = viewport.cell_middles(shape)
    down, across = rows[:, None] - y, columns[None] - x
    spot: np.ndarray = np.exp(-0.5 * (down**2 + across**2) / sigma**2).astype(np.float32)
    return spot


def holds(logits: np.ndarray, viewport: Viewport, points: np.ndarray) -> np.ndarray:
    """Which masks (C,h,w) of a viewport are of the object that all of points (N,2) are on: (C,) bool.

    Such a mask has all of them in it, or in the cells next to it, and most of it hangs together with them: a mask of an
    organ beside a lesion, with the lesion in it as well, is not what a click on the lesion means.
    """
    size = logits.shape[-1]
    cells = np.rint(viewport.to_network(points, size)).astype(int)
    if len(cells) == 0:
        return np.ones(len(logits), bool)
    if ((cells < 0) | (cells >= size)).any():
        return np.zeros(len(logits), bool)
    clicked = np.zeros((size, size), bool)
    clicked[cells[:, 1], cells[:, 0]] = True
    return np.array([_is_around(mask, clicked, cells) for mask in logits > 0])


def _is_around(mask: np.ndarray, clicked: np.ndarray, cells: np.ndarray) -> bool:
    padded = np.pad(mask, 1)
    if not all(padded[y : y + 3, x : x + 3].any() for x, y in cells):
        return False
    # In numpy alone: scipy's labels would take half a second to import. Most masks are reached in some thirty steps.
    reached, before = _grown(clicked) & mask, 0
    count = int(np.count_nonzero(reached))
    while before < count:
        before = count
        reached = _grown(reached) & mask
        count = int(np.count_nonzero(reached))
    return bool(count >= CONNECTED_SHARE * np.count_nonzero(mask))


def _grown(mask: np.ndarray) -> np.ndarray:
    """A mask with its eight neighbours."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    grown = rows.copy()
    grown[:, 1:] |= rows[:, :-1]
    grown[:, :-1] |= rows[:, 1:]
    return grown
