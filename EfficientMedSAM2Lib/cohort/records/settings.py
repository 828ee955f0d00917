"""What a run of a cohort is done with: everything that the masks depend on, and how results are written."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.case import PropagationOptions
from EfficientMedSAM2Lib.pipeline.engine import DEFAULT_ENCODER
from EfficientMedSAM2Lib.runtimes.weights_metadata import encoder_of

#: What builds the session of a worker, as "module:function": worker processes, also those on other machines, can
#: import it by name.
ENGINE = "EfficientMedSAM2Lib.pipeline.engine:build_session"
FORMATS = ("seg.nrrd", "dicom-seg")


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run. Two runs with the same `identity` make the same masks from the same files.

    Attributes:
        encoder: Name of the encoder; None for that of the weights.
        weights: Path of a weights file; None for the shipped one.
        weights_sha256: What the file must contain; filled in by `resolved`.
        task: Path of a `.task` file: what the network has learnt of one structure; None for none.
        task_sha256: What that file must contain; filled in by `resolved`.
        device: "auto", "cuda", "mps" or "cpu".
        runtime: "torch" or "onnx"; "auto" is replaced by `resolved`, so that all workers compute alike.
        precision: "fp32", "fp16", "bf16" or "int8"; None for the fastest that keeps the masks.
        threads: Threads of the network in each worker. Sums in another order round differently, so that the masks may
            depend on it, by a voxel here and there.
        propagation: How far segments are carried.
        output_format: "seg.nrrd" or "dicom-seg".
        pictures: Whether to draw each case for the contact sheet.
        command: The command line, for the provenance of each case.
        engine: "module:function" that builds a session; another one puts another predictor into the same machinery.
    """

    encoder: str | None = None
    weights: str | None = None
    weights_sha256: str = ""
    task: str | None = None
    task_sha256: str = ""
    device: str = "auto"
    runtime: str = "auto"
    precision: str | None = None
    threads: int = 1
    propagation: PropagationOptions = field(default_factory=PropagationOptions)
    output_format: str = "seg.nrrd"
    pictures: bool = True
    command: tuple[str, ...] = ()
    engine: str = ENGINE

    def __post_init__(self) -> None:
        if self.output_format not in FORMATS:
            raise UserError(f"Unknown output format {self.output_format!r}; use {' or '.join(FORMATS)}.")
        if self.threads < 1:
            raise UserError(f"A worker needs at least one thread, not {self.threads}.")

    def resolved(self) -> RunSettings:
        """With the weights' hash, encoder and runtime filled in.

        Raises:
            UserError: The weights are missing or not of this program.
        """
        if self.engine != ENGINE:
            return self
        from EfficientMedSAM2Lib.core.files import sha256_of
        from EfficientMedSAM2Lib.runtimes.choice import choose_runtime
        from EfficientMedSAM2Lib.runtimes.tasks import read_task

        encoder = read_task(self.task).encoder if self.task and not self.encoder else self.encoder
        path = weights_file(encoder, self.weights)
        encoder, weights, runtime = encoder_of(path), str(path.resolve()) if self.weights else None, self.runtime
        if runtime == "auto":
            runtime = choose_runtime(encoder, weights, self.device, self.precision)
        known = {"encoder": encoder, "weights": weights, "weights_sha256": sha256_of(path), "runtime": runtime}
        if self.task:
            read_task(self.task).check_weights(str(known["weights_sha256"]), str(path))
            known.update(task=str(Path(self.task).resolve()), task_sha256=sha256_of(Path(self.task)))
        return replace(self, **known)  # type: ignore[arg-type]  # a dict of several types

    @property
    def identity(self) -> str:
        """What the masks and files of a case depend on, as text to be hashed."""
        known: dict[str, Any] = asdict(self)
        for name in ("weights", "task", "pictures", "command"):  # what is in the file counts, not where it lies
            known.pop(name)
        for name in ("precision", "task_sha256"):  # keys of runs that ask for none are those of earlier runs
            if not known[name]:
                known.pop(name)
        return json.dumps(known, sort_keys=True)


def weights_file(encoder: str | None, weights: str | None) -> Path:
    """The weights file that an encoder name and a path stand for.

    Raises:
        UserError: None is shipped for that encoder.
    """
    from EfficientMedSAM2Lib.core.resources import shipped_weights

    return Path(weights) if weights else shipped_weights(encoder or DEFAULT_ENCODER)
