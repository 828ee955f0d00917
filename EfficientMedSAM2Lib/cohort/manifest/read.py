"""Reading a manifest: CSV, JSON or a BIDS folder -> cases, or one error that lists everything that is wrong."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from EfficientMedSAM2Lib.cohort.manifest.cases import CaseSpec, SegmentSpec, absolute, segment_of
from EfficientMedSAM2Lib.cohort.manifest.rows import WITH_TASK, ManifestRow, sentences
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import check_component
from EfficientMedSAM2Lib.imaging.formats.files import from_csv_cell
from EfficientMedSAM2Lib.imaging.markups import markup_name, read_markups
from EfficientMedSAM2Lib.imaging.volumes import volume_name

logger = logging.getLogger(__name__)

#: Columns that belong to the scan, in the order of `CaseSpec`; all lines of a case must agree on them.
_OF_THE_SCAN = ("modality", "window", "time_point", "series")

Problems = list[tuple[int, str]]  # line, sentence


class ManifestError(UserError):
    """A manifest that cannot be run.

    Attributes:
        problems: One sentence each, sorted by line.
    """

    def __init__(self, source: str, problems: Iterable[tuple[int, str]]) -> None:
        self.problems = [
            f"{source}, line {line}: {text}" if line else f"{source}: {text}" for line, text in sorted(problems)
        ]
        super().__init__("\n".join(self.problems))


def read_cohort_manifest(path: str | Path, structure: str | None = None) -> list[CaseSpec]:
    """Read a manifest and check all that can be checked without reading a scan.

    Args:
        path: A ``.csv`` or ``.json`` file (columns: see `ManifestRow`), or a BIDS folder.
        structure: Name of the one that a task finds by itself, so that lines need no prompt; None for no task.

    Raises:
        ManifestError: Something is wrong; it lists everything that is.
        UserError: It is no manifest at all.
    """
    path = Path(path)
    problems: Problems = []
    if path.is_dir():
        from EfficientMedSAM2Lib.cohort.manifest.folders import bids_cases

        found = bids_cases(path)
        for markups in found.without_scan:
            logger.warning("left out, no scan that it belongs to: %s", markups)
        return _cases([(0, row) for row in found.rows], path, path, problems, structure)
    if not path.is_file():
        raise UserError(f"There is no manifest {path}; write one with: efficient-medsam2 cohort init FOLDER.")
    readers: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {".csv": csv_lines, ".json": json_lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"The manifest {path} must be a .csv or .json file, or a BIDS folder.")
    return _cases(list(reader(path)), path.resolve().parent, path, problems, structure)


def _cases(
    lines: list[tuple[int, Any]], folder: Path, source: Path, problems: Problems, structure: str | None
) -> list[CaseSpec]:
    rows = []
    for line, values in lines:
        if isinstance(values, str):  # what the reader has to say of this line
            problems.append((line, values))
            continue
        try:
            row = ManifestRow.model_validate(values, context={WITH_TASK: structure is not None})
        except ValidationError as error:
            problems.extend((line, text) for text in sentences(error.errors()))
            continue
        name = _segment_name(row, structure)
        problems.extend((line, text) for text in _wrong_files(row, folder))
        rows.append((line, row, name))
    cases = _grouped(rows, folder, problems)
    if not lines:
        problems.append((0, "it lists no case."))
    if problems:
        raise ManifestError(str(source), problems)
    return cases


def _segment_name(row: ManifestRow, structure: str | None) -> str:
    if row.segment:
        return row.segment
    if row.prompts:
        return markup_name(row.prompts[0])
    return row.mask_segment or structure or "Segment_1"


def _wrong_files(row: ManifestRow, folder: Path) -> Iterator[str]:
    """Files that are missing, and markups that cannot be read: small files, so this is quick."""
    image = Path(absolute(row.image, folder))
    if image.is_symlink() and not image.exists():
        yield f"the image {image} is a link to a file that is not here; fetch it (git annex get), or mend the link."
    elif not image.exists():
        yield f"there is no image {image}."
    if row.mask and not Path(absolute(row.mask, folder)).is_file():
        yield f"there is no mask {absolute(row.mask, folder)}."
    for prompts in row.prompts:
        path = absolute(prompts, folder)
        try:
            if not read_markups(path):
                yield f"{path} holds no point, box, line or curve."
        except ValueError as error:
            yield str(error)


def _same_file(path: str, other: str) -> bool:
    return path == other or (os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other))


def _grouped(rows: list[tuple[int, ManifestRow, str]], folder: Path, problems: Problems) -> list[CaseSpec]:
    """Lines of one case together, in the order of their first mention."""
    found: dict[str, tuple[int, ManifestRow, list[SegmentSpec]]] = {}
    folded: dict[str, str] = {}
    for line, row, segment in rows:
        name = row.case
        if not name:
            try:
                name = check_component(volume_name(row.image))
            except ValueError as error:
                problems.append((line, f"the image gives the case its name, and {error}; fill in the column case."))
                continue
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            problems.append((line, f"the cases {name!r} and {other!r} differ only in upper and lower case."))
            continue
        spec = segment_of(row, segment, folder)
        if name not in found:
            found[name] = (line, row, [spec])
            continue
        first_line, first, segments = found[name]
        if not _same_file(absolute(row.image, folder), absolute(first.image, folder)):
            problems.append(
                (line, f"case {name!r} has another image on line {first_line}; give each scan a name in column case.")
            )
        elif any(other.name == segment for other in segments):
            problems.append((line, f"case {name!r} has the segment {segment!r} twice; give each another name."))
        else:
            problems.extend(
                (line, f"case {name!r} has another {column} on line {first_line}.")
                for column in _OF_THE_SCAN
                if getattr(row, column) != getattr(first, column)
            )
            segments.append(spec)
    return [
        CaseSpec(
            name,
            absolute(row.image, folder),
            tuple(segments),
            line=line,
            **{column: getattr(row, column) for column in _OF_THE_SCAN},
        )
        for name, (line, row, segments) in found.items()
    ]


def csv_lines(path: Path) -> Iterator[tuple[int, dict[str, str] | str]]:
    """Line number and the columns that are filled in, or what is wrong with the line.

    Commas, semicolons or tabs may separate columns, whichever the first line has most of. Empty lines and lines that
    begin with # are left out.
    """
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            filled = [cell.strip() for cell in cells]
            if not any(filled) or filled[0].startswith("#"):
                continue
            if not header:
                header = filled
                doubled = sorted({name for name in header if name and header.count(name) > 1})
                if "image" not in header or doubled:
                    what = f"the columns {', '.join(doubled)} twice" if doubled else "no column 'image'"
                    raise ManifestError(str(path), [(line, f"the first line names {what}.")])
                continue
            if len(filled) > len(header) and any(filled[len(header) :]):
                yield line, f"has {len(filled)} columns, the first line {len(header)}; put quotes around commas."
                continue
            yield line, {name: from_csv_cell(cell) for name, cell in zip(header, filled) if cell}
    except csv.Error as error:
        yield before + 1, f"it cannot be read as CSV ({error})."


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line number and content of each entry of a JSON list, or of the list ``cases`` of an object."""
    text = _text(path)
    start = re.match(r'\s*(?:\{.*?"cases"\s*:\s*)?\[', text, re.DOTALL)
    try:
        if start is None:
            json.loads(text)
            raise ManifestError(str(path), [(1, 'it must be a list of cases, or an object with a list "cases".')])
        position, decoder = start.end(), json.JSONDecoder()
        while True:
            position = _skip(text, position, " \t\r\n,")
            if text[position : position + 1] == "]":
                return
            entry, end = decoder.raw_decode(text, position)
            line = text.count("\n", 0, position) + 1
            yield line, _filled(entry) if isinstance(entry, dict) else "it is not an object with named values."
            position = end
    except json.JSONDecodeError as error:
        raise ManifestError(str(path), [(error.lineno, f"it is not JSON ({error.msg}).")]) from error


def _filled(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if value is not None and value != ""}


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"The manifest {path} is not UTF-8 text; save it as CSV UTF-8.") from None
