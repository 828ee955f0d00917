"""What a network must do to be timed. Each runs in a process of its own (see worker.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.evaluation.benchmark.scans import Scan
    from EfficientMedSAM2Lib.evaluation.methods.interface import Contestant


@dataclass(frozen=True)
class NetworkOptions:
    """Which weights, and where to compute.

    Attributes:
        weights: A file; None: the shipped or published weights, or random ones where there are none.
        device: "auto", "cuda", "mps" or "cpu".
        random: Random weights, whatever there is.
    """

    weights: Path | None = None
    device: str = "auto"
    random: bool = False


class TimedNetwork(Protocol):
    """A network whose parts are called one by one while somebody looks at the clock."""

    takes_clicks: bool
    has_weights: bool
    """Whether its masks mean anything."""

    def import_libraries(self) -> None:
        """Import all that is needed to load and to run it."""
        ...

    def load(self) -> None:
        """Build the network and read its weights."""
        ...

    def parameter_count(self) -> int:
        """Parameters, those of frozen batch normalisation folded into convolutions where that was done."""
        ...

    def computation(self) -> Mapping[str, object]:
        """`device` and `precision`, and `threads` where the network knows."""
        ...

    def parts(self) -> dict[str, tuple[Any, str]]:
        """What a propagated slice is spent in: name -> object and name of its method."""
        ...

    def file_bytes(self) -> int:
        """Size of the file of its weights; without one, of its parameters as they are in memory."""
        ...

    def open(self, scan: Scan) -> None:
        """Begin with a volume; nothing of an earlier one is kept."""
        ...

    def encode(self, index: int) -> None:
        """From the voxels of a slice to its features."""
        ...

    def encoder(self) -> Callable[[], object]:
        """The bare encoder on a prepared input."""
        ...

    def box(self, index: int) -> np.ndarray:
        """Mask (H, W) bool of what the scan's box encloses on a slice."""
        ...

    def click(self, index: int) -> np.ndarray:
        """Mask (H, W) bool of what the scan's click is on."""
        ...

    def correct(self, index: int) -> np.ndarray:
        """The mask after one more click, which says "not here"."""
        ...

    def forget(self) -> None:
        """Forget the object; features of slices may stay."""
        ...

    def follow(self) -> Iterator[np.ndarray]:
        """Propagate from the box on the first slice; masks (H, W) bool of the second slice and on."""
        ...

    def contestant(self) -> Contestant:
        """The same network for the protocols of accuracy."""
        ...


def best_device(name: str) -> str:
    """For networks that do not choose themselves: "auto" is cuda where there is one, else the CPU."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def of_module(module: Any) -> dict[str, str]:
    """`TimedNetwork.computation` of a torch module that computes as it is stored."""
    parameter = next(module.parameters())
    return {"device": str(parameter.device), "precision": str(parameter.dtype).replace("torch.", "")}


def parts_of_module(module: Any) -> dict[str, tuple[Any, str]]:
    """`TimedNetwork.parts` of a torch module: its children."""
    return {name.replace("_", " "): (child, "forward") for name, child in module.named_children()}
