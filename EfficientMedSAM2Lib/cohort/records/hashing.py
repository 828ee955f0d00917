"""Content hashes: by which a case is recognised, wherever its files lie and whatever their dates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of as sha256_of_file
from EfficientMedSAM2Lib.core.files import walk

if TYPE_CHECKING:
    from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder.

    Raises:
        UserError: Something cannot be read.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            return sha256_of_file(path)
        digest = hashlib.sha256()
        for file in _files(path):
            digest.update(file.relative_to(path).as_posix().encode(errors="surrogateescape"))
            digest.update(bytes.fromhex(sha256_of(file)))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    return digest.hexdigest()


def stamp_of(path: str | Path) -> str:
    """Size and time of change of a file, or of all in a folder: while they stay, so does the hash."""
    path = Path(path)
    try:
        found = [(str(file), file.stat()) for file in (_files(path) if path.is_dir() else [path])]
    except OSError:
        return ""
    text = json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in found])
    return hashlib.sha256(text.encode()).hexdigest()


def case_key(case: CaseSpec, settings: RunSettings, hashes: Mapping[str, str]) -> str:
    """Key of a case: its image, prompts, what is wanted, the weights and the settings. Paths do not count, contents do.

    Args:
        case: The case.
        settings: Resolved settings.
        hashes: Path to SHA-256, for all files of the case.
    """
    requested = asdict(case)
    requested.pop("line")
    if case.series is None:  # keys of cases that name none are those of earlier manifests
        requested.pop("series")
    requested["image"] = hashes[case.image]
    for segment, spec in zip(requested["segments"], case.segments):
        segment["prompts"] = [hashes[path] for path in spec.prompts]
        segment["mask"] = hashes[spec.mask] if spec.mask else None
    text = json.dumps([__version__, settings.identity, requested], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for _, files in walk(folder) for path in files)
