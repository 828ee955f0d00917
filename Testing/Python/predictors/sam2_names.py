"""What SAM2's predictors offer to scripts: names, parameters and keys, read from the package `sam2` where it is there.

    python Testing/Python/predictors/sam2_names.py

writes `sam2_names.json` beside it, which the tests take where `sam2` is not installed.
"""

from __future__ import annotations

import inspect
import json
import tempfile
from pathlib import Path

RECORD = Path(__file__).with_suffix(".json")
CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
#: What scripts call on the video predictor because it is a torch module; the rest of torch's names is not SAM2's.
OF_MODULES = (
    "cpu",
    "cuda",
    "eval",
    "load_state_dict",
    "named_parameters",
    "parameters",
    "state_dict",
    "to",
    "train",
    "training",
)


def parameters(function) -> list[str]:
    """Names of the parameters of a method, without self."""
    found = inspect.signature(function).parameters.values()
    return [p.name for p in found if p.name != "self" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def methods(kind, names) -> dict[str, list[str] | None]:
    """Parameters of each method; None for what is none."""
    found = {name: getattr(kind, name, None) for name in names}
    return {name: parameters(value) if inspect.isroutine(value) else None for name, value in found.items()}


def inspect_sam2() -> dict[str, dict[str, list[str] | None]]:
    """The names by class, with parameters of methods; and the keys of a state."""
    import numpy as np
    import torch
    from PIL import Image
    from sam2.build_sam import build_sam2, build_sam2_video_predictor
    from sam2.sam2_image_predictor import SAM2ImagePredictor
    from sam2.sam2_video_predictor import SAM2VideoPredictor

    images = SAM2ImagePredictor(build_sam2(CONFIG, None, device="cpu"))
    image_names = [name for name in dir(SAM2ImagePredictor) if not name.startswith("__")]
    video = build_sam2_video_predictor(CONFIG, None, device="cpu")
    module = torch.nn.Module()
    own = {*dir(SAM2VideoPredictor), *vars(video), *video._modules, *video._parameters} - {*dir(module), *vars(module)}
    public = sorted(name for name in own if not name.startswith("_"))
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(Path(folder) / "0.jpg")
        keys = sorted(video.init_state(folder))
    return {
        "SAM2ImagePredictor": methods(images, sorted({*image_names, *vars(images)})),
        "SAM2VideoPredictor": methods(
            SAM2VideoPredictor, sorted({*public, *OF_MODULES, "_apply_non_overlapping_constraints"})
        ),
        "state": dict.fromkeys(keys),
    }


if __name__ == "__main__":
    RECORD.write_text(json.dumps(inspect_sam2(), indent=1) + "\n", encoding="utf-8")
