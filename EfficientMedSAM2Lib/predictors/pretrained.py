"""From a name or a file to a predictor, as SAM2's `from_pretrained` does it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.models.config import ModelConfig, encoder_types
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
from EfficientMedSAM2Lib.runtimes.network import Network
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import SUFFIX
from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

_BUILD_ARGUMENTS = ("device", "use_half_precision", "encoder_type", "runtime", "precision", "task")
_OF_SAM2 = ("mode", "hydra_overrides_extra", "apply_postprocessing", "vos_optimized")
"""What SAM2's builders take and this network has no use for."""


class FromPretrained:
    """The class method, for a predictor that is made of a network."""

    def __init__(self, model: Network, **kwargs: Any) -> None:
        self.model = model

    @classmethod
    def from_pretrained(cls, model_id: str | os.PathLike[str], **kwargs: Any) -> Self:
        """A predictor with shipped or own weights.

        Args:
            model_id: An encoder's name ("efficientnet", "mobilenet"), or the path of a weights file, which says which
                encoder it is for.
            **kwargs: For the constructor, or for `build_efficient_medsam2_model` (device, use_half_precision,
                encoder_type, runtime, precision, task).

        Raises:
            UserError: Neither an encoder nor a usable weights file.
        """
        network, rest = pretrained_network(model_id, kwargs)
        return cls(network, **rest)


def pretrained_network(model_id: str | os.PathLike[str], arguments: dict[str, Any]) -> tuple[Network, dict[str, Any]]:
    """The network that a name or a file stands for.

    Args:
        model_id: An encoder's name ("efficientnet", "mobilenet"), or the path of a weights file, which says which
            encoder it is for.
        arguments: Those of `build_efficient_medsam2_model` (device, use_half_precision, encoder_type, runtime,
            precision, task), with others.

    Returns:
        The network, and the other arguments.

    Raises:
        UserError: As `build_efficient_medsam2_model`, or neither an encoder nor a file.
    """
    build = {name: arguments[name] for name in _BUILD_ARGUMENTS if name in arguments}
    rest = {name: value for name, value in arguments.items() if name not in (*_BUILD_ARGUMENTS, *_OF_SAM2)}
    if str(model_id) in encoder_types():
        return build_efficient_medsam2_model(**{**build, "encoder_type": str(model_id)}), rest
    if not Path(model_id).is_file():
        raise UserError(f"{str(model_id)!r} is neither {' nor '.join(map(repr, encoder_types()))} nor a weights file.")
    build.setdefault("encoder_type", encoder_of(model_id))
    return build_efficient_medsam2_model(checkpoint=model_id, **build), rest


def weights_of(folder: str | os.PathLike[str]) -> Path:
    """The weights that a model's folder stands for.

    Args:
        folder: A weights file of this program or a folder with one, or an encoder's name. Of any other folder, such as
            the model of another program, nothing is used: the shipped weights are taken, and the log says so.
    """
    if str(folder) in encoder_types():
        return shipped_weights(str(folder))
    given = Path(folder)
    if given.is_file():
        return given
    found = sorted(path for pattern in ("*.safetensors", f"*{SUFFIX}") for path in given.glob(pattern))
    if found:
        return found[0]
    logger.warning("%s holds no weights of EfficientMedSAM2; the shipped ones are used.", folder)
    return shipped_weights(ModelConfig().encoder_type)


__all__ = ["FromPretrained", "pretrained_network", "weights_of"]
