"""How the page draws prompts: thin, without names and handles, green where they include, red where they exclude."""

from __future__ import annotations

from typing import Any

from EfficientMedSAM2Lib.mrml.scene.prompt_store import (
    EXCLUDE_COLOR,
    KIND_ATTRIBUTE,
    SEGMENT_ATTRIBUTE,
    prompt_nodes,
)

INCLUDE, SHAPE = (0.35, 1.0, 0.45), (0.45, 0.85, 1.0)
#: Size of a mark in percent of the view, and thickness of lines as a share of it.
GLYPH_PERCENT, LINE_SHARE = 2.2, 0.2
_STYLED = "EfficientMedSAM2.Styled"


def style_prompts(segmentation_node: Any, selected_id: str) -> None:
    """Give all prompts of a segmentation their display properties; show those of the selected segment only."""
    for node in prompt_nodes(segmentation_node):
        display = node.GetDisplayNode()
        if node.GetAttribute(_STYLED) is None:
            node.SetAttribute(_STYLED, "1")
            _style(node, display)
        visible = int(node.GetAttribute(SEGMENT_ATTRIBUTE) == selected_id)
        if display.GetVisibility() != visible:
            display.SetVisibility(visible)


def _style(node: Any, display: Any) -> None:
    """What the page wants besides the properties that `prompt_store` sets everywhere."""
    display.SetPropertiesLabelVisibility(False)
    display.SetPointLabelsVisibility(False)
    if display.GetSelectedColor() != EXCLUDE_COLOR:
        display.SetSelectedColor(*(INCLUDE if node.GetAttribute(KIND_ATTRIBUTE) == "point" else SHAPE))
    display.SetActiveColor(*SHAPE)
    display.SetGlyphType(display.ThickCross2D)
    display.SetUseGlyphScale(True)  # in parts of the view: the same at any zoom
    display.SetGlyphScale(GLYPH_PERCENT)
    display.SetCurveLineSizeMode(display.UseLineThickness)
    display.SetLineThickness(LINE_SHARE)
    display.SetSliceProjection(False)
    if node.GetAttribute(KIND_ATTRIBUTE) == "box":
        display.SetOutlineOpacity(0.9)
        for number in range(node.GetNumberOfControlPoints()):
            node.SetNthControlPointVisibility(number, False)
