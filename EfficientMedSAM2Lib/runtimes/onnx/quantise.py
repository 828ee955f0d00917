"""INT8: convolutions with ranges from calibration, matrix products with ranges found as they run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibration import calibration_views

if TYPE_CHECKING:
    from ...models import EfficientMedSAM2

STATIC = ("encode",)
"""Graphs whose convolutions are quantised; their input is an image."""
DYNAMIC = ("encode", "prompt", "attend", "decode", "memorise")
"""Graphs whose matrix products with weights are quantised. The 3D network has none, and stays as it is."""


def quantised(graphs: Mapping[str, bytes], model: EfficientMedSAM2) -> dict[str, bytes]:
    """Graphs in INT8.

    Args:
        graphs: In float32, by name.
        model: The network that they come from.

    Raises:
        ValueError: A library is missing.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        message = f"INT8 needs onnx and onnxruntime: pip install 'efficient-medsam2[export]' ({error})"
        raise ValueError(message) from error
    feeds = [{"image": view[None]} for view in calibration_views(model.config.image_size)]
    result = {}
    with tempfile.TemporaryDirectory() as name, _quiet():
        folder = Path(name)
        for graph, content in graphs.items():
            if graph not in (*STATIC, *DYNAMIC):
                result[graph] = content
                continue
            source, prepared = folder / f"{graph}.onnx", folder / f"{graph}-prepared.onnx"
            source.write_bytes(content)
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            if graph in STATIC:
                static = folder / f"{graph}-static.onnx"
                quantization.quantize_static(
                    str(prepared), str(static), _Reader(feeds, prepared), op_types_to_quantize=["Conv", "Clip"],
                    quant_format=quantization.QuantFormat.QDQ, per_channel=True,
                    activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
                )  # fmt: skip
                prepared = static
            if graph in DYNAMIC:
                dynamic = folder / f"{graph}-dynamic.onnx"
                quantization.quantize_dynamic(
                    str(prepared), str(dynamic), op_types_to_quantize=["MatMul"], per_channel=True,
                    weight_type=quantization.QuantType.QInt8, extra_options={"MatMulConstBOnly": True},
                )  # fmt: skip
                prepared = dynamic
            result[graph] = onnx.load(str(prepared)).SerializeToString()
    return result


class _Reader:
    """Hands calibration inputs to ONNX Runtime, those that the graph takes."""

    def __init__(self, feeds: list[dict[str, np.ndarray]], graph: Path) -> None:
        import onnx

        self._names = [value.name for value in onnx.load(str(graph)).graph.input]
        self._feeds = feeds
        self.rewind()

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, None after the last."""
        feed = next(self._left, None)
        return None if feed is None else {name: feed[name] for name in self._names}

    def rewind(self) -> None:
        """Begin anew."""
        self._left = iter(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Hand out a part."""
        self._left = iter(self._feeds[start_index:end_index])

    def __len__(self) -> int:
        return len(self._feeds)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        feed = self.get_next()
        if feed is None:
            raise StopIteration
        return feed


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice in the root logger."""
    import logging

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


__all__ = ["quantised"]
