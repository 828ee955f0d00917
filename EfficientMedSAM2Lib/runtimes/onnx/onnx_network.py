"""An exported network on ONNX Runtime: the methods of `EfficientMedSAM2`, on numpy arrays, without torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.models.bundles import (
    DENSE_CHANNELS,
    DecodedMasks,
    EncodedPrompts,
    ImageFeatures,
    MemoryBank,
    PromptBatch,
)
from EfficientMedSAM2Lib.runtimes.onnx.changed_weights import Change, changed, changes_of
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import read_description, read_graph
from EfficientMedSAM2Lib.runtimes.tasks.task import Task

ALONE = ("context",)
"""Graphs that no other one runs beside."""


class Cpu:
    """Where an exported network computes; has of `torch.device` what callers ask for."""

    type = "cpu"
    index = None

    def __str__(self) -> str:
        return self.type


class OnnxNetwork:
    """Arrays in, arrays out. Graphs are loaded when first used: a click needs neither memory nor attention to it.

    Args:
        path: An `.onnx.zip` file of `efficient-medsam2 export`.
        threads: Threads of all graphs that run at once; None takes OMP_NUM_THREADS, else every core that this process
            may use.
        streams: Graphs that run at once, which share the threads; predictors ask from two threads.
        task: What the network has learnt of one structure; None for the network as it is.
        weights: The `.safetensors` file that it was exported from, to which a task adds; None for the shipped one.

    Attributes:
        config: Sizes.
        heuristics: Rules and numbers of predictors that come with the weights, or suit the task.
        task: As given.
        threads: Threads of all graphs that run at once.
        device: Always the CPU.
        compute_dtype: "float32" or "int8".

    Raises:
        UserError: The file cannot be read, or ONNX Runtime is not installed.
    """

    runtime = "ONNX Runtime"
    array_library: Literal["torch", "numpy"] = "numpy"
    runs_concurrently = True
    """A graph may well run in one thread while another one runs in a second thread."""
    device = Cpu()

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        streams: int = 2,
        task: Task | None = None,
        weights: Path | None = None,
    ) -> None:
        self.path = Path(path)
        self.description = read_description(path)
        self.config = self.description.config
        self.heuristics = self.description.heuristics
        self.task, self._weights = task, weights
        self._changes: dict[str, list[Change]] = {}
        if task is not None:
            self.heuristics = task.heuristics(self.heuristics)
            self._changes = changes_of(task, self.description, weights)
        self.compute_dtype = "int8" if self.description.precision == "int8" else "float32"
        self.threads = threads or _threads()
        self._streams = streams
        self._runtime = _onnxruntime()
        self._sessions: dict[str, Any] = {}
        self._no_memory = np.array(self.description.no_memory, np.float32)[None, :, None, None]
        self._no_object_pointer = np.array(self.description.no_object_pointer, np.float32)[None]

    def __reduce__(self) -> tuple[type[OnnxNetwork], tuple[Path, int, int, Task | None, Path | None]]:
        # Graphs that are loaded cannot be pickled; they are loaded again from the file.
        return type(self), (self.path, self.threads, self._streams, self.task, self._weights)

    @property
    def image_size(self) -> int:
        """Side of the square that the network sees, in its pixels. SAM2's name."""
        return self.config.image_size

    def set_threads(self, count: int) -> None:
        """Set `threads`; graphs that are loaded already are loaded anew."""
        self.threads = count
        self._sessions.clear()

    def encode_image(self, image: np.ndarray) -> ImageFeatures:
        """(B,3,S,S) float32 with values in 0...1 to features."""
        return ImageFeatures(*self._run("encode", image=image))

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        """Features of a slice that stands alone."""
        return features._replace(embedding=features.embedding + self._no_memory)

    def attend(self, features: ImageFeatures, bank: MemoryBank) -> ImageFeatures:
        """Features of a slice informed by memories of other slices.

        Raises:
            ValueError: The bank has memories that do not count; leave them out.
        """
        if bank.valid is not None and not bank.valid.all():
            raise ValueError("An exported network takes memories that count only; leave the others out of the bank.")
        (embedding,) = self._run(
            "attend",
            embedding=features.embedding,
            maps=bank.maps,
            pointers=bank.pointers,
            distance_mm=bank.distance_mm,
            conditioning=bank.conditioning,
        )
        return features._replace(embedding=embedding)

    def encode_prompts(self, prompts: PromptBatch) -> EncodedPrompts:
        """What the prompts of B objects say, before a slice is seen."""
        return EncodedPrompts(*self._run("prompt", **prompt_inputs(prompts, self.config.low_res_size)))

    def decode(self, features: ImageFeatures, prompts: EncodedPrompts) -> DecodedMasks:
        """Masks for B objects from features of B slices; see `DecodedMasks`."""
        return DecodedMasks(*self._run("decode", **features._asdict(), **prompts._asdict()))

    def encode_memory(self, features: ImageFeatures, mask_logits: np.ndarray) -> np.ndarray:
        """Memory maps (B,memory_dim,S/16,S/16) of slices with mask logits (B,1,h,h)."""
        (memory,) = self._run("memorise", embedding=features.embedding, mask_logits=mask_logits)
        return np.asarray(memory)

    def context_logits(self, cubes: np.ndarray) -> np.ndarray:
        """Mask logits (B,N,N,N) of cubes (B,channels,N,N,N) from `core.context_cube.network_input`.

        Raises:
            ValueError: This network was exported from weights without a context network; `config.context` says so.
        """
        if self.config.context is None:
            raise ValueError(f"{self.path} has no context network; export weights that have one.")
        (logits,) = self._run("context", cubes=cubes)
        return np.asarray(logits)

    def object_pointer(self, decoded: DecodedMasks, chosen: np.ndarray) -> np.ndarray:
        """Pointers (B,embed_dim) of the chosen masks (B,), or the learned 'no object' where the object is absent."""
        pointer = decoded.pointers[np.arange(len(chosen)), chosen]
        return np.where(decoded.object_logit > 0, pointer, self._no_object_pointer)

    def parameter_count(self) -> int:
        """Number of parameters."""
        return self.description.parameters

    def _run(self, graph: str, **inputs: Any) -> list[np.ndarray]:
        session = self._sessions.get(graph)
        if session is None:
            # Two threads may both make one; the last stays, and either does the same.
            streams = 1 if graph in ALONE else self._streams
            content = changed(read_graph(self.path, graph), self._changes.get(graph, ()))
            session = self._sessions[graph] = self._session(content, streams)
        # An input that a graph has no use for is not among its inputs.
        fed = {i.name: np.ascontiguousarray(inputs[i.name]) for i in session.get_inputs()}
        outputs: list[np.ndarray] = session.run(None, fed)
        return outputs

    def _session(self, graph: bytes, streams: int) -> Any:
        options = self._runtime.SessionOptions()
        # Two graphs at once use two cores better than the small operations of one graph.
        options.intra_op_num_threads = -(-self.threads // streams)
        # Threads that wait busily for the next graph take the cores from numpy, and from each other's graphs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        return self._runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def prompt_inputs(prompts: PromptBatch, size: int) -> dict[str, np.ndarray]:
    """All inputs of the graph "prompt", with what says nothing where a prompt is not given.

    Args:
        prompts: Of B objects.
        size: Side of mask logits.
    """
    batch = len(prompts.boxes)
    nothing = np.zeros((batch, 1, size, size), np.float32)
    # NaN is a neighbour that is not there.
    mask, has_mask, neighbour, neighbour_mm = nothing, np.zeros(batch), nothing, np.full(batch, np.nan)
    if prompts.mask_logits is not None:
        mask, has_mask = prompts.mask_logits, np.ones(batch) if prompts.has_mask is None else prompts.has_mask
    if prompts.neighbour_logits is not None:
        neighbour = prompts.neighbour_logits
        neighbour_mm = np.zeros(batch) if prompts.neighbour_mm is None else prompts.neighbour_mm
    floats = {
        "points": prompts.points,
        "boxes": prompts.boxes,
        "mask_logits": mask,
        "has_mask": has_mask,
        "neighbour_logits": neighbour,
        "neighbour_mm": neighbour_mm,
        "dense": np.zeros((batch, DENSE_CHANNELS, size, size)) if prompts.dense is None else prompts.dense,
    }
    labels = np.asarray(prompts.labels, np.int64)
    return {"labels": labels, **{name: np.asarray(value, np.float32) for name, value in floats.items()}}


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX Runtime is needed for runtime='onnx': pip install onnxruntime ({error})") from error
    return onnxruntime


def _threads() -> int:
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


__all__ = ["Cpu", "OnnxNetwork", "prompt_inputs"]
