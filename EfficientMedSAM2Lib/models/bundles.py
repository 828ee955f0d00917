"""What a network takes and gives: tensors of a torch network, numpy arrays of an exported one. Nothing needs torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

Array = Any
"""A torch tensor or a numpy array, whichever the network at hand computes with."""
Rectangle = tuple[float, float, float, float]
"""Left, top, width and height of a viewport in pixels of its slice."""


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
        maps: (B,M,memory_dim,S/16,S/16), seen in the viewport of the new slice.
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
    """What the mask decoder is given of the prompts.

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
