"""Finds the engine beside the module (installed) or one folder up (source checkout)."""

from __future__ import annotations

import sys
from pathlib import Path

_MODULE_FOLDER = Path(__file__).resolve().parents[1]


def make_engine_importable(module_folder: Path = _MODULE_FOLDER) -> Path:
    """Put the folder that holds EfficientMedSAM2Lib on Python's path, once. Resources/ lies in the same folder.

    Args:
        module_folder: Folder of EfficientMedSAM2.py.

    Returns:
        That folder.

    Raises:
        ImportError: The engine is in neither place, so the installation is incomplete.
    """
    for folder in (module_folder, module_folder.parent):
        if (folder / "EfficientMedSAM2Lib" / "__init__.py").is_file():
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
            return folder
    raise ImportError(
        f"EfficientMedSAM2Lib is neither in {module_folder} nor one folder up: install the extension again."
    )
