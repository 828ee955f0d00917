"""What is known of a network without running it: its sizes, and the names of its encoders. Nothing here needs torch."""

from __future__ import annotations

import dataclasses
import json

from EfficientMedSAM2Lib.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """Sizes of the 3D context network.

    Attributes:
        size: Cells along each edge of its cube.
        channels: Of its input; see `core.context_cube.network_input`.
        widths: Channels at stride 2 and at each half of that resolution, multiples of eight.
        fine_width: Channels at full resolution.
    """

    size: int = 64
    channels: int = 5
    widths: tuple[int, ...] = (24, 40, 64, 112)
    fine_width: int = 16


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of an EfficientMedSAM2 network. Stored as JSON in the metadata of its weights file.

    Attributes:
        encoder_type: Name in the encoder registry, "efficientnet" or "mobilenet".
        image_size: Side of the square network input in pixels.
        embed_dim: Channels of the stride-16 image embedding and of every token.
        skip_dims: Channels of the stride-8 and stride-4 features given to the mask decoder.
        memory_dim: Channels of a memory map and of a memory token.
        num_heads: Heads of every attention.
        feed_forward: Hidden width of the mask decoder's feed-forward parts.
        decoder_depth: Number of two-way blocks in the mask decoder.
        num_multimask: Candidate masks for an ambiguous prompt, besides the single mask.
        max_memories: Memory maps attended to at once: conditioning slices and nearest slices together.
        mask_stride: Network pixels per pixel of the mask logits, 2 or 4. At 2 the decoder adds what features of stride
            2 and dense maps of the prompts say; weights that do not name it have 4.
        fine_dim: Channels of the stride-2 features.
        context: Of the 3D context network; None where the weights have none.
    """

    encoder_type: str = "efficientnet"
    image_size: int = 256
    embed_dim: int = 192
    skip_dims: tuple[int, int] = (96, 48)
    memory_dim: int = 64
    num_heads: int = 4
    feed_forward: int = 512
    decoder_depth: int = 1
    num_multimask: int = 3
    max_memories: int = 7
    mask_stride: int = 4
    fine_dim: int = 16
    context: ContextConfig | None = None

    @property
    def embedding_size(self) -> int:
        """Side of the stride-16 embedding in tokens."""
        return self.image_size // 16

    @property
    def low_res_size(self) -> int:
        """Side of the mask logits in pixels."""
        return self.image_size // self.mask_stride

    @property
    def is_fine(self) -> bool:
        """Whether masks have stride 2, and prompts dense maps."""
        return self.mask_stride == 2

    def to_json(self) -> str:
        """The configuration as a JSON object."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            UserError: The text is not a configuration of this version.
        """
        try:
            values = json.loads(text)
            values["skip_dims"] = tuple(values["skip_dims"])
            if values.get("context") is not None:
                context = {**values["context"], "widths": tuple(values["context"]["widths"])}
                values["context"] = ContextConfig(**context)
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise UserError(f"Not an EfficientMedSAM2 model configuration: {error}") from error


_ENCODERS = {"efficientnet": "efficientnet_lite0", "mobilenet": "mobilenetv3_large_100"}


def register_encoder(encoder_type: str, timm_name: str) -> None:
    """Make a timm architecture available as `encoder_type`; its stages at stride 4, 8 and 16 are used.

    Raises:
        ValueError: The name is taken.
    """
    if encoder_type in _ENCODERS:
        raise ValueError(f"An encoder named {encoder_type!r} is registered already; choose another name.")
    _ENCODERS[encoder_type] = timm_name


def timm_architecture(encoder_type: str) -> str:
    """timm's name of a registered trunk.

    Raises:
        UserError: No such name.
    """
    try:
        return _ENCODERS[encoder_type]
    except KeyError:
        raise UserError(f"Unknown encoder {encoder_type!r}; choose one of {', '.join(encoder_types())}.") from None


def encoder_types() -> list[str]:
    """Names that `build_efficient_medsam2_model` accepts."""
    return sorted(_ENCODERS)
