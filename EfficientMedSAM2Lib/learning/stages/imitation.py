"""What Lightning trains when a smaller network is to answer as a larger one with the same image encoder does."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.learning.stages.clips import ClipTraining
from EfficientMedSAM2Lib.learning.stages.slices import answer
from EfficientMedSAM2Lib.models import DecodedMasks, EfficientMedSAM2, ImageFeatures, MemoryBank, PromptBatch
from EfficientMedSAM2Lib.models.bundles import EncodedPrompts
from EfficientMedSAM2Lib.runtimes.onnx.onnx_network import OnnxNetwork

MASK_WEIGHT = 20.0
SCORE_WEIGHT = 10.0
POINTER_WEIGHT = 0.3
MAP_WEIGHT = 0.1
"""So weighed, masks count most, and presence, scores, pointers and the maps of prompts about alike."""

STUDENT_PARTS = ("prompt_encoder", "mask_decoder", "memory_attention")
"""What learns. Image and memory encoder stay as they are, since the teacher is asked about what they see and keep."""


SHARED_SIZES = (
    "encoder_type",
    "image_size",
    "embed_dim",
    "skip_dims",
    "memory_dim",
    "num_multimask",
    "mask_stride",
    "fine_dim",
)
"""Sizes that teacher and student must have in common."""


class ImitationTraining(ClipTraining):
    """Output distillation (Hinton et al. 2015, arXiv 1503.02531) of everything behind the image encoder, on slices and
    clips, beside the labels.

    The student makes its own mistakes, in rounds and along clips, and the teacher is asked the same question each time:
    the same features, prompts and memories. The student's image and memory encoder have to be the teacher's.

    Args:
        model: The student.
        teacher: An exported network, of whatever inner form; ONNX Runtime computes it in half of torch's time.
        output_weight: Weight of the imitation.
        label_weight: Weight of the labels.
        learned_slices: As in `ClipTraining`.
        options: Those of `PromptTraining`; without `train_only` STUDENT_PARTS learn.

    Raises:
        UserError: The teacher's answers have other sizes.
    """

    def __init__(
        self,
        model: EfficientMedSAM2,
        teacher: OnnxNetwork,
        output_weight: float = 1.0,
        label_weight: float = 0.3,
        learned_slices: int | None = None,
        **options: Any,
    ) -> None:
        options["train_only"] = tuple(options.get("train_only", ())) or STUDENT_PARTS
        super().__init__(model, learned_slices, **options)
        one, other = teacher.config, model.config
        for name in SHARED_SIZES:
            if getattr(one, name) != getattr(other, name):
                message = f"The teacher's {name} is {getattr(one, name)}, the student's {getattr(other, name)}."
                raise UserError(f"{message} Only what stands behind the image encoder may differ.")
        # Lightning copies the module to average its weights; a function is not copied, nor is what it holds.
        self._teacher = lambda: teacher
        self.output_weight = output_weight
        self.label_weight = label_weight
        self._errors: list[dict[str, Tensor]] = []

    def encode(self, images: Tensor) -> ImageFeatures:
        features = self._teacher().encode_image(images.cpu().numpy())
        return features.map(lambda part: torch.from_numpy(part).to(images.device))

    def ask(self, features: ImageFeatures, prompts: PromptBatch, bank: MemoryBank | None = None) -> DecodedMasks:
        own = answer(self.model, features, prompts, bank)
        if torch.is_grad_enabled():
            self._errors.append(answer_error(own, self._teachers_answer(features, prompts, bank)))
        return own[0]

    def _teachers_answer(
        self, features: ImageFeatures, prompts: PromptBatch, bank: MemoryBank | None
    ) -> tuple[DecodedMasks, EncodedPrompts]:
        features = ImageFeatures(*(_array(part) for part in features))
        prompts = PromptBatch(**{name: _array(part) for name, part in vars(prompts).items()})
        if bank is not None:
            # An exported network takes memories that count only, and all objects of a clip batch have as many.
            known = slice(None) if bank.valid is None else _array(bank.valid[0])
            bank = MemoryBank(*(_array(part)[:, known] for part in bank[:4]))
        decoded, encoded = answer(self._teacher(), features, prompts, bank)
        device = self.device
        return (
            DecodedMasks(*(torch.from_numpy(part).to(device) for part in decoded)),
            EncodedPrompts(*(None if part is None else torch.from_numpy(part).to(device) for part in encoded)),
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self._errors.clear()
        loss = self.label_weight * super().training_step(batch, batch_idx)
        parts = {name: torch.stack([error[name] for error in self._errors]).mean() for name in self._errors[0]}
        self.log_dict({f"imitation/{name}": part.detach() for name, part in parts.items()}, batch_size=1)
        return loss + self.output_weight * torch.stack(list(parts.values())).sum()


def answer_error(
    given: tuple[DecodedMasks, EncodedPrompts], wanted: tuple[DecodedMasks, EncodedPrompts]
) -> dict[str, Tensor]:
    """How far an answer is from a teacher's, by what is compared; all are 0 where both say the same.

    Masks and presence as the divergence of probabilities, scores as squared errors, pointers and the maps of prompts as
    squared errors over the variance of what is wanted.
    """
    (decoded, encoded), (decoded_wanted, encoded_wanted) = given, wanted
    maps = [
        _relative_error(part, part_wanted)
        for part, part_wanted in zip(
            (encoded.dense16, encoded.dense8, encoded.dense4),
            (encoded_wanted.dense16, encoded_wanted.dense8, encoded_wanted.dense4),
        )
    ]
    return {
        "masks": MASK_WEIGHT * _divergence(decoded.logits, decoded_wanted.logits),
        "object": _divergence(decoded.object_logit, decoded_wanted.object_logit),
        "scores": SCORE_WEIGHT * F.mse_loss(decoded.iou, decoded_wanted.iou),
        "pointers": POINTER_WEIGHT * _relative_error(decoded.pointers, decoded_wanted.pointers),
        "maps": MAP_WEIGHT * torch.stack(maps).mean(),
    }


def _divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of Bernoulli variables with these logits."""
    probability = wanted.sigmoid()
    own = F.binary_cross_entropy_with_logits(wanted, probability)
    return F.binary_cross_entropy_with_logits(logits, probability) - own


def _relative_error(part: Tensor, wanted: Tensor) -> Tensor:
    return F.mse_loss(part.float(), wanted) / wanted.var().clamp_min(1e-6)


def _array(part: Any) -> Any:
    if part is None:
        return None
    part = part.detach().cpu()
    # numpy has no bfloat16, and the teacher computes in float32.
    return (part.float() if part.is_floating_point() else part).numpy()
