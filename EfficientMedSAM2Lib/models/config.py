"""The one description of a network: everything needed to build it again from its weights file."""

from __future__ import annotations

import dataclasses
import json


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
        feed_forward: Hidden width of the transformers' feed-forward parts.
        decoder_depth: Number of two-way blocks in the mask decoder.
        num_multimask: Candidate masks for an ambiguous prompt, besides the single mask.
        max_memories: Memory maps attended to at once: conditioning slices and nearest slices together.
    """

    encoder_type: str = "efficientnet"
    image_size: int = 256
    embed_dim: int = 192
    skip_dims: tuple[int, int] = (96, 48)
    memory_dim: int = 64
    num_heads: int = 4
    feed_forward: int = 512
    decoder_depth: int = 2
    num_multimask: int = 3
    max_memories: int = 7

    @property
    def embedding_size(self) -> int:
        """Side of the stride-16 embedding in tokens."""
        return self.image_size // 16

    @property
    def low_res_size(self) -> int:
        """Side of the stride-4 mask logits in pixels."""
        return self.image_size // 4

    def to_json(self) -> str:
        """The configuration as a JSON object."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what `to_json` wrote.

        Raises:
            ValueError: The text is not a configuration of this version.
        """
        try:
            values = json.loads(text)
            values["skip_dims"] = tuple(values["skip_dims"])
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"Not an EfficientMedSAM2 model configuration: {error}") from error
