"""MedSAM2's network: SAM2.1-Hiera-T at 512 pixels, through PyPI `sam2`.

Its predictor differs from sam2's own in `init_state`, which takes slices instead of a video file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

from EfficientMedSAM2Lib.evaluation.methods.interface import BOX, CLICKS, VOLUME, Guess, VolumeGuess
from EfficientMedSAM2Lib.learning.teachers.medsam2_network import build_medsam2, model_input


def init_state(network: Any, slices: Any) -> dict[str, Any]:
    """Start a volume, as MedSAM2's own `init_state` does: all slices resized and normalised, the first one encoded.

    Args:
        network: from `build_medsam2`.
        slices: (D, H, W) or (D, H, W, 3) float32, windowed to 0..1; anything with a shape that gives them one by one.

    Returns:
        sam2's inference state.
    """
    images = model_input(slices, network.image_size).to(network.device)
    with patch("sam2.sam2_video_predictor.load_video_frames", return_value=(images, *slices.shape[1:3])):
        state: dict[str, Any] = network.init_state(video_path="")
    return state


def follow(network: Any, state: dict[str, Any], start: int, reverse: bool = False) -> Iterator[tuple[int, Any]]:
    """Propagate; yields slice and logits (H, W) of the first object, the slice where it starts included."""
    # sam2 draws a progress bar of its own.
    with patch("sam2.sam2_video_predictor.tqdm", side_effect=lambda frames, **_: frames):
        for number, _, logits in network.propagate_in_video(state, start, reverse=reverse):
            yield number, logits[0, 0]


class MedSAM2Contestant:
    """MedSAM2's network behind the interface of all contestants; without a checkpoint only its speed means anything."""

    name = "medsam2"
    protocols: tuple[str, ...] = (BOX, CLICKS, VOLUME)

    def __init__(self, network: Any = None) -> None:
        self._network = build_medsam2() if network is None else network

    def set_image(self, image: np.ndarray, spacing_mm: tuple[float, float]) -> None:  # noqa: ARG002
        """Encode a slice, as a volume of one."""
        self._state = init_state(self._network, image[None])

    def segment_box(self, box: np.ndarray) -> Guess:
        """Ask for a mask, without earlier prompts."""
        self._network.reset_state(self._state)
        return self._prompt(box=box)

    def segment_clicks(self, points_xy: np.ndarray, labels: np.ndarray) -> Guess:
        """Take the best of three for the first click, then refine it."""
        if len(points_xy) == 1:
            self._network.reset_state(self._state)
        return self._prompt(points=np.asarray(points_xy, np.float32), labels=np.asarray(labels, np.int32))

    def _prompt(self, **prompt: Any) -> Guess:
        _, _, logits = self._network.add_new_points_or_box(self._state, frame_idx=0, obj_id=1, **prompt)
        return Guess(logits[0, 0].cpu().numpy() > 0, None)

    def segment_volume(
        self,
        volume: np.ndarray,
        spacing_mm: tuple[float, float, float],  # noqa: ARG002
        axis: int,
        index: int,
        box: np.ndarray,
    ) -> VolumeGuess:
        """Propagate from the boxed slice to both ends, as MedSAM2's script does: started anew for each direction."""
        found = VolumeGuess(np.zeros(volume.shape[:3], bool))
        target = np.moveaxis(found.mask, axis, 0)
        state = init_state(self._network, np.moveaxis(volume, axis, 0))
        for reverse in (False, True):
            self._network.reset_state(state)
            self._network.add_new_points_or_box(state, frame_idx=index, obj_id=1, box=box)
            for number, logits in follow(self._network, state, index, reverse):
                target[number] = logits.cpu().numpy() > 0
        return found
