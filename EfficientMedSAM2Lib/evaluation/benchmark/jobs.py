"""What a measured process is asked for, and what it found; both travel as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError


@dataclass(frozen=True)
class BenchmarkJob:
    """One process: one network on one scan.

    Attributes:
        network: Name in `NETWORKS`.
        scan: Folder that `Scan.save` wrote.
        slices: How many it has.
        repeat: Number of the round.
        details: Whether single steps (encoder, clicks, boxes, parts) are timed too.
        masks: File that the masks of the propagation are written to, as packed bits; "" for none.
        accuracy: Whether boxes on labelled slices are measured instead of time.
        objects: At most so many of them for each data set.
        data_dir: Where they are; "" for slicerio's sample.
        weights: File; "" for the shipped ones, or none.
        device: See `NetworkOptions`.
        random: See `NetworkOptions`.
        processor_time: Whether time is that of the processor, not of the clock on the wall.
    """

    network: str
    scan: str
    slices: int
    repeat: int = 0
    details: bool = False
    masks: str = ""
    accuracy: bool = False
    objects: int = 0
    data_dir: str = ""
    weights: str = ""
    device: str = "auto"
    random: bool = False
    processor_time: bool = False

    def to_json(self) -> str:
        """As text for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> BenchmarkJob:
        """Read `to_json`."""
        return cls(**json.loads(text))


@dataclass
class BenchmarkResult:
    """What was measured.

    Attributes:
        network: Name in `NETWORKS`.
        slices: Of the scan.
        repeat: Number of the round.
        values: Measure -> number; see `MEASURES` in results/summary.py.
        parts: Module -> milliseconds of a propagated slice spent in it.
        facts: Precision, device, threads.
    """

    network: str
    slices: int
    repeat: int
    values: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> BenchmarkResult:
        """Read `to_json`."""
        return cls(**json.loads(text))


def existing(path: Path | None, what: str) -> str:
    """A path as text, "" for None.

    Raises:
        UserError: There is no such file.
    """
    if path is not None and not path.is_file():
        raise UserError(f"{path} does not exist; give {what}, or leave the option out.")
    return "" if path is None else str(path.resolve())
