"""Medians, spread and ratios over the rounds of a benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Optional

from EfficientMedSAM2Lib.evaluation.benchmark.jobs import BenchmarkResult


@dataclass(frozen=True)
class Measure:
    """A line of the table.

    Attributes:
        title: What it says.
        digits: After the decimal point.
        more_is_better: Whether ratios are turned round.
        per_length: Whether it is taken at each number of slices.
        has_ratio: Whether a ratio says something.
    """

    title: str
    digits: int = 0
    more_is_better: bool = False
    per_length: bool = False
    has_ratio: bool = True


MEASURES = {
    "parameters_m": Measure("parameters, million", 2),
    "file_mb": Measure("weights file, MB", 1),
    "import_s": Measure("import, s", 2),
    "load_s": Measure("load, s", 2),
    "first_mask_s": Measure("start of Python to first mask, s", 2),
    "encoder_ms": Measure("bare encoder, ms a slice", 1),
    "encode_ms": Measure("encode a slice, ms", 1),
    "click_new_ms": Measure("click to mask, new slice, ms", 1),
    "click_known_ms": Measure("click to mask, features cached, ms", 1),
    "correct_ms": Measure("correcting click, ms", 1),
    "box_new_ms": Measure("box to mask, new slice, ms", 1),
    "box_known_ms": Measure("box to mask, features cached, ms", 1),
    "slice_ms": Measure("propagated slice, ms", 1),
    "slices_per_s": Measure("slices per second", 2, more_is_better=True, per_length=True),
    "peak_mb": Measure("peak memory, MB", 0, per_length=True),
    "above_mb": Measure("above libraries and scan, MB", 0, per_length=True),
    "gpu_mb": Measure("peak GPU memory, MB", 0, per_length=True),
    "box_dice": Measure("Dice of boxes on slices", 3, more_is_better=True, has_ratio=False),
    "propagated_dice": Measure("Dice, propagated", 3, more_is_better=True, has_ratio=False),
}


#: Network, measure, number of slices.
Place = tuple[str, str, Optional[int]]


@dataclass(frozen=True)
class Statistic:
    """A measure over all rounds: one value a round."""

    median: float
    least: float
    most: float
    rounds: int


class BenchmarkSummary:
    """All results of a benchmark, by network, measure, number of slices and round."""

    def __init__(self, results: Iterable[BenchmarkResult]) -> None:
        self.results = list(results)

    def networks(self) -> list[str]:
        """In the order in which they were run."""
        return list(dict.fromkeys(result.network for result in self.results))

    def lengths(self, network: str | None = None) -> list[int]:
        """Numbers of slices that a network, or any, was timed with."""
        return sorted(
            {
                result.slices
                for result in self.results
                if network in (None, result.network) and "slices_per_s" in result.values
            }
        )

    def rounds(self, network: str, measure: str, slices: int | None = None) -> dict[int, float]:
        """Values by round; of processes with several numbers of slices in one round the median."""
        found: dict[int, list[float]] = {}
        for result in self.results:
            if result.network == network and measure in result.values and slices in (None, result.slices):
                found.setdefault(result.repeat, []).append(result.values[measure])
        return {number: statistics.median(values) for number, values in sorted(found.items())}

    def statistic(self, network: str, measure: str, slices: int | None = None) -> Statistic | None:
        """Median and spread; None when it was not measured."""
        values = list(self.rounds(network, measure, slices).values())
        return Statistic(statistics.median(values), min(values), max(values), len(values)) if values else None

    def median(self, network: str, measure: str, slices: int | None = None) -> float | None:
        """Median over the rounds; None when it was not measured."""
        found = self.statistic(network, measure, slices)
        return None if found is None else found.median

    def ratio(self, over: Place, under: Place) -> Statistic | None:
        """One measure over another, of each round, so that a slow round counts for both; None without common rounds.

        Args:
            over: Network, measure and number of slices (None for any).
            under: The same of what it is divided by.
        """
        first, second = self.rounds(*over), self.rounds(*under)
        values = [first[number] / second[number] for number in first if second.get(number)]
        return Statistic(statistics.median(values), min(values), max(values), len(values)) if values else None

    def parts(self, network: str) -> dict[str, float]:
        """Milliseconds of a propagated slice in each module, medians over the rounds, largest first."""
        found: dict[str, list[float]] = {}
        for result in self.results:
            if result.network == network:
                for name, value in result.parts.items():
                    found.setdefault(name, []).append(value)
        medians = {name: statistics.median(values) for name, values in found.items()}
        return dict(sorted(medians.items(), key=lambda item: -item[1]))

    def as_dict(self) -> dict[str, object]:
        """For JSON: network -> measure -> statistic, per-length measures by number of slices."""
        content: dict[str, object] = {}
        for network in self.networks():
            lines: dict[str, object] = {}
            for name, measure in MEASURES.items():
                lengths: Sequence[int | None] = self.lengths(network) if measure.per_length else [None]
                found = {length: self.statistic(network, name, length) for length in lengths}
                values = {length: vars(one) for length, one in found.items() if one is not None}
                if values:
                    lines[name] = (
                        {str(key): value for key, value in values.items()} if measure.per_length else values[None]
                    )
            content[network] = {"measures": lines, "parts_ms": self.parts(network), "facts": self._facts(network)}
        return content

    def _facts(self, network: str) -> dict[str, object]:
        return next((result.facts for result in self.results if result.network == network and result.facts), {})
