"""Others like the selected segment: looked for in idle times, accepted or dropped one by one. As in the effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from EfficientMedSAM2Lib.pipeline.find_rest import search_others
from EfficientMedSAM2Lib.web.session.viewer_session import ViewerSession
from EfficientMedSAM2Lib.web.views.slice_views import SliceViews


class FindCommands:
    """Commands on the search for others, and on the proposal that waits for an answer.

    Args:
        viewer: The scene.
        views: Where a proposal is shown.
    """

    def __init__(self, viewer: ViewerSession, views: SliceViews) -> None:
        self.viewer, self.views = viewer, views
        self.viewer.controller.find = search_others
        self._shown: Any = None  # the proposal that the views were brought to

    @property
    def by_name(self) -> dict[str, Callable[..., None]]:
        """The commands."""
        return {"find_others": self.viewer.controller.find_others}

    @property
    def is_offered(self) -> bool:
        """Whether a proposal waits to be accepted or dropped; a preview, which is of a segment, comes before it."""
        return self.viewer.controller.proposal is not None and not self.viewer.controller.has_preview

    def show_new(self) -> None:
        """Bring the views and the crosshair to a proposal that has not been shown yet."""
        proposal = self.viewer.controller.proposal
        if proposal is self._shown:
            return
        self._shown = proposal
        if proposal is not None:
            self.views.point_at_voxel(proposal.place_kji)
