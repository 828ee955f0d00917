"""The names under which EfficientMedSAM2 was first published, for scripts written against them.

Everything here re-exports from EfficientMedSAM2Lib, or calls its commands.
"""

from EfficientMedSAM2Lib import __version__

__all__ = ["__version__"]
