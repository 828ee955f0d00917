"""Memory: how large a scan is before it is read, and how much a worker has."""

from __future__ import annotations

import math
from pathlib import Path

from EfficientMedSAM2Lib.imaging.formats.npz import NPZ_SUFFIX, npz_shape

#: A case needs its volume, a copy while it is read, masks as bits, and the slices in work.
COPIES = 3.0
#: The network with its libraries, features of slices included.
BASE_BYTES = 1_500_000_000


def volume_bytes(path: str) -> int:
    """Bytes of a scan in memory, from its header; for a DICOM folder, those of its files. 0 where it is not known."""
    place = Path(path)
    if place.is_dir():
        return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    if path.lower().endswith(NPZ_SUFFIX):
        try:
            shape, dtype = npz_shape(path)
        except ValueError:
            return 0  # as below
        return math.prod(shape) * dtype.itemsize
    from EfficientMedSAM2Lib.imaging.formats.itk_files import voxel_bytes

    try:
        return voxel_bytes(place)
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError):
        return 0  # unreadable: the reading of it will say so


def check_fits(path: str) -> None:
    """Refuse a scan that is larger than this worker's memory, before it brings the worker down.

    Raises:
        MemoryError: It is too large.
    """
    limit, needed = worker_limit(), COPIES * volume_bytes(path)
    if limit and needed > limit:
        raise MemoryError(
            f"the scan needs about {needed / 1e9:.1f} GB and a worker has {limit / 1e9:.1f} GB; "
            f"run it alone with fewer workers, or crop it."
        )


def worker_limit() -> int:
    """Memory limit of the Dask worker that this runs in, in bytes; 0 where there is none."""
    from distributed import get_worker

    try:
        manager = get_worker().memory_manager
    except ValueError:  # not in a worker
        return 0
    return int(getattr(manager, "memory_limit", 0) or 0)
