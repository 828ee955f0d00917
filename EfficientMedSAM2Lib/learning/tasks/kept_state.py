"""What a learning that was interrupted goes on from: a file beside its output, gone when it is done."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from EfficientMedSAM2Lib.core.files import replacing


class KeptState:
    """States of trainings by their number, on disk.

    Args:
        path: The file.
        identity: Of what is learnt; a file of something else counts for nothing.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.path, self.identity = path, identity
        self._known: dict[int, dict[str, Any]] = {}
        if path.is_file():
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
                return  # cut off, or of another version: the work begins anew
            if isinstance(content, dict) and content.get("identity") == identity:
                self._known = content["states"]

    def of(self, number: int) -> dict[str, Any]:
        """What was kept of a training; nothing where nothing was."""
        return self._known.get(number, {})

    def keep(self, number: int, state: dict[str, Any]) -> None:
        """Keep a state, whole or not at all.

        Raises:
            UserError: The disk is full, or the folder cannot be written to.
        """
        self._known[number] = state
        with replacing(self.path) as temporary:
            torch.save({"identity": self.identity, "states": self._known}, temporary)

    def remove(self) -> None:
        """It is done."""
        self.path.unlink(missing_ok=True)


__all__ = ["KeptState"]
