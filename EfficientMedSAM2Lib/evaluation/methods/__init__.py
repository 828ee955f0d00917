"""What is compared: our network, LiteMedSAM, the inscribed ellipse and Slicer's Grow from seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from EfficientMedSAM2Lib.evaluation.methods.ellipse import EllipseContestant, inscribed_ellipse
from EfficientMedSAM2Lib.evaluation.methods.grow_from_seeds import GrowFromSeedsContestant
from EfficientMedSAM2Lib.evaluation.methods.interface import BOX, CLICKS, VOLUME, Contestant, Guess, VolumeGuess
from EfficientMedSAM2Lib.evaluation.methods.litemedsam import LiteMedSAMContestant
from EfficientMedSAM2Lib.evaluation.methods.ours import OurContestant

__all__ = [
    "BOX",
    "CLICKS",
    "VOLUME",
    "Contestant",
    "EllipseContestant",
    "GrowFromSeedsContestant",
    "Guess",
    "LiteMedSAMContestant",
    "OurContestant",
    "VolumeGuess",
    "contestant_builders",
    "inscribed_ellipse",
]


def contestant_builders(build_model: Callable[[], Any]) -> dict[str, Callable[[], Contestant]]:
    """Name every contestant; nothing is loaded before it is asked for."""
    return {
        "ours": lambda: OurContestant(build_model()),
        "litemedsam": LiteMedSAMContestant,
        "ellipse": EllipseContestant,
        "growfromseeds": GrowFromSeedsContestant,
    }
