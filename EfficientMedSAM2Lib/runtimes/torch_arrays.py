"""The operations of `Arrays` for torch, on every device alike."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.models.bundles import Array, Rectangle
from EfficientMedSAM2Lib.runtimes.network import Network


class TorchArrays:
    """Of a network of torch modules.

    Copies to a GPU start from pinned memory and are not waited for; the only wait of a slice is for its masks.

    Args:
        model: The network; its `device` is asked anew each time, since it may move to the CPU.
    """

    def __init__(self, model: Network) -> None:
        import torch

        self._torch = torch
        self._model = model

    def inference(self) -> AbstractContextManager[Any]:
        """See `Arrays`."""
        return self._torch.inference_mode()

    def to_device(self, values: Array) -> Array:
        """See `Arrays`; memories made in FP16 on a GPU follow a network that has moved to the CPU in float32."""
        device = self._model.device
        if not isinstance(values, np.ndarray):
            return values.to(device, self._model.compute_dtype if values.is_floating_point() else values.dtype)
        # torch warns of arrays that it must not write to, such as a grey picture repeated.
        tensor = self._torch.from_numpy(np.require(values, requirements=("C", "W")))
        if device.type == "cpu":
            return tensor
        if device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    def to_numpy(self, *arrays: Array) -> list[np.ndarray]:
        """See `Arrays`."""
        # One copy means one wait, where a copy for each array would wait once for each.
        together = self._torch.cat([array.float().flatten() for array in arrays]).cpu().numpy()
        ends = np.cumsum([array.numel() for array in arrays])[:-1]
        return [part.reshape(array.shape) for part, array in zip(np.split(together, ends), arrays)]

    def join(self, parts: Sequence[Array]) -> Array:
        """See `Arrays`."""
        return parts[0] if len(parts) == 1 else self._torch.cat(list(parts))

    def stack(self, parts: Sequence[Array]) -> Array:
        """See `Arrays`."""
        return self._torch.stack(list(parts))

    def copy(self, array: Array) -> Array:
        """See `Arrays`."""
        return array.clone()

    def resample_map(self, memory: Array, source: Rectangle, target: Rectangle) -> Array:
        """See `Arrays`."""
        from EfficientMedSAM2Lib.models.modules.memory import resample_map

        return resample_map(memory, source, target)

    def as_tensor(self, values: Array) -> Array:
        """See `Arrays`; numpy's values stay on the CPU."""
        return (self._torch.from_numpy(values) if isinstance(values, np.ndarray) else values).float()
