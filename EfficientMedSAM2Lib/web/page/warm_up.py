"""Everything that a reader's first click needs runs once before a reader comes, on a small volume that is not shown.

The first picture with a prompt of each kind took a quarter of a second: a software renderer compiles its shaders then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from EfficientMedSAM2Lib.core.boxes import box_shape
from EfficientMedSAM2Lib.imaging.volumes import Volume
from EfficientMedSAM2Lib.interaction import MarkupPrompt
from EfficientMedSAM2Lib.mrml.markups_reader import box_of, line_between, point_at
from EfficientMedSAM2Lib.mrml.scene.prompt_store import show_prompts
from EfficientMedSAM2Lib.mrml.segment_voxels import Change, write_change
from EfficientMedSAM2Lib.web.page.commands import Commands
from EfficientMedSAM2Lib.web.session.measurements import Measurements
from EfficientMedSAM2Lib.web.session.surfaces import Surfaces
from EfficientMedSAM2Lib.web.views.prompt_style import style_prompts

logger = logging.getLogger(__name__)

WIDTH, DEPTH = 32, 8


def warm_up(commands: Commands, measurements: Measurements, surfaces: Surfaces, opened: Callable[[], None]) -> None:
    """Open a volume, prompt, write and draw a segment, and close it. The page must not be shown while this runs.

    When it fails, the first click is slower; that is all.

    Args:
        commands: The page's commands.
        measurements: The page's measurements; cleared afterwards.
        surfaces: The page's surfaces; cleared afterwards.
        opened: What the page does when a volume was opened.
    """
    try:
        _use_everything(commands, surfaces, opened)
    except Exception:
        logger.exception("The warm-up failed.")
    finally:
        commands.roi.drop()
        surfaces.clear()
        measurements.clear()
        commands.viewer.close_volume()
        commands.tool("navigate")


def _use_everything(commands: Commands, surfaces: Surfaces, opened: Callable[[], None]) -> None:
    viewer = commands.viewer
    array = np.zeros((DEPTH, WIDTH, WIDTH), np.int16)
    viewer.open(Volume(array, np.diag([1.0, 1.0, 4.0, 1.0]), "CT", "warm-up"))
    opened()
    segment, volume_node = commands.segments.selected, viewer.volume_node
    inside = [[2, 5], [8, 24], [8, 24]]
    middle = commands.views.world
    mask = np.ones(box_shape(inside), bool)
    viewer.port.save_state_for_undo()
    write_change(viewer.port, Change(mask, mask, (2, 8, 8)))
    prompts: list[MarkupPrompt] = [
        point_at(middle, volume_node),
        point_at(middle + 2, volume_node, False),
        box_of([[3, 4], [8, 24], [8, 24]], volume_node),
        line_between(middle, np.add(middle, (6, 6, 0)), volume_node),
    ]
    show_prompts(viewer.segmentation_node, volume_node, segment, prompts)
    style_prompts(viewer.segmentation_node, segment)
    commands.roi.draw(inside, 0, None)
    for _first_seen_then_made in range(2):
        surfaces.update(0.0)
    for view in viewer.app.view_manager.get_views():
        view.render_window().Render()
