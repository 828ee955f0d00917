"""A torch network as ONNX graphs. Needs torch and onnx; what comes out needs neither."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import Description, graphs_of, write_exported

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.models import EfficientMedSAM2

OPSET = 17
"""The oldest with layer normalisation as one operator; ONNX Runtime has had it since 1.12."""
PRECISIONS = ("fp32", "int8")


def export_network(model: EfficientMedSAM2, path: Path, precision: str = "fp32", weights_sha256: str = "") -> None:
    """Write a network as an `.onnx.zip` file.

    Args:
        model: Fused, in float32, on the CPU.
        path: The file.
        precision: "fp32" or "int8".
        weights_sha256: Of the weights file that the network comes from.

    Raises:
        UserError: Unknown precision, or onnx is not installed.
    """
    import torch

    from EfficientMedSAM2Lib.models.builder import WEIGHTS_LICENCE

    if precision not in PRECISIONS:
        raise UserError(f"A network is exported as {' or '.join(PRECISIONS)}, not {precision!r}.")
    graphs = export_graphs(model)
    if precision == "int8":
        from EfficientMedSAM2Lib.runtimes.onnx.quantise import quantised

        graphs = quantised(graphs, model.config.image_size)
    description = Description(
        config=model.config,
        precision=precision,
        weights_sha256=weights_sha256,
        parameters=model.parameter_count(),
        licence=WEIGHTS_LICENCE,
        no_memory=tuple(model.no_memory.flatten().tolist()),
        no_object_pointer=tuple(model.no_object_pointer.flatten().tolist()),
        heuristics=model.heuristics,
        notes={"torch": torch.__version__, "opset": str(OPSET)},
    )
    write_exported(path, description, graphs)


def export_graphs(model: EfficientMedSAM2) -> dict[str, bytes]:
    """The graphs of a network in float32, by the names of `GRAPHS`, in that order.

    Raises:
        UserError: onnx is not installed.
    """
    try:
        import onnx  # noqa: F401  # torch asks for it at the very end, and less clearly
    except ImportError as error:
        raise UserError(
            f"An export needs the package onnx: pip install 'efficient-medsam2[export]' ({error})"
        ) from error
    parts = _parts(model)
    return {name: _graph(*parts[name]) for name in graphs_of(model.config)}


def _graph(module: Any, inputs: dict[str, Any], outputs: tuple[str, ...]) -> bytes:
    import torch

    buffer: Any = io.BytesIO()  # torch takes it, its stubs do not say so
    # Sizes that may change: objects, clicks, tokens, memories.
    axes = {key: {0: "objects"} for key in (*inputs, *outputs)}
    for key, size in (("points", "clicks"), ("labels", "clicks"), ("tokens", "tokens")):
        if key in axes:
            axes[key][1] = size
    for key in ("maps", "pointers", "distance_mm", "conditioning"):
        if key in inputs:
            axes[key][1] = "memories"
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # Of Python values that become constants: sizes, which are constants.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            buffer,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def _parts(model: EfficientMedSAM2) -> dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]]:
    """For each graph its module, example inputs of two objects, and the names of its outputs."""
    import torch

    from EfficientMedSAM2Lib.models.bundles import (
        DENSE_CHANNELS,
        DecodedMasks,
        EncodedPrompts,
        ImageFeatures,
        MemoryBank,
        PromptBatch,
    )

    class Part(torch.nn.Module):
        """A method of the network as a module of its own."""

        def __init__(self, method: Any) -> None:
            super().__init__()
            self.network = model
            self.method = method

        def forward(self, *inputs: Any) -> Any:
            return self.method(*inputs)

    def given(bundle: Any) -> tuple[Any, ...]:
        return tuple(part for part in bundle if part is not None)

    def attend(embedding: Any, *bank: Any) -> Any:
        return model.attend(ImageFeatures(embedding, None, None), MemoryBank(*bank)).embedding

    def prompt(*prompts: Any) -> Any:
        return given(model.encode_prompts(PromptBatch(*prompts)))

    def decode(*inputs: Any) -> Any:
        images, prompts = inputs[: len(features)], inputs[len(features) :]
        return tuple(model.decode(ImageFeatures(*images), EncodedPrompts(*prompts)))

    def memorise(embedding: Any, mask_logits: Any) -> Any:
        return model.encode_memory(ImageFeatures(embedding, None, None), mask_logits)

    config, objects, memories, clicks = model.config, 2, 3, 2
    side, low_res = config.embedding_size, config.low_res_size
    embedding = torch.randn(objects, config.embed_dim, side, side)
    features = {
        "embedding": embedding,
        "stride8": torch.randn(objects, config.skip_dims[0], 2 * side, 2 * side),
        "stride4": torch.randn(objects, config.skip_dims[1], 4 * side, 4 * side),
    }
    bank = {
        "maps": torch.randn(objects, memories, config.memory_dim, side, side),
        "pointers": torch.randn(objects, memories, config.embed_dim),
        "distance_mm": torch.randn(objects, memories),
        "conditioning": torch.zeros(objects, memories),
    }
    logits = torch.randn(objects, 1, low_res, low_res)
    prompts = {
        "points": torch.rand(objects, clicks, 2) * config.image_size,
        "labels": torch.ones(objects, clicks, dtype=torch.long),
        "boxes": torch.tensor([[40.0, 50.0, 120.0, 160.0]]).repeat(objects, 1),
        "mask_logits": logits,
        "has_mask": torch.ones(objects),
        "neighbour_logits": logits,
        "neighbour_mm": torch.ones(objects),
    }
    if config.is_fine:
        features["stride2"] = torch.randn(objects, config.fine_dim, low_res, low_res)
        prompts["dense"] = torch.rand(objects, DENSE_CHANNELS, low_res, low_res)
    encoded = model.encode_prompts(PromptBatch(**prompts))._asdict()
    encoded = {name: value for name, value in encoded.items() if value is not None}
    image = torch.rand(objects, 3, config.image_size, config.image_size)
    parts: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
        "encode": (Part(lambda x: given(model.encode_image(x))), {"image": image}, tuple(features)),
        "attend": (Part(attend), {"embedding": embedding, **bank}, ("informed",)),
        "prompt": (Part(prompt), prompts, tuple(encoded)),
        "decode": (Part(decode), {**features, **encoded}, DecodedMasks._fields),
        "memorise": (Part(memorise), {"embedding": embedding, "mask_logits": logits}, ("memory",)),
    }
    if config.context is not None:
        cubes = torch.randn(objects, config.context.channels, *[config.context.size] * 3)
        parts["context"] = (Part(model.context_logits), {"cubes": cubes}, ("context",))
    return parts


__all__ = ["PRECISIONS", "export_graphs", "export_network"]
