"""What a task says of itself, and what it adds to the weights that it belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Union

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models.heuristics import HeuristicsConfig


@dataclasses.dataclass(frozen=True)
class LowRank:
    """The product of two narrow matrices, which stands for a wide one.

    Attributes:
        left: (rows, rank).
        right: (rank, columns); the product has the shape of the parameter with all axes but its first flattened.
    """

    left: np.ndarray
    right: np.ndarray


SMALLEST = 16
"""Least number of values of a parameter that a task may add to: fewer are not told from others in an exported graph."""
Addition = Union[np.ndarray, LowRank]
"""What is added to a parameter: an array of its shape, or a product."""


@dataclasses.dataclass(frozen=True)
class EarlierTask:
    """What is remembered of a task of the same structure that was learnt before.

    Attributes:
        cases: Number of cases that it was learnt from.
        results: As those of a task.
        sha256: Hash of its file, by which a cohort knows what it has segmented.
    """

    cases: int
    results: Mapping[str, tuple[float, float]]
    sha256: str


@dataclasses.dataclass(frozen=True)
class Task:
    """One structure that was learnt from finished cases. No image is in it.

    Attributes:
        name: Of the structure, which a segment gets where nobody names it.
        encoder: Of the weights that it belongs to.
        weights_sha256: Hash of their file.
        cases: Number of cases that it was learnt from.
        modality: Of the cases; empty where their files do not tell.
        window: (low, high) of their intensities as the network saw them, in the middle of the cases.
        spacing_mm: (k, j, i), in the middle of the cases.
        size_mm: Longest side of the structure on its slices, in the middle of them.
        terminology: Slicer's terminology entry of the structure; empty for the one that its name says.
        steps: Of training.
        seed: Of training.
        results: Measure -> (before, after): mean Dice on cases that were left out of training.
        without: Rules of `HeuristicsConfig` that do not suit the structure, and are switched off.
        version: Of the program that learnt it.
        earlier: Tasks of the structure that were learnt before, fewest cases first.
        additions: Parameter -> what is added to it.
    """

    name: str
    encoder: str
    weights_sha256: str
    cases: int
    modality: str = ""
    window: tuple[float, float] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    size_mm: float = 0.0
    terminology: str = ""
    steps: int = 0
    seed: int = 0
    results: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    without: tuple[str, ...] = ()
    version: str = ""
    earlier: tuple[EarlierTask, ...] = ()
    additions: Mapping[str, Addition] = dataclasses.field(default_factory=dict, repr=False)

    def check_weights(self, sha256: str, weights: str) -> None:
        """UserError unless the task belongs to the weights with this hash; `weights` is what the user calls them."""
        if sha256 != self.weights_sha256:
            raise UserError(
                f"The task {self.name!r} was learnt on other weights than {weights} (SHA-256 "
                f"{self.weights_sha256[:12]}... of {self.encoder}); give those with --weights, or learn it again."
            )

    def heuristics(self, of_weights: HeuristicsConfig) -> HeuristicsConfig:
        """Rules and numbers of the weights, without those that do not suit the structure."""
        return of_weights.without(self.without) if self.without else of_weights

    def added(self, parameter: str, base: np.ndarray) -> np.ndarray:
        """A parameter with what the task adds to it, float32.

        Raises:
            UserError: The task is for a parameter of another shape.
        """
        addition, value = self.additions[parameter], np.asarray(base, np.float32)
        if isinstance(addition, LowRank):
            difference = addition.left.astype(np.float32) @ addition.right.astype(np.float32)
        else:
            difference = addition.astype(np.float32)
        if difference.size != value.size or difference.shape[0] != value.shape[0]:
            raise UserError(f"The task {self.name!r} does not fit these weights ({parameter}); learn it again.")
        return value + difference.reshape(value.shape)

    def describe(self) -> dict[str, Any]:
        """All but the numbers, for JSON."""
        known = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        known.pop("additions")
        earlier = [{**dataclasses.asdict(task), "results": _listed(task.results)} for task in self.earlier]
        return {**known, "results": _listed(self.results), "earlier": earlier}


def _listed(results: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    return {measure: list(pair) for measure, pair in results.items()}


__all__ = ["SMALLEST", "Addition", "EarlierTask", "LowRank", "Task"]
