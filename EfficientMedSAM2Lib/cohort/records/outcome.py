"""What became of a case: the record that a worker hands back, the ledger keeps and the tables are made from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

#: Kinds of failure. What the machine did is tried again by itself; what the files are is tried again when asked for.
INPUT, MACHINE, DISK, INTERNAL = "input", "machine", "disk", "internal"
#: Failures that another run repeats by itself.
RETRIED = (MACHINE, DISK)


def utc(seconds: float | None = None) -> str:
    """A time of `time.time`, by default now, as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@dataclass(frozen=True)
class CaseOutcome:
    """Result of one case.

    Attributes:
        name: The case.
        key: Its content hash; empty where its files could not be read.
        status: "done" or "failed".
        kind: Kind of failure.
        reason: One sentence about the failure.
        seconds: Time that it took.
        record: What `provenance.json` of the case says.
        hashes: Path to (stamp, SHA-256) of the files that were read.
        again: Whether the result was there already, and only had to be recognised.
    """

    name: str
    key: str
    status: str
    kind: str = ""
    reason: str = ""
    seconds: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, tuple[str, str]] = field(default_factory=dict)
    again: bool = False

    @property
    def failed(self) -> bool:
        """Whether there is no result."""
        return self.status != "done"
