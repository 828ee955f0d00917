"""The names under which EfficientMedSAM2 was first published, for scripts written against them.

Everything here re-exports from EfficientMedSAM2Lib. The folder is installed as the package `efficient_medsam2`.
"""

from EfficientMedSAM2Lib import __getattr__, __version__  # `__getattr__` loads what is asked for

__all__ = ["EfficientMedSAM2VolumePredictor", "__getattr__", "__version__"]
