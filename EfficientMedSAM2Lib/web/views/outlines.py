"""Outlines of what is not written yet, in the slice views: drawn anew only where something has changed."""

from __future__ import annotations

import time
from typing import Any

from EfficientMedSAM2Lib.mrml.effect.controller import EffectController
from EfficientMedSAM2Lib.mrml.effect.view_geometry import view_slice
from EfficientMedSAM2Lib.web.views.prompt_effect import PromptEffect

#: While propagation goes on, views across its slices are drawn anew so often, in seconds: each of them changes with
#: every slice, and every picture takes time from the network.
ACROSS_S = 1.0


class Outlines:
    """Shows the preview of a controller.

    Args:
        effect: Has the slice views.
        controller: Has the preview.
    """

    def __init__(self, effect: PromptEffect, controller: EffectController) -> None:
        self._effect, self._controller = effect, controller
        self._seen: dict[str, Any] = {}  # slice node: what is shown of the slice
        self._across_at = 0.0

    def update(self) -> None:
        """Bring them up to date. Call it whenever something may have changed."""
        if not self._controller.activity.is_propagation:
            self._seen = {}
            self._effect.show_mask(self._controller.preview_image())
            return
        now, due = time.monotonic(), []
        is_time = now - self._across_at >= ACROSS_S
        for view in self._effect.views:
            node = view.GetViewNode()
            key = self._slice_key(node)
            if key is None and is_time:
                self._across_at = now
            if is_time if key is None else self._seen.get(node.GetID()) != key:
                self._seen[node.GetID()] = key
                due.append(view)
        if due:
            self._effect.show_mask(self._controller.preview_image(), due)

    def _slice_key(self, node: Any) -> Any:
        """What is known of the slice that a view shows; None for a view across the slices."""
        scores = self._controller.scores
        axis, index = view_slice(node, self._effect.viewer.volume_node)
        if axis != scores.axis:
            return None
        return index, scores.scores.get(index), index in scores.stale
