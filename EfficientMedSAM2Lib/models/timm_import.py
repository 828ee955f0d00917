"""Importing timm where torchvision's compiled operators do not load.

timm imports torchvision. When the two wheels do not match (a CPU build of torch beside PyPI's CUDA build of torchvision
is the common case), torchvision's Python half fails with "operator torchvision::nms does not exist", although
nothing here ever calls such an operator. Declaring the missing names is enough.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType

import torch

_MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")
_MAX_MISSING = 16
_declared = torch.library.Library("torchvision", "FRAGMENT")


def import_timm() -> ModuleType:
    """Import timm, declaring operators that torchvision's Python half misses.

    Returns:
        The `timm` module.

    Raises:
        ImportError: timm or torchvision is not installed, or cannot be loaded.
    """
    for _ in range(_MAX_MISSING):
        try:
            import timm
        except RuntimeError as error:
            missing = _MISSING_OPERATOR.search(str(error))
            if missing is None:
                raise ImportError(f"timm cannot be loaded: {error}") from error
            _declared.define(f"{missing.group(1)}(Tensor unused) -> Tensor")
            # A half-imported package stays in sys.modules and would be taken for a whole one.
            for name in [name for name in sys.modules if name.split(".")[0] in ("timm", "torchvision")]:
                del sys.modules[name]
        else:
            return timm
    raise ImportError("timm cannot be loaded: torchvision does not match this torch; reinstall both together.")
