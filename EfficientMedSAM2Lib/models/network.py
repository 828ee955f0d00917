"""The whole network: SAM2's scheme in 2.5 million parameters, and a 3D network in front of propagation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from EfficientMedSAM2Lib.models.bundles import DecodedMasks, EncodedPrompts, ImageFeatures, MemoryBank, PromptBatch
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig
from EfficientMedSAM2Lib.models.modules.context_network import ContextNetwork
from EfficientMedSAM2Lib.models.modules.image_encoder import ImageEncoder
from EfficientMedSAM2Lib.models.modules.mask_decoder import MaskDecoder
from EfficientMedSAM2Lib.models.modules.memory import MemoryAttention, MemoryEncoder
from EfficientMedSAM2Lib.models.modules.prompt_encoder import PromptEncoder


class EfficientMedSAM2(nn.Module):
    """Tensors in, tensors out; knows nothing of volumes, sessions or files.

    A slice without memory: `decode(without_memory(encode_image(image)), encode_prompts(prompts))`. With memory:
    `decode(attend(encode_image(image), bank), encode_prompts(prompts))`. Afterwards `encode_memory` makes its memory.
    `context_logits(cubes)` says how far an object goes on either side of slices on which it is known.

    Args:
        config: Sizes; see `ModelConfig`.
    """

    runtime = "PyTorch"
    array_library: Literal["torch", "numpy"] = "torch"
    runs_concurrently = False
    """Whether a second thread helps: torch takes every core for each of its operations."""

    def __init__(self, config: ModelConfig | None = None) -> None:
        super().__init__()
        self.config = config or ModelConfig()
        self.heuristics = HeuristicsConfig()
        """Rules and numbers that predictors add; those of the weights, once these are loaded."""
        self.task: Any = None
        """What it has learnt of one structure, a `runtimes.tasks.Task`; None where it is for any."""
        self.image_encoder = ImageEncoder(self.config)
        self.prompt_encoder = PromptEncoder(self.config)
        self.mask_decoder = MaskDecoder(self.config)
        self.memory_encoder = MemoryEncoder(self.config)
        self.memory_attention = MemoryAttention(self.config)
        self.context = ContextNetwork(self.config.context) if self.config.context is not None else None
        self.no_memory = nn.Parameter(torch.zeros(1, self.config.embed_dim, 1, 1))
        self.no_object_pointer = nn.Parameter(torch.zeros(1, self.config.embed_dim))
        self.compute_dtype = torch.float32
        """Precision of the forward pass, chosen by the builder; inputs and masks are always float32."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_memory.device

    @property
    def image_size(self) -> int:
        """Side of the square that the network sees, in its pixels. SAM2's name."""
        return self.config.image_size

    @property
    def threads(self) -> int:
        """Threads that torch computes with on a CPU, in the calling thread."""
        return torch.get_num_threads()

    def set_threads(self, count: int) -> None:
        """Set `threads`. torch has one number for the whole process, with which Slicer's other modules compute too: set
        only what a user asked for."""
        torch.set_num_threads(count)

    def set_compute_dtype(self, dtype: torch.dtype) -> None:
        """Store and compute in `dtype`. Only for a fused network: buffers (grids, phases, statistics) stay float32,
        since pixel positions do not survive bfloat16's eight bits. Nor do edges: with the trunk in bfloat16 too, masks
        of vertebrae at 3 mm agreed with float32's to Dice 0.990, with the trunk in float32 to 0.999."""
        kept = set(self.image_encoder.trunk.parameters()) if dtype == torch.bfloat16 else set()
        for parameter in self.parameters():
            if parameter not in kept:
                parameter.data = parameter.data.to(dtype)
        self.compute_dtype = dtype

    def set_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Trade time for memory in training: activations of trunk, memory attention and context are computed twice."""
        for part in (self.image_encoder, self.memory_attention, self.context):
            if part is not None:
                part.gradient_checkpointing = enabled

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """(B,3,S,S) with values in 0...1 to features."""
        return self.image_encoder(image)

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Features of a slice that stands alone."""
        return features._replace(embedding=features.embedding + self.no_memory)

    def attend(self, features: ImageFeatures, bank: MemoryBank) -> ImageFeatures:
        """Features of a slice informed by memories of other slices, starting from what the slice says alone."""
        return features._replace(embedding=self.memory_attention(features.embedding + self.no_memory, bank))

    def encode_prompts(self, prompts: PromptBatch) -> EncodedPrompts:
        """What the prompts of B objects say, before a slice is seen."""
        return self.prompt_encoder(prompts)

    def decode(self, features: ImageFeatures, prompts: EncodedPrompts) -> DecodedMasks:
        """Masks for B objects from features of B slices; see `DecodedMasks`."""
        return self.mask_decoder(features, prompts, self.prompt_encoder.dense_position())

    def encode_memory(self, features: ImageFeatures, mask_logits: Tensor) -> Tensor:
        """Memory maps (B,memory_dim,S/16,S/16) of slices with mask logits (B,1,h,h), h = low_res_size."""
        return self.memory_encoder(features.embedding, mask_logits)

    def context_logits(self, cubes: Tensor) -> Tensor:
        """Mask logits (B,N,N,N) of cubes (B,channels,N,N,N) from `core.context_cube.network_input`.

        Raises:
            ValueError: These weights have no context network; `config.context` says so.
        """
        if self.context is None:
            raise ValueError("These weights have no context network; train one with `distill --stage context`.")
        return self.context(cubes.to(self.compute_dtype))

    def object_pointer(self, decoded: DecodedMasks, chosen: Tensor) -> Tensor:
        """Pointers (B,embed_dim) of the chosen masks (B,), or the learned 'no object' where the object is absent."""
        pointer = decoded.pointers[torch.arange(len(chosen), device=chosen.device), chosen]
        return torch.where(decoded.object_logit > 0, pointer, self.no_object_pointer.to(pointer.dtype))

    def parameter_count(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.parameters())
