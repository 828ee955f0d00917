"""How a run is shown while it goes on."""

from __future__ import annotations

from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome


class RunProgress:
    """Shows nothing; what a display has to have."""

    def add(self, outcome: CaseOutcome) -> None:
        """A case has ended."""

    def close(self) -> None:
        """The run has ended."""


class ProgressBar(RunProgress):
    """A bar on stderr with the rate, the time left, and how many cases failed.

    Args:
        total: Number of cases.
        already: Cases that were done before, which do not count for the rate.
    """

    def __init__(self, total: int, already: int) -> None:
        from tqdm import tqdm

        self._failed = 0
        # the mean rate, since cases come in bunches and differ in size
        self._bar = tqdm(
            total=total,
            initial=already,
            desc="Cohort",
            unit="case",
            smoothing=0.0,
            dynamic_ncols=True,
            postfix="0 failed",
        )

    def add(self, outcome: CaseOutcome) -> None:
        """A case has ended."""
        self._failed += outcome.failed
        self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
        self._bar.update()

    def close(self) -> None:
        """The run has ended."""
        self._bar.close()
