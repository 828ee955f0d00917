"""What cases have to be like so that something can be learnt from them, one sentence for each that is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.learning.tasks.cases import FinishedCase
from EfficientMedSAM2Lib.learning.tasks.samples import structure_size_mm

MOST_CASES = 50
SIZE_RATIO = 4.0
"""Largest ratio of a structure's longest side to that of the others: beyond, it is another structure."""


def check_cases(cases: Sequence[FinishedCase], segment: str) -> None:
    """Refuse cases that cannot be learnt from.

    Raises:
        UserError: They are too few or too many, a mask is empty, a scan comes twice, modalities differ, or one
            structure has not the size of the others.
    """
    if not cases:
        raise UserError(f"There is no case with a structure {segment!r}; check its name.")
    empty = [case.name for case in cases if not case.image.labels.any()]
    if empty:
        raise UserError(f"The mask of {segment!r} in {empty[0]} is empty; draw it, or leave the case out.")
    patients = {case.patient for case in cases}
    if len(patients) < 2:
        what = "One case" if len(cases) == 1 else f"{len(cases)} cases of one patient"
        raise UserError(f"{what} cannot show whether others get better; give cases of two patients or more.")
    if len(cases) > MOST_CASES:
        raise UserError(f"There are {len(cases)} cases, and {MOST_CASES} are the most; give the best of them.")
    _check_twins(cases)
    kinds = {modality_of(case): case.name for case in reversed(cases) if modality_of(case)}
    if len(kinds) > 1:
        said = ", ".join(f"{name} is {kind}" for kind, name in sorted(kinds.items()))
        raise UserError(f"The cases are of different modalities ({said}); learn a task for each.")
    sizes = np.array([structure_size_mm(case.image) for case in cases])
    ratios = np.maximum(sizes / np.median(sizes), np.median(sizes) / sizes)
    if ratios.max() > SIZE_RATIO:
        odd = int(ratios.argmax())
        raise UserError(
            f"{segment!r} is {sizes[odd]:.0f} mm long in {cases[odd].name}, {np.median(sizes):.0f} mm in the others; "
            "it seems to be another structure. Leave that case out, or correct it."
        )


def _check_twins(cases: Sequence[FinishedCase]) -> None:
    """The same scan under two names would be learnt from and tested on."""
    seen: dict[tuple[tuple[int, ...], bytes], str] = {}
    for case in cases:
        voxels = case.image.voxels
        middle = np.ascontiguousarray(voxels[len(voxels) // 2])
        other = seen.setdefault((voxels.shape, middle.tobytes()), case.name)
        if other != case.name:
            raise UserError(f"{case.name} is the same scan as {other}; leave one of them out.")


def modality_of(case: FinishedCase) -> str:
    """The modality without its variety: MR of "MR cine"; empty where it is not known."""
    word = (case.image.modality or "").replace("-", " ").split(" ")[0].upper()
    return {"PET": "PT", "MRI": "MR"}.get(word, word)


__all__ = ["MOST_CASES", "check_cases", "modality_of"]
