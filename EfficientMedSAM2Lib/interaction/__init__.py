"""InteractiveSession: prompts in, 3D masks out, with undo, propagation and scores per slice. No Slicer, no torch."""

from EfficientMedSAM2Lib.interaction.checks import DIRECTIONS
from EfficientMedSAM2Lib.interaction.history import History
from EfficientMedSAM2Lib.interaction.predictor import VolumePredictor
from EfficientMedSAM2Lib.interaction.prompt_calls import LESION, base_name, check_each, numbered_name
from EfficientMedSAM2Lib.interaction.prompts import (
    PROMPT_ORDER,
    BoxPrompt,
    LassoPrompt,
    LinePrompt,
    MarkupPrompt,
    MaskPrompt,
    Origin,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    line_to_prompts,
    prompted_slices,
)
from EfficientMedSAM2Lib.interaction.propagation import Propagation, SliceUpdate, StopRule
from EfficientMedSAM2Lib.interaction.session import InteractiveSession

__all__ = [
    "DIRECTIONS",
    "LESION",
    "PROMPT_ORDER",
    "BoxPrompt",
    "History",
    "InteractiveSession",
    "LassoPrompt",
    "LinePrompt",
    "MarkupPrompt",
    "MaskPrompt",
    "Origin",
    "PointPrompt",
    "Prompt",
    "Propagation",
    "ScribblePrompt",
    "SliceUpdate",
    "StopRule",
    "VolumePredictor",
    "base_name",
    "check_each",
    "line_to_prompts",
    "numbered_name",
    "prompted_slices",
]
