"""Features of the slice that comes next, computed in the inference thread while the slice at hand is decoded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from EfficientMedSAM2Lib.predictors.slices.feature_cache import FeatureCache
from EfficientMedSAM2Lib.predictors.slices.slice_data import SliceImage
from EfficientMedSAM2Lib.predictors.slices.slice_predictor import SlicePredictor
from EfficientMedSAM2Lib.predictors.viewport import Viewport


class FeaturePrefetcher:
    """Encodes at most one slice at a time; nothing is left running after a `with` statement, the thread neither.

    Does nothing where there is no inference thread.

    Args:
        predictor: Asks the network.
        cache: Where the features go.
    """

    def __init__(self, predictor: SlicePredictor, cache: FeatureCache) -> None:
        self._predictor, self._cache = predictor, cache
        self._result: Callable[[], Any] | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether anything is ever encoded here."""
        return self._predictor.inference_thread.is_enabled

    def schedule_next(self, image: SliceImage, viewport: Viewport | None) -> None:
        """Start to encode a slice in the viewport that it will probably be seen in; None: nobody knows which."""
        if self.is_enabled and viewport is not None:
            self._result = self._predictor.inference_thread.submit(
                lambda: self._predictor.encode(image, [viewport], self._cache)
            )

    def wait(self) -> None:
        """Until the scheduled slice is in the cache.

        Raises:
            Exception: What encoding raised.
        """
        result, self._result = self._result, None
        if result is not None:
            result()

    def __enter__(self) -> FeaturePrefetcher:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for the scheduled slice; what its encoding raises is nothing to those who no longer want it."""
        with suppress(Exception):
            self.wait()
        self._predictor.inference_thread.close()
