"""What several values a voxel are: colours, or the volumes of a time series. The file's own word counts."""

from __future__ import annotations

from EfficientMedSAM2Lib.core.errors import UserError

#: NRRD's kinds of an axis that holds one volume after another.
_SERIES = ("list", "time")
_NO_PICTURE = ("matrix", "quaternion", "gradient", "normal", "covariant-vector")


class SeveralVolumes(UserError):
    """A time series of which one volume has to be chosen; `count` says of how many."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


def one_volume(count: int, time_point: int | None, kind: str | None) -> slice:
    """Which of the values of a voxel to take: one, or three colours.

    Args:
        count: How many there are.
        time_point: The volume that was asked for, from 0; None for none.
        kind: What the file says they are, in NRRD's words; None where it says nothing. Then 3 or 4 are colours (the
            fourth is opacity), 2 are grey and opacity, and more are a series: Slicer keeps diffusion images so.

    Raises:
        UserError: They are no picture, a series without ``time_point``, or there is no such time point.
    """
    check_kind(kind)
    word = (kind or "").lower()
    if word in _SERIES or count > 4:
        index = time_index(count, time_point)
        return slice(index, index + 1)
    time_index(1, time_point)
    return slice(0, 3) if count in (3, 4) else slice(0, 1)


def check_kind(kind: str | None) -> None:
    """UserError where the values of a voxel, in NRRD's words, are no picture."""
    word = (kind or "").lower()
    if any(name in word for name in _NO_PICTURE):
        raise UserError(f"its voxels are of the kind {kind!r}, which is no picture.")
    if word == "complex":
        raise UserError("complex values are no picture; save the magnitude instead.")


def time_index(count: int, time_point: int | None, why: str = "") -> int:
    """Number of the volume to read; SeveralVolumes where it must be chosen, UserError where there is no such one.

    ``why`` says what tells the volumes apart.
    """
    if time_point is None and count > 1:
        what = f"a time series; {why}" if why else "a time series"
        raise SeveralVolumes(
            f"it holds {count} volumes ({what}); choose one with --time-point 0 to {count - 1} (time_point), or "
            "save one of them.",
            count,
        )
    if count == 1 and time_point:
        raise UserError(f"it is one volume, without a time point {time_point}; leave the time point out.")
    index = time_point or 0
    if not 0 <= index < count:
        raise UserError(f"there is no time point {index}; it has 0 to {count - 1}.")
    return index
