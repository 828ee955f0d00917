"""One-click set-up: ONNX Runtime; where it is needed or wanted, PyTorch through its extension. Asks before each."""

from __future__ import annotations

import importlib
import logging
import tempfile
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from .setup_state import TORCH_REQUIREMENT, SetupState, installed_version

logger = logging.getLogger(__name__)

REQUESTER = "EfficientMedSAM2"
#: Slicer brings them or PyTorch's own installer chose them: pip must not replace them.
PROTECTED = ("torch", "torchvision", "SimpleITK", "numpy")


class SetupDeclinedError(Exception):
    """The user said no; nothing was changed by the step that was declined."""


def install_missing(state: SetupState, with_torch: bool = False) -> bool:
    """Install what is missing, step by step.

    Args:
        state: What is there.
        with_torch: Install PyTorch, too, where the choices do not need it.

    Returns:
        Whether Slicer has to be restarted before the set-up can go on.

    Raises:
        SetupDeclinedError: The user declined a step.
        RuntimeError: A step failed; the message says what to do.
    """
    with_torch = with_torch or state.needs_torch
    if with_torch and state.torch is None and not state.extension:
        _install_pytorch_extension()
        return True
    if with_torch and state.torch is None:
        _install_torch()
    packages = [*(state.missing_for_torch if with_torch else ()), *state.missing_for_onnx]
    if packages:
        install_packages(packages)
    importlib.invalidate_caches()
    return False


def _install_pytorch_extension() -> None:
    question = _("EfficientMedSAM2 needs Slicer's PyTorch extension. Download and install it now?")
    if not slicer.util.confirmOkCancelDisplay(question, _("Set up EfficientMedSAM2")):
        raise SetupDeclinedError
    manager = slicer.app.extensionsManagerModel()
    if manager is None:
        raise RuntimeError(_("This Slicer has no Extensions Manager; install PyTorch into its Python yourself."))
    manager.interactive = False  # dependencies are installed without further questions
    manager.updateExtensionsMetadataFromServer(True, True)
    if not manager.installExtensionFromServer("PyTorch", False):
        raise RuntimeError(
            _("The PyTorch extension could not be installed. Check the network, or use the Extensions Manager.")
        )
    logger.info("Installed the PyTorch extension.")


def _install_torch() -> None:
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    torch = logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
    if torch is None:
        raise SetupDeclinedError
    logger.info("Installed PyTorch %s.", torch.__version__)


def install_packages(requirements: list[str]) -> None:
    """Install packages into Slicer's Python, after asking.

    Raises:
        SetupDeclinedError: The user said no.
        RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        versions = {name: installed_version(name) for name in PROTECTED}
        lines = [f"{name}=={version}" for name, version in versions.items() if version]
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        packaging = getattr(slicer, "packaging", None) or _import_packaging()
        if packaging is not None:
            try:
                packaging.pip_ensure(requirements, constraints=constraints, requester=REQUESTER)
            except RuntimeError as error:
                if "declined" not in str(error):  # pip_ensure's word for a user who says no
                    raise
                raise SetupDeclinedError from error
            return
        question = _("Download and install these Python packages now?") + "\n\n" + "\n".join(requirements)
        if not slicer.util.confirmOkCancelDisplay(question, _("Set up EfficientMedSAM2")):
            raise SetupDeclinedError
        slicer.util.pip_install(["--constraint", str(constraints), *requirements])
    logger.info("Installed %s.", ", ".join(requirements))


def _import_packaging() -> Any:
    """Slicer 5.12 or later has slicer.packaging."""
    try:
        return importlib.import_module("slicer.packaging")
    except ImportError:
        return None
