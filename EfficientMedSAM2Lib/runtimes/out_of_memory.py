"""A graphics card without enough memory: once more with less, then on the CPU."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")


class MemoryGuard:
    """Repeats work for which the device's memory did not suffice. Each remedy is logged.

    Args:
        model: The network; it is moved to the CPU, in float32, when nothing else helps, and stays there.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.is_frugal = False
        """Whether viewports are to be encoded one at a time, since memory is short."""

    def run(self, work: Callable[[], T], forget: Callable[[], None] | None = None) -> T:
        """Do some work, again if need be. It must fetch all that it uses anew each time.

        Args:
            work: What needs the device.
            forget: Drops what can be computed again, such as cached features.
        """
        for remedy in (self._spend_less, self._move_to_cpu):
            try:
                return work()
            except Exception as error:
                if not is_out_of_memory(error) or self._on_cpu():
                    raise
            # Here and not above: a caught error's traceback keeps the tensors of its frames alive.
            if forget is not None:
                forget()
            remedy()
        return work()

    def _on_cpu(self) -> bool:
        return str(self._model.device).split(":")[0] == "cpu"

    def _spend_less(self) -> None:
        if not self.is_frugal:
            logger.warning("%s is out of memory; going on with less of it.", self._model.device)
        self.is_frugal = True
        _release()

    def _move_to_cpu(self) -> None:
        logger.warning("%s is out of memory; going on on the CPU.", self._model.device)
        import torch

        self._model.to(torch.device("cpu"))
        self._model.set_compute_dtype(torch.float32)
        _release()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's memory does not suffice, whatever torch's version calls it."""
    if type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def _release() -> None:
    """Give what torch holds in reserve back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


__all__ = ["MemoryGuard", "is_out_of_memory"]
