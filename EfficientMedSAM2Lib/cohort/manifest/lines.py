"""The lines of a manifest file, with their numbers: CSV as spreadsheets write it, JSON as programs do."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.cohort.manifest.problems import ManifestError
from EfficientMedSAM2Lib.imaging.formats.files import from_csv_cell


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
        raise ValueError(f"The manifest {path} is not UTF-8 text; save it as CSV UTF-8.") from None
