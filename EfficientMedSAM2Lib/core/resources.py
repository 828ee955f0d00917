"""Where the weights, demo markups, icons and sample data lie, in every layout that the package is used in."""

from __future__ import annotations

from pathlib import Path

from EfficientMedSAM2Lib.core.errors import UserError

_PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


def resources_folder() -> Path:
    """The folder of resources: inside the package in an installed wheel, else beside it.

    "Beside" holds for a source checkout, for `pip install -e`, and for an installed 3D Slicer extension, where
    `EfficientMedSAM2Lib` and `Resources` are neighbours in the folder of scripted modules.

    Raises:
        FileNotFoundError: if neither folder exists, which means that the installation is incomplete.
    """
    candidates = (_PACKAGE_FOLDER / "Resources", _PACKAGE_FOLDER.parent / "Resources")
    for folder in candidates:
        if folder.is_dir():
            return folder
    message = f"No Resources folder in {candidates[0].parent} or {candidates[1].parent}: install the package again."
    raise FileNotFoundError(message)


def resource_path(*parts: str) -> Path:
    """The path of a shipped file or folder, for example `resource_path("Models", "efficientnet.safetensors")`.

    The file need not exist: callers say best themselves what is missing and what to do about it.
    """
    return resources_folder().joinpath(*parts)


def shipped_weights(encoder_type: str) -> Path:
    """The weights file that comes with the project for an encoder.

    Raises:
        UserError: None is shipped for it.
    """
    path = resource_path("Models", f"efficient_medsam2_{encoder_type}.safetensors")
    if not path.is_file():
        raise UserError(f"No weights are shipped for the encoder {encoder_type!r}; give checkpoint=<file>.")
    return path
