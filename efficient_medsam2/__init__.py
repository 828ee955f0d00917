"""The names under which EfficientMedSAM2 was first published, for scripts written against them.

Everything here re-exports from EfficientMedSAM2Lib, or calls its commands.
"""

from EfficientMedSAM2Lib import __getattr__, __version__  # `__getattr__` loads what is asked for

__all__ = ["EfficientMedSAM2VolumePredictor", "__getattr__", "__version__"]
