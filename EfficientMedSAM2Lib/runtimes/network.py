"""What predictors ask of a network, whatever it runs on."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from EfficientMedSAM2Lib.models.bundles import (
    Array,
    DecodedMasks,
    EncodedPrompts,
    ImageFeatures,
    MemoryBank,
    PromptBatch,
)
from EfficientMedSAM2Lib.models.config import ModelConfig
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig


class Network(Protocol):
    """The methods and attributes of `EfficientMedSAM2` (torch) and `OnnxNetwork` (numpy) alike.

    Arrays are torch tensors on `device`, or numpy's own, as `array_library` says; see `arrays_of`.

    Attributes:
        config: Sizes.
        heuristics: Rules and numbers of predictors that come with the weights.
        task: What the network has learnt of one structure, a `runtimes.tasks.Task`; None where it is for any.
    """

    config: ModelConfig
    heuristics: HeuristicsConfig
    task: Any

    @property
    def runtime(self) -> str:
        """What it runs on, as a reader calls it."""

    @property
    def array_library(self) -> Literal["torch", "numpy"]:
        """Whose arrays it takes and gives."""

    @property
    def runs_concurrently(self) -> bool:
        """Whether one part may well run in one thread while another part runs in a second thread."""

    @property
    def device(self) -> Any:
        """Where it computes: a `torch.device`, or what has its `type` and `index`."""

    @property
    def compute_dtype(self) -> Any:
        """Precision that it computes in: a `torch.dtype`, or a name."""

    @property
    def image_size(self) -> int:
        """Side of its input in pixels."""

    @property
    def threads(self) -> int:
        """Threads that it computes with on a CPU."""

    def set_threads(self, count: int) -> None:
        """Set `threads`."""

    def encode_image(self, image: Array) -> ImageFeatures:
        """(B,3,S,S) float32 with values in 0...1 to features."""

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Features of a slice that stands alone."""

    def attend(self, features: ImageFeatures, bank: MemoryBank) -> ImageFeatures:
        """Features of a slice informed by memories of other slices."""

    def encode_prompts(self, prompts: PromptBatch) -> EncodedPrompts:
        """What the prompts of B objects say, before a slice is seen."""

    def decode(self, features: ImageFeatures, prompts: EncodedPrompts) -> DecodedMasks:
        """Masks for B objects from features of B slices; see `DecodedMasks`."""

    def encode_memory(self, features: ImageFeatures, mask_logits: Array) -> Array:
        """Memory maps (B,memory_dim,S/16,S/16) of slices with mask logits (B,1,h,h)."""

    def context_logits(self, cubes: Array) -> Array:
        """Mask logits (B,N,N,N) of cubes (B,channels,N,N,N) from `core.context_cube.network_input`."""

    def object_pointer(self, decoded: DecodedMasks, chosen: Array) -> Array:
        """Pointers (B,embed_dim) of the chosen masks (B,)."""

    def parameter_count(self) -> int:
        """Number of parameters."""
