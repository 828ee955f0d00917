"""What is known of a network without running it: its sizes, the names of its encoders, what it takes and gives.

Nothing here needs torch. The bundles hold tensors of a torch network, and numpy arrays of an exported one.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

Array = Any
"""A torch tensor or a numpy array, whichever the network at hand computes with."""
Rectangle = tuple[float, float, float, float]
"""Left, top, width and height of a field of view in pixels of its slice."""


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
            ValueError: The text is not a configuration of this version.
        """
        try:
            values = json.loads(text)
            values["skip_dims"] = tuple(values["skip_dims"])
            if values.get("context") is not None:
                context = {**values["context"], "widths": tuple(values["context"]["widths"])}
                values["context"] = ContextConfig(**context)
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"Not an EfficientMedSAM2 model configuration: {error}") from error


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
        ValueError: No such name.
    """
    try:
        return _ENCODERS[encoder_type]
    except KeyError:
        raise ValueError(f"Unknown encoder {encoder_type!r}; choose one of {', '.join(encoder_types())}.") from None


def encoder_types() -> list[str]:
    """Names that `build_efficient_medsam2_model` accepts."""
    return sorted(_ENCODERS)


class ImageFeatures(NamedTuple):
    """What the encoder knows of an image.

    Attributes:
        embedding: (B, embed_dim, S/16, S/16).
        stride8: (B, skip_dims[0], S/8, S/8).
        stride4: (B, skip_dims[1], S/4, S/4).
        stride2: (B, fine_dim, S/2, S/2); None where masks have stride 4.
    """

    embedding: Array
    stride8: Array
    stride4: Array
    stride2: Array | None = None

    def select(self, index: Array) -> ImageFeatures:
        """The features of chosen images, one for each entry of index (P,)."""
        return self.map(lambda part: part[index])

    def map(self, function: Callable[[Array], Array]) -> ImageFeatures:
        """A function of each array."""
        return ImageFeatures(*(part if part is None else function(part) for part in self))

    @property
    def nbytes(self) -> int:
        """Bytes that the features occupy."""
        return sum(int(part.nbytes) for part in self if part is not None)


class MemoryBank(NamedTuple):
    """Memories of B objects, M each, the nearest first; what is missing is masked out.

    Attributes:
        maps: (B,M,memory_dim,S/16,S/16), seen in the field of view of the new slice.
        pointers: (B,M,embed_dim) object pointers.
        distance_mm: (B,M) signed distance from the new slice to the memory's.
        conditioning: (B,M) 1 where the user gave prompts on that slice, else 0.
        valid: (B,M) bool; None where all are.
    """

    maps: Array
    pointers: Array
    distance_mm: Array
    conditioning: Array
    valid: Array | None = None


class DecodedMasks(NamedTuple):
    """Output of the mask decoder for B objects.

    Attributes:
        logits: (B,1+num_multimask,h,h), h = low_res_size; the first is the single mask, the others are candidates.
        iou: (B,1+num_multimask) predicted intersection over union of each, 0...1.
        object_logit: (B,1) above 0 where the object is on this slice.
        pointers: (B,1+num_multimask,embed_dim) object pointers, one for each mask.
    """

    logits: Array
    iou: Array
    object_logit: Array
    pointers: Array


DENSE_CHANNELS = 5
"""Dense maps of the prompts: two of appearance, then what is drawn."""
SCRIBBLE_INSIDE, SCRIBBLE_OUTSIDE, LASSO = 2, 3, 4


@dataclasses.dataclass
class PromptBatch:
    """Prompts of B objects, in network pixels (x, y), pixel centres at whole numbers.

    Attributes:
        points: (B,N,2) clicks; N may be 0.
        labels: (B,N) 1 inside the object, 0 outside, -1 padding.
        boxes: (B,4) XYXY; a row of NaN where there is none.
        mask_logits: (B,1,h,h), h = low_res_size, an earlier mask of this slice, or None.
        has_mask: (B,) bool, rows of `mask_logits` that count.
        neighbour_logits: (B,1,h,h) the object's mask on a neighbouring slice, or None.
        neighbour_mm: (B,) its distance in mm; NaN where there is none.
        dense: (B,DENSE_CHANNELS,h,h) or None: how much each pixel looks like the object, by intensity and by intensity
            with its surroundings (-1...1, 0 unknown; see `core.appearance`), scribbles inside and outside the object,
            and the filled lasso (0...1). Only networks whose masks have stride 2 take it.
    """

    points: Array
    labels: Array
    boxes: Array
    mask_logits: Array | None = None
    has_mask: Array | None = None
    neighbour_logits: Array | None = None
    neighbour_mm: Array | None = None
    dense: Array | None = None

    @classmethod
    def empty(cls, batch: int, device: Any = "cpu") -> PromptBatch:
        """No prompt for any of `batch` objects, as in propagation through memory alone; of torch tensors."""
        import torch

        return cls(
            points=torch.zeros(batch, 0, 2, device=device),
            labels=torch.zeros(batch, 0, dtype=torch.long, device=device),
            boxes=torch.full((batch, 4), math.nan, device=device),
        )


class EncodedPrompts(NamedTuple):
    """What the mask decoder is told of the prompts.

    Attributes:
        tokens: (B,N+3,embed_dim) sparse tokens: points, the two box corners, one padding.
        dense16: (B,embed_dim,S/16,S/16), added to the image embedding.
        dense8: (B,skip_dims[0],S/8,S/8).
        dense4: (B,skip_dims[1],S/4,S/4).
        prior: (B,1,h,h) logits of the mask that the prompts alone suggest, the start the decoder improves on.
        dense2: (B,fine_dim,S/2,S/2); None where masks have stride 4.
    """

    tokens: Array
    dense16: Array
    dense8: Array
    dense4: Array
    prior: Array
    dense2: Array | None = None
