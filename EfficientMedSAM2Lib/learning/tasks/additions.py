"""Small additions to a network's weights, which learn while the weights stay: low-rank ones to matrices (LoRA, Hu et
al. 2021, arXiv 2106.09685), full ones to biases and norms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from EfficientMedSAM2Lib.models import EfficientMedSAM2
from EfficientMedSAM2Lib.runtimes.tasks.task import SMALLEST, Addition, LowRank

PARTS = ("mask_decoder.", "prompt_encoder.")
"""Beginnings of the names of what learns: everything that a slice's mask comes from, behind the image encoder. Memory
stays as it is, so that it stays true to features that do not change."""
RANK = 8
RIGHT_SPREAD = 0.2
"""Of the first values of the right matrix: with it a step changes a weight as much as in full training. With the
customary 1 / sqrt(columns) nothing was learnt in the few steps that there are."""
_FOLDED_AWAY = ("prompt_encoder.prior_weights",)
"""What an exported graph does not hold."""


class _Product(nn.Module):
    """A weight with the product of two narrow matrices added to it; the product starts at nothing."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.left = nn.Parameter(torch.zeros(rows, rank))
        self.right = nn.Parameter(RIGHT_SPREAD * torch.randn(rank, columns))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.left @ self.right).view_as(weight)


class _Sum(nn.Module):
    """A parameter with another one added to it."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.difference = nn.Parameter(torch.zeros_like(value))

    def forward(self, value: Tensor) -> Tensor:
        return value + self.difference


class Additions:
    """Additions to a network, which changes with them from now on. Its own parameters are frozen.

    Args:
        model: Network in evaluation mode.
        seed: Of the additions' first values.
    """

    def __init__(self, model: EfficientMedSAM2, seed: int) -> None:
        self._made: dict[str, _Product | _Sum] = {}
        model.requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module_name, module in list(model.named_modules()):
                for name, value in list(module.named_parameters(recurse=False)):
                    whole = f"{module_name}.{name}" if module_name else name
                    wanted = whole.startswith(PARTS) and whole not in _FOLDED_AWAY and value.numel() >= SMALLEST
                    if wanted:
                        made = _addition_to(value)
                        parametrize.register_parametrization(module, name, made, unsafe=True)
                        self._made[whole] = made

    def parameters(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return {f"{name}|{part}": value for name, made in self._made.items() for part, value in made.named_parameters()}

    def state(self) -> dict[str, Tensor]:
        """A copy of what has been learnt."""
        return {name: value.detach().clone() for name, value in self.parameters().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go back to a state."""
        with torch.no_grad():
            for name, value in self.parameters().items():
                value.copy_(state[name])

    def of(self, state: dict[str, Tensor]) -> dict[str, Addition]:
        """A state as the additions of a task, in FP16."""
        halved = {name: value.numpy().astype(np.float16) for name, value in state.items()}
        return {
            name: LowRank(halved[f"{name}|left"], halved[f"{name}|right"])
            if isinstance(made, _Product)
            else halved[f"{name}|difference"]
            for name, made in self._made.items()
        }


def _addition_to(value: Tensor) -> _Product | _Sum:
    rows, columns = value.shape[0], value[0].numel()
    return _Product(value, RANK) if value.ndim > 1 and 2 * RANK * (rows + columns) < value.numel() else _Sum(value)


__all__ = ["PARTS", "RANK", "Additions"]
