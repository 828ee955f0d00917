"""Features of the slice that comes next, computed on a second core while the first decodes the slice at hand."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..fov import FieldOfView
from ..slices.feature_cache import FeatureCache
from ..slices.slice_data import SliceImage
from ..slices.slice_predictor import SlicePredictor


class Ahead:
    """Encodes at most one slice at a time in a thread of its own, which ends with a `with` statement.

    Does nothing where the network computes with one thread, or says that it gains nothing (`works_ahead`): torch takes
    every core for each of its operations.

    Args:
        slices: The core that asks the network.
        cache: Where the features go.
    """

    def __init__(self, slices: SlicePredictor, cache: FeatureCache) -> None:
        self._slices, self._cache = slices, cache
        model = slices.model
        self._pool = ThreadPoolExecutor(1) if getattr(model, "works_ahead", False) and model.threads > 1 else None
        self._work: Future[Any] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is ever begun here."""
        return self._pool is None

    def start(self, image: SliceImage, view: FieldOfView | None) -> None:
        """Begin to encode a slice where it will probably be looked at; None: nobody knows."""
        if self._pool is not None and view is not None:
            self._work = self._pool.submit(self._slices.encode, image, [view], self._cache)

    def wait(self) -> None:
        """Until what was begun is in the cache.

        Raises:
            Exception: What encoding raised.
        """
        work, self._work = self._work, None
        if work is not None:
            work.result()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        """End the thread, after the slice at hand."""
        if self._pool is not None:
            self._pool.shutdown()
