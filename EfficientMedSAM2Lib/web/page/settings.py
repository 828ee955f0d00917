"""What the page may set, what that may be, and what it is at first."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.interaction import DIRECTIONS
from EfficientMedSAM2Lib.mrml.effect.progress import RANGES


def finite(value: Any) -> float:
    """A number; UserError for what is none."""
    number = float(value)
    if not math.isfinite(number):
        raise UserError("Give a number.")
    return number


#: Settings that the page may change, and what they may be.
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "direction": lambda value: value if value in DIRECTIONS else "both",
    "range_kind": lambda value: value if value in RANGES[:3] else "all",
    "range_value": lambda value: min(max(finite(value), 1.0), 9999.0),
    "stop_when_lost": bool,
    "auto_commit": bool,
    "keep_out": bool,
    "each": bool,
    "network_window": str,
    "include": bool,
    "brush_mm": lambda value: min(max(finite(value), 0.1), 500.0),
    "smooth_mm": lambda value: min(max(finite(value), 0.1), 50.0),
    "fill": lambda value: min(max(finite(value), 0.0), 100.0),
    "outline": bool,
    "slices_in_3d": bool,
    "hover": bool,
    "roi_depth": lambda value: min(max(finite(value or 0), 0.0), 9999.0),
}

DEFAULTS: dict[str, Any] = {
    "direction": "both",
    "range_kind": "all",
    "range_value": 10.0,
    "stop_when_lost": True,
    "auto_commit": True,
    "keep_out": True,
    "each": False,
    "network_window": "",
    "include": True,
    "roi_depth": 0.0,
    "brush_mm": 10.0,
    "smooth_mm": 3.0,
    "fill": 30.0,
    "outline": True,
    "slices_in_3d": True,
    "hover": True,
}
