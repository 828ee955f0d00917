"""The names under which EfficientMedSAM2 was first published, for scripts written against them.

Everything here re-exports from EfficientMedSAM2Lib. The folder is installed as the package `efficient_medsam2`.
"""

from EfficientMedSAM2Lib import __version__

__all__ = ["__version__"]
