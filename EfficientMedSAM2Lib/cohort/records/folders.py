"""The folder of a case: it appears whole, under its final name, or not at all; and a reader's correction is kept."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.cohort.records.hashing import sha256_of
from EfficientMedSAM2Lib.core.files import check_component, replacing

CASES, CORRECTED, RECORD, SCENE = "cases", "corrected", "provenance.json", "scene.mrml"
SEGMENTATION, DICOM, PROMPTS, PICTURE = "segmentation.seg.nrrd", "segmentation.dcm", "prompts.mrk.json", "picture.png"
PROMPT_OF_SCENE = "prompt-{}.mrk.json"  # a scene has a file for each prompt
_SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini")  # written by file managers, about how a folder is shown
_PARTIAL, _OLD = ".partial-", ".old-"


def case_path(output: Path, name: str) -> Path:
    """Folder of a case, which never is another one.

    Raises:
        UserError: The name is not a single safe component of a path.
    """
    return output / CASES / check_component(name)


@contextmanager
def case_folder(output: Path, name: str) -> Iterator[Path]:
    """A temporary folder that becomes ``output/cases/<name>`` when the block succeeds, and is removed when it fails.

    What was there before stays until then. If somebody has changed the files of it, such as a reader who corrected the
    segmentation, it is not replaced but moved to ``output/corrected``.
    """
    target = case_path(output, name)
    token = uuid.uuid4().hex[:8]
    temporary = target.with_name(f"{_PARTIAL}{token}-{name}")
    old = target.with_name(f"{_OLD}{token}-{name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _flush(temporary)
        if target.exists() and changed_by_hand(target):
            (output / CORRECTED).mkdir(exist_ok=True)
            os.rename(target, output / CORRECTED / f"{name} {token}")
        elif target.exists():
            os.rename(target, old)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def finished_record(output: Path, name: str, key: str) -> dict[str, Any] | None:
    """The record of a case that is finished with this key, all its files there; else None.

    Files that were changed since then are those of a reader, and are good.
    """
    folder = case_path(output, name)
    record = _record(folder)
    if record.get("key") != key or not all((folder / file).is_file() for file in record.get("files", {})):
        return None
    return record


def kept_corrections(output: Path) -> dict[str, tuple[dict[str, Any], Path]]:
    """Record and folder of the last correction of each case that a later run has computed anew, by case."""
    folders = [path for path in (output / CORRECTED).glob("*") if path.is_dir()]
    records = sorted(((_record(folder), folder) for folder in folders), key=lambda kept: str(kept[0].get("corrected")))
    return {str(record["case"]): (record, folder) for record, folder in records if record.get("corrected")}


def changed_by_hand(folder: Path) -> bool:
    """Whether a finished case holds a reader's work: a file that is not what was written, or an accepted correction.

    So is a file that nobody here has written, or a folder without a record.
    """
    record = _record(folder)
    if record.get("corrected") or any(was_rewritten(folder, file) for file in record.get("files", {})):
        return True
    written = {*record.get("files", {}), RECORD, SCENE, *_SYSTEM_FILES}
    others = (path for path in folder.iterdir() if path.name not in written)
    return any(not fnmatch(path.name, PROMPT_OF_SCENE.format("*")) for path in others)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record of a case.

    Raises:
        UserError: It cannot be written.
    """
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def was_rewritten(folder: Path, file: str) -> bool:
    """Whether a file of a finished case is there, and is not what its record says."""
    digest = _record(folder).get("files", {}).get(file)
    return digest is not None and (folder / file).is_file() and sha256_of(folder / file) != digest


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def remove_leftovers(output: Path) -> int:
    """Remove what a run that was killed left half-written; the number of folders."""
    found = [path for prefix in (_PARTIAL, _OLD) for path in (output / CASES).glob(f"{prefix}*")]
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    return len(found)


def _flush(folder: Path) -> None:
    """Bring the files to the disk before they get their names, so that a power cut leaves no empty ones."""
    for path in folder.iterdir():
        with path.open("rb+") as stream:
            os.fsync(stream.fileno())
