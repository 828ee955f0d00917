"""INT8: convolutions with ranges from calibration, matrix products with ranges found as they run."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.runtimes.onnx.calibration import calibration_images
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import graphs_of, read_description, read_graph, write_exported

STATIC = ("encode",)
"""Graphs whose convolutions are quantised; their input is an image."""
DYNAMIC = ("encode", "prompt", "attend", "decode", "memorise")
"""Graphs whose matrix products with weights are quantised. The 3D network has none, and stays as it is."""


def quantise_exported(source: Path, path: Path) -> None:
    """Make an exported network in INT8 of one in float32. Needs onnx, but not torch.

    Args:
        source: The `.onnx.zip` file in float32.
        path: The file to write.

    Raises:
        UserError: A library is missing, or `source` is not an exported network.
    """
    description = read_description(source)
    config = description.config
    graphs = quantised({name: read_graph(source, name) for name in graphs_of(config)}, config.image_size)
    write_exported(path, dataclasses.replace(description, precision="int8"), graphs)


def quantised(graphs: Mapping[str, bytes], image_size: int) -> dict[str, bytes]:
    """Graphs in INT8.

    Args:
        graphs: In float32, by name.
        image_size: Side of the network's input.

    Raises:
        UserError: A library is missing.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise UserError(
            f"INT8 needs onnx and onnxruntime: pip install 'efficient-medsam2[export]' ({error})"
        ) from error
    feeds = [{"image": image[None]} for image in calibration_images(image_size)]
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
                    str(prepared),
                    str(static),
                    _Reader(feeds, prepared),
                    op_types_to_quantize=["Conv", "Clip"],
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                )
                prepared = static
            if graph in DYNAMIC:
                dynamic = folder / f"{graph}-dynamic.onnx"
                quantization.quantize_dynamic(
                    str(prepared),
                    str(dynamic),
                    op_types_to_quantize=["MatMul"],
                    per_channel=True,
                    weight_type=quantization.QuantType.QInt8,
                    extra_options={"MatMulConstBOnly": True},
                )
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
    """Without the quantiser's advice, which it writes to the root logger; all other loggers go on."""
    import logging

    def is_heard(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logging.root.addFilter(is_heard)
    try:
        yield
    finally:
        logging.root.removeFilter(is_heard)


__all__ = ["quantise_exported", "quantised"]
