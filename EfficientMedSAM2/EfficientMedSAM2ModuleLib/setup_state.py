"""What is installed and what is missing. Looks only; imports none of the packages, so it is quick."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement  # Slicer bundles it

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.pipeline.machine import installed_version
from EfficientMedSAM2Lib.runtimes.choice import may_have_gpu, runs_without_torch

from .settings import EngineSettings, task_facts, weights_facts

TORCH_REQUIREMENT = ">=2.1"
ONNX_REQUIREMENT = "onnxruntime>=1.17"
"""Alone enough for a CPU: 20 MB, without a restart, and faster there than PyTorch."""


@dataclass(frozen=True)
class SetupState:
    """State of the installation.

    Attributes:
        extension: Whether the PyTorch extension is loaded.
        torch: Version of PyTorch, None when there is none.
        needs_torch: Whether the choices need PyTorch: a GPU by name, or weights that are not exported.
        gpu: Whether there is a driver of a GPU, which PyTorch would use.
        missing_for_torch: What PyTorch needs besides, and is not there, such as "timm>=1.0.9".
        missing_for_onnx: The same for ONNX Runtime.
        packages: Versions of the packages that are there.
        weights: Where the weights come from and under which licence.
        weights_problem: Why the chosen weights cannot be used; empty when they can.
        restart_needed: Something was installed that only counts after a restart.
    """

    extension: bool
    torch: str | None
    needs_torch: bool
    gpu: bool
    missing_for_torch: tuple[str, ...]
    missing_for_onnx: tuple[str, ...]
    packages: tuple[str, ...]
    weights: str
    weights_problem: str
    restart_needed: bool = False

    @property
    def torch_complete(self) -> bool:
        """Whether PyTorch can compute."""
        return self.torch is not None and not self.missing_for_torch

    @property
    def missing(self) -> tuple[str, ...]:
        """What the set-up button installs besides PyTorch; ONNX Runtime, which is faster on a CPU, in any case."""
        return (*(self.missing_for_torch if self.needs_torch else ()), *self.missing_for_onnx)

    @property
    def installable(self) -> bool:
        """Whether the set-up button has something to do."""
        return not self.restart_needed and ((self.needs_torch and self.torch is None) or bool(self.missing))

    @property
    def torch_offered(self) -> bool:
        """Whether PyTorch can be installed too, and would help."""
        return not self.restart_needed and not self.needs_torch and self.gpu and not self.torch_complete

    @property
    def ready(self) -> bool:
        """Whether the network can be used."""
        can_compute = self.torch_complete or (not self.needs_torch and not self.missing_for_onnx)
        return can_compute and not self.weights_problem and not self.restart_needed

    @property
    def summary(self) -> str:
        """What the user can do now, in a sentence or two."""
        if self.restart_needed:
            return "Restart Slicer to go on with the set-up."
        if self.needs_torch and self.torch is None and not self.extension:
            return "PyTorch is missing. Set up installs Slicer's PyTorch extension first, and asks before it does."
        if self.needs_torch and self.torch is None:
            return "PyTorch is missing. Set up installs it, and asks before it does."
        if self.needs_torch and not self.torch_complete:
            return "Some Python packages are missing. Set up installs them, and asks before it does."
        if not self.needs_torch and self.missing_for_onnx and not self.torch_complete:
            return "ONNX Runtime is missing. Set up installs it (20 MB, no restart), and asks before it does."
        if self.weights_problem:
            return self.weights_problem
        if self.torch_offered:
            return "Ready, on the processor. This computer seems to have a GPU, which PyTorch would use."
        if self.missing_for_onnx:
            return "Ready. Set up installs ONNX Runtime too, which is faster on a CPU, and asks before it does."
        return "Ready."


def setup_state(settings: EngineSettings, requirements: list[str], restart_needed: bool = False) -> SetupState:
    """Look at the installation.

    Args:
        settings: The user's choices.
        requirements: What PyTorch needs besides, lines such as "timm>=1.0.9".
        restart_needed: Passed on.
    """
    importlib.invalidate_caches()
    wanted = {line: Requirement(line) for line in (*requirements, ONNX_REQUIREMENT)}
    found = {line: installed_version(requirement.name) for line, requirement in wanted.items()}
    unmet = [line for line, requirement in wanted.items() if not _is_met(requirement, found[line])]
    weights, problem = _weights(settings)
    return SetupState(
        extension=importlib.util.find_spec("PyTorchUtils") is not None,
        torch=installed_version("torch"),
        needs_torch=_needs_torch(settings),
        gpu=may_have_gpu(),
        missing_for_torch=tuple(line for line in unmet if line != ONNX_REQUIREMENT),
        missing_for_onnx=tuple(line for line in unmet if line == ONNX_REQUIREMENT),
        packages=tuple(f"{wanted[line].name} {version}" for line, version in found.items() if version),
        weights=weights,
        weights_problem=problem,
        restart_needed=restart_needed,
    )


def _needs_torch(settings: EngineSettings) -> bool:
    try:
        arguments = settings.build_arguments()
        return not runs_without_torch(arguments["encoder_type"], arguments["checkpoint"], arguments["device"])
    except UserError:  # of the weights, which is said elsewhere
        return False


def read_requirements(path: Path) -> list[str]:
    """Requirements of a requirements.txt, without comments."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _weights(settings: EngineSettings) -> tuple[str, str]:
    from EfficientMedSAM2Lib.core.resources import resource_path

    encoder, task = settings.encoder, ""
    try:
        if settings.task:
            known = task_facts(settings.task)
            encoder, task = known["encoder"], f", task {known['name']} from {known['cases']} cases"
    except UserError as error:
        return "", str(error)
    path = settings.weights or str(resource_path("Models", f"efficient_medsam2_{encoder}.safetensors"))
    try:
        facts = weights_facts(path)
    except UserError as error:
        if not settings.weights and not Path(path).is_file():
            return "", f"No weights are shipped for {settings.encoder}; choose another encoder or a file of your own."
        return "", str(error)
    return f"{Path(path).name} ({facts['licence']}){task}", ""


def _is_met(requirement: Requirement, version: str | None) -> bool:
    return version is not None and requirement.specifier.contains(version, prereleases=True)
