"""The network for the effect: loaded once for all editors, warmed up, and computing features in idle times."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.interaction import InteractiveSession
from EfficientMedSAM2Lib.interaction.predictor import warm_up
from EfficientMedSAM2Lib.runtimes import choice

logger = logging.getLogger(__name__)

#: Slices on each side of an answered one whose features are computed while the user thinks.
PREFETCH_REACH = 3
#: The one network that the process keeps, by the content of its weights and how it computes.
_kept: dict[tuple[Any, ...], Any] = {}


def missing_packages(build_arguments: dict[str, Any]) -> list[str]:
    """Names of the packages that have to be set up before ``load_predictor`` with these arguments."""
    try:
        wanted = (build_arguments[name] for name in ("encoder_type", "checkpoint", "device"))
        return choice.missing_packages(*wanted)
    except UserError:  # of the weights, which loading them says better
        return []


def load_predictor(
    encoder_type: str = "efficientnet",
    checkpoint: str | None = None,
    device: str = "auto",
    use_half_precision: bool = True,
    task: str | None = None,
) -> Any:
    """EfficientMedSAM2VolumePredictor, warmed up. Takes seconds the first time: call it in a worker thread.

    Args:
        encoder_type: As for ``build_efficient_medsam2_model``, like the others.
        checkpoint: A ``.safetensors`` file, "random", or None for the shipped one.
        device: "auto", "cuda", "mps" or "cpu".
        use_half_precision: Compute in half precision where that keeps the masks.
        task: A ``.task`` file: what the network has learnt of one structure; None for any structure.

    Raises:
        UserError: the weights or the task cannot be used.
        ImportError: PyTorch or another package is missing or broken.
    """
    key = (_content(encoder_type, checkpoint), task and _content(encoder_type, task), device, use_half_precision)
    if key not in _kept:
        start = time.perf_counter()
        from EfficientMedSAM2Lib.predictors import EfficientMedSAM2VolumePredictor
        from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model

        _kept.clear()  # the memory of the old network is free before the new one is built
        build: dict[str, Any] = {
            "device": device,
            "use_half_precision": use_half_precision,
            "runtime": "auto",
            "task": task,
        }
        model = build_efficient_medsam2_model(encoder_type, checkpoint, **build)
        predictor = EfficientMedSAM2VolumePredictor(model)
        built = time.perf_counter()
        warm_up(predictor)
        logger.info(
            "Network ready on %s: loaded in %.1f s, warmed up in %.1f s.",
            predictor.device,
            built - start,
            time.perf_counter() - built,
        )
        _kept[key] = predictor
    return _kept[key]


def _content(encoder_type: str, checkpoint: str | None) -> str:
    """Identity of weights: the hash of their file, or the encoder where there is none."""
    path = Path(checkpoint) if checkpoint else shipped_weights(encoder_type)
    return sha256_of(path) if path.is_file() else f"{encoder_type} {checkpoint}"


def features_of(engine: InteractiveSession, index: int, axis: int, segment: str | None = None) -> Callable[[Any], None]:
    """Work for idle times: the features of a slice that will probably be asked about."""
    return lambda _job: engine.prefetch(index, axis, segment)


def features_around(engine: InteractiveSession, segment: str) -> list[Callable[[Any], None]]:
    """Work for idle times: those of the slices around the prompts of a segment, the nearest first."""
    if segment not in engine.segments:
        return []
    axis, prompted = engine.slicing_axis(segment), engine.conditioning_slices(segment)
    steps = range(1, PREFETCH_REACH + 1) if prompted else ()
    slices = [index for step in steps for index in (prompted[-1] + step, prompted[0] - step)]
    return [features_of(engine, index, axis, segment) for index in slices]
