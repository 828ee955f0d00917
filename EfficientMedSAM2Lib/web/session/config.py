"""What the gateway gives to a session process: one line of JSON on its stdin."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

#: The gateway's requests carry the session's secret in this header; others are refused.
SECRET_HEADER = "X-EfficientMedSAM2-Session"


@dataclass(frozen=True)
class SessionConfig:
    """What a session process gets.

    Attributes:
        secret: Value of SECRET_HEADER.
        folder: Folder for the session's files and scratch files; removed by whichever process ends last.
        work: Folder that the work is saved in; the gateway's, which decides how long it is kept.
        max_bytes: Largest upload.
        volume: File or folder to open at the start, None for none.
        network: Arguments of pipeline.engine.build_model, but for the task.
        tasks: Files of the tasks that the user may choose from; the first is the one to begin with.
    """

    secret: str
    folder: str
    work: str
    max_bytes: int
    volume: str | None = None
    network: dict[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SessionConfig:
        """The inverse of ``to_json``."""
        return cls(**json.loads(text))
