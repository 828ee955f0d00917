"""All that a reader's first click needs is done once before somebody comes, on a small volume that nobody sees.

The first picture with a prompt of each kind took a quarter of a second: a software renderer compiles its shaders then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.mrml.markups_reader import box_of, line_between, point_at
from EfficientMedSAM2Lib.mrml.scene.prompt_store import show_prompts
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, write_change
from EfficientMedSAM2Lib.web.views.prompt_looks import dress

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.web.page.application import Page

logger = logging.getLogger(__name__)

SIDE, DEPTH = 32, 8


def rehearse(page: Page) -> None:
    """Open a volume, prompt, write and draw a segment, and forget it all. The page must not be shown meanwhile.

    When it fails, the first click is slower; that is all.
    """
    try:
        _play(page)
    except Exception:
        logger.exception("The rehearsal failed.")
    finally:
        page.roi.drop()
        page.surfaces.clear()
        page.measurements.clear()
        page.desk.close_volume()
        page.commands.tool("navigate")


def _play(page: Page) -> None:
    desk = page.desk
    array = np.zeros((DEPTH, SIDE, SIDE), np.int16)
    desk.open(Volume(array, np.diag([1.0, 1.0, 4.0, 1.0]), "CT", "rehearsal"))
    page.opened()
    segment, volume_node = page.commands.segments.selected, desk.volume_node
    inside = [[2, 5], [8, 24], [8, 24]]
    middle = page.views.world
    mask = np.ones([high - low for low, high in inside], bool)
    desk.port.save_state_for_undo()
    write_change(desk.port, Change(mask, mask, (2, 8, 8)))
    prompts = [
        point_at(middle, volume_node),
        point_at(middle + 2, volume_node, False),
        box_of([[3, 4], [8, 24], [8, 24]], volume_node),
        line_between(middle, np.add(middle, (6, 6, 0)), volume_node),
    ]
    show_prompts(desk.segmentation_node, volume_node, segment, prompts)
    dress(desk.segmentation_node, segment)
    page.roi.draw(inside, 0, None)
    for _first_seen_then_made in range(2):
        page.surfaces.update(0.0)
    for view in desk.app.view_manager.get_views():
        view.render_window().Render()
