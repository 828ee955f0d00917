"""What activations look like: views of a real CT and of synthetic pictures, with prompts, for the ranges of INT8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...imaging.windows import apply_window, choose_window, preset_window
from ...resources import sample_scan

if TYPE_CHECKING:
    from ...models import EfficientMedSAM2

Feeds = dict[str, list[dict[str, np.ndarray]]]
VIEWS = 48
"""Of each kind."""


def calibration_views(size: int, count: int = VIEWS, seed: int = 0) -> np.ndarray:
    """Views (2*count,3,size,size) float32 in 0...1: of the CT that comes with slicerio, and synthetic ones."""
    generator = np.random.default_rng(seed)
    views = [*_ct_views(size, count, generator), *(_synthetic_view(size, generator) for _ in range(count))]
    return np.stack([np.repeat(view[None], 3, axis=0) for view in views]).astype(np.float32)


def calibration_feeds(model: EfficientMedSAM2, seed: int = 1) -> Feeds:
    """Inputs of the graphs, by graph: the views; and a box, then a click and a neighbour's mask, in each.

    Args:
        model: The float32 network whose graphs are to be quantised.
        seed: Of boxes and clicks.
    """
    import torch

    from ...models.config import PromptBatch

    generator = np.random.default_rng(seed)
    size = model.config.image_size
    feeds: Feeds = {"encode": [], "decode": [], "memorise": []}
    with torch.inference_mode():
        for view in calibration_views(size):
            feeds["encode"].append({"image": view[None]})
            features = model.encode_image(torch.from_numpy(view[None]))
            alone = model.without_memory(features)
            prompts = PromptBatch.empty(1)
            low, extent = generator.uniform(0.15, 0.35, 2) * size, generator.uniform(0.3, 0.5, 2) * size
            prompts.boxes = torch.from_numpy(np.concatenate([low, low + extent]).astype(np.float32)[None])
            logits = model.decode(alone, prompts).logits[:, :1]
            feeds["decode"].append(_decode_feed(alone, prompts))
            click = PromptBatch.empty(1)
            click.points = torch.from_numpy((low + extent / 2).astype(np.float32)[None, None])
            click.labels = torch.ones(1, 1, dtype=torch.long)
            click.neighbour_logits, click.neighbour_mm = logits, torch.full((1,), 3.0)
            feeds["decode"].append(_decode_feed(alone, click))
            feeds["memorise"].append({"embedding": features.embedding.numpy(), "mask_logits": logits.numpy()})
    return feeds


def _decode_feed(features: Any, prompts: Any) -> dict[str, np.ndarray]:
    from .onnx_network import decode_inputs

    arrays = {name: None if value is None else value.numpy() for name, value in vars(prompts).items()}
    return decode_inputs(
        type(features)(*(part.numpy() for part in features)), type(prompts)(**arrays), features.stride4.shape[-1]
    )


def _ct_views(size: int, count: int, generator: np.random.Generator) -> list[np.ndarray]:
    import SimpleITK

    volume = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(sample_scan())))
    windows = [choose_window(volume, "CT"), preset_window("lung"), preset_window("bone")]
    views = []
    for number in range(count):
        slice_array = volume[int(generator.integers(len(volume)))]
        side = int(generator.uniform(0.15, 1.0) * min(slice_array.shape))
        top, left = (int(generator.integers(extent - side + 1)) for extent in slice_array.shape)
        part = apply_window(slice_array[top : top + side, left : left + side], windows[number % len(windows)])
        views.append(_resized(part, size))
    return views


def _synthetic_view(size: int, generator: np.random.Generator) -> np.ndarray:
    """Smooth noise of random grain, regions cut out of it, and a little speckle: as ultrasound and MR may look."""
    coarse = generator.random((int(generator.integers(4, 24)),) * 2)
    texture = _resized(coarse, size)
    regions = _resized(generator.random((int(generator.integers(3, 8)),) * 2), size) > generator.uniform(0.4, 0.7)
    picture = generator.uniform(0.2, 0.8) * texture + generator.uniform(-0.5, 0.5) * regions
    return np.asarray((picture + generator.normal(0, generator.uniform(0, 0.08), picture.shape)).clip(0, 1))


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    from scipy import ndimage

    factors = [size / extent for extent in picture.shape]
    return np.asarray(ndimage.zoom(picture, factors, order=1, grid_mode=True, mode="nearest"))


__all__ = ["Feeds", "calibration_feeds", "calibration_views"]
