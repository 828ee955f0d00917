"""Features of the slice that comes next, computed in the second thread while the first decodes the slice at hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..fov import FieldOfView
from ..slices.feature_cache import FeatureCache
from ..slices.slice_data import SliceImage
from ..slices.slice_predictor import SlicePredictor


class Ahead:
    """Encodes at most one slice at a time; nothing is left running after a `with` statement.

    Does nothing where there is no second thread.

    Args:
        slices: The core that asks the network.
        cache: Where the features go.
    """

    def __init__(self, slices: SlicePredictor, cache: FeatureCache) -> None:
        self._slices, self._cache = slices, cache
        self._result: Callable[[], Any] | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is ever begun here."""
        return self._slices.second_thread.is_there

    def start(self, image: SliceImage, view: FieldOfView | None) -> None:
        """Begin to encode a slice where it will probably be looked at; None: nobody knows."""
        if self.is_there and view is not None:
            self._result = self._slices.second_thread.queue(lambda: self._slices.encode(image, [view], self._cache))

    def wait(self) -> None:
        """Until what was begun is in the cache.

        Raises:
            Exception: What encoding raised.
        """
        result, self._result = self._result, None
        if result is not None:
            result()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for the slice at hand; what its encoding raises is nothing to those who no longer want it."""
        with suppress(Exception):
            self.wait()
