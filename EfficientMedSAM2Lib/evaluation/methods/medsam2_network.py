"""MedSAM2's network: SAM2.1-Hiera-T at 512 pixels, built through PyPI `sam2`.

MedSAM2 (arXiv 2504.03600) is SAM2.1 with Hiera-T, fine-tuned at 512 instead of 1024 pixels. Its configuration
differs from sam2's own `sam2.1_hiera_t` in the image size and in the size of the feature map that the rotary position
encoding starts from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError

CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"
STRIDE = 16
INSTALL = (
    "MedSAM2's network needs PyPI's sam2; run `SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2` (Python 3.10 "
    "or newer)."
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_medsam2(checkpoint: Path | None = None, image_size: int = 512, device: str = "cpu") -> Any:
    """Build MedSAM2's network as a `SAM2VideoPredictor` in evaluation mode, without gradients.

    Args:
        checkpoint: MedSAM2's or SAM2.1-Hiera-T's weights (`.pt`); None: random ones, the same every time.
        image_size: side of the square input in pixels, a multiple of 32.
        device: where the network runs.

    Returns:
        The network, with sam2's methods: `forward_image`, `add_new_points_or_box`, `propagate_in_video`, ...

    Raises:
        UserError: sam2 is not installed, or the checkpoint is missing or no such network's.
    """
    import torch

    from EfficientMedSAM2Lib.models.timm_import import import_timm

    import_timm()  # sam2 imports torchvision too
    try:
        from sam2.build_sam import build_sam2_video_predictor
    except ImportError as error:
        raise UserError(INSTALL) from error
    side = image_size // STRIDE
    overrides = [
        f"++model.image_size={image_size}",
        f"++model.memory_attention.layer.self_attention.feat_sizes=[{side},{side}]",
        f"++model.memory_attention.layer.cross_attention.feat_sizes=[{side},{side}]",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
        "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
        "++model.binarize_mask_from_pts_for_mem_enc=true",
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Post-processing is what the overrides above say, without the filling of holes, which needs a CUDA compiler.
        network = build_sam2_video_predictor(
            CONFIG, device="cpu", hydra_overrides_extra=overrides, apply_postprocessing=False
        )
    if checkpoint is not None:
        _load(network, Path(checkpoint))
    return network.requires_grad_(False).eval().to(device)


def _load(network: Any, checkpoint: Path) -> None:
    import torch

    if not checkpoint.is_file():
        raise UserError(f"{checkpoint} does not exist; give MedSAM2's checkpoint, or leave it out.")
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch errors of all kinds
        raise UserError(f"{checkpoint} cannot be read as a checkpoint of tensors: {_first_line(error)}") from error
    weights = state.get("model", state) if isinstance(state, dict) else {}
    if not isinstance(weights, dict):
        weights = {}
    found, wanted = _shapes(weights), _shapes(network.state_dict())
    if found != wanted:
        odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        how = f": {len(odd)} tensors differ, such as {odd[0]}" if found.keys() & wanted.keys() else ""
        raise UserError(f"{checkpoint} holds no weights of MedSAM2 (SAM2.1-Hiera-T){how}.")
    network.load_state_dict(weights)


def _shapes(weights: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(value.shape) for name, value in weights.items() if hasattr(value, "shape")}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def model_input(slices: np.ndarray, image_size: int) -> Any:
    """Slices (D, H, W) or (D, H, W, 3) in 0..1 as normalised (D, 3, image_size, image_size) float32 tensor."""
    import torch

    images = torch.empty(len(slices), 3, image_size, image_size)
    for number, picture in enumerate(slices):
        tensor = torch.from_numpy(np.ascontiguousarray(picture, np.float32))
        channels = tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)
        if channels.shape[-2:] != (image_size, image_size):
            size = (image_size, image_size)
            channels = torch.nn.functional.interpolate(channels[None], size=size, mode="bilinear", antialias=True)[0]
        images[number] = channels
    return images.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])
