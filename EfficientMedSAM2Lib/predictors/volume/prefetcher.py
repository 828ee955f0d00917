"""Features of the slice that comes next, computed in the second thread while the first decodes the slice at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from EfficientMedSAM2Lib.predictors.fov import FieldOfView
from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor


class Ahead:
    """Encodes at most one slice at a time; nothing is left running after a `with` statement.

    Does nothing where there is no second thread. Where that waits for the first for longer than it takes to read a
    slice's prompts, it reads these too, before it goes on to the next slice: of a small encoder, or in INT8.

    Args:
        slices: The core that asks the network.
        cache: Where the features go.
    """

    def __init__(self, slices: SlicePredictor, cache: FeatureCache) -> None:
        self._slices, self._cache = slices, cache
        self._result: Callable[[], Any] | None = None
        self._came = self._done = time.perf_counter()
        self._reads_prompts = False

    @property
    def is_there(self) -> bool:
        """Whether anything is ever begun here."""
        return self._slices.second_thread.is_there

    def start(self, image: SliceImage, view: FieldOfView | None) -> None:
        """Begin to encode a slice where it will probably be looked at; None: nobody knows."""
        if self.is_there and view is not None:
            self._result = self._slices.second_thread.queue(partial(self._encode, image, view))

    def _encode(self, image: SliceImage, view: FieldOfView) -> None:
        self._slices.encode(image, [view], self._cache)
        self._done = time.perf_counter()

    def turn(self, begin: Callable[[], None]) -> Callable[[], None] | None:
        """Begin with the next slice at once, or, for whoever calls what is returned, once prompts are being read."""
        if self._reads_prompts:
            return begin
        begin()
        return None

    def wait(self) -> None:
        """Until what was begun is in the cache.

        Raises:
            Exception: What encoding raised.
        """
        result, self._result = self._result, None
        if result is None:
            return
        before, self._came = self._came, time.perf_counter()
        result()
        # Above 0: for what part of the time the first thread waited for the second; below: the second for the first.
        waited = (self._done - self._came) / max(self._came - before, 1e-6)
        if abs(waited) > self._slices.heuristics.prefetch_prompts:
            self._reads_prompts = waited < 0

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for the slice at hand; what its encoding raises is nothing to those who no longer want it."""
        with suppress(Exception):
            self.wait()
