"""InteractiveSession: prompts in, 3D masks out, with undo, propagation and scores per slice. No Slicer, no torch."""

from .history import History
from .predictor import VolumePredictor
from .prompts import (
    BoxPrompt,
    LassoPrompt,
    LinePrompt,
    MaskPrompt,
    PointPrompt,
    Prompt,
    ScribblePrompt,
    line_to_prompts,
)
from .propagation import Propagation, SliceUpdate, StopRule
from .session import InteractiveSession

__all__ = [
    "BoxPrompt",
    "History",
    "InteractiveSession",
    "LassoPrompt",
    "LinePrompt",
    "MaskPrompt",
    "PointPrompt",
    "Prompt",
    "Propagation",
    "ScribblePrompt",
    "SliceUpdate",
    "StopRule",
    "VolumePredictor",
    "line_to_prompts",
]
