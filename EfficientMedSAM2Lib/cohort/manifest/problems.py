"""What is wrong with a manifest: all of it at once, by line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from EfficientMedSAM2Lib.cohort.manifest.rows import COLUMNS


class ManifestError(ValueError):
    """A manifest that cannot be run.

    Attributes:
        problems: One sentence each, sorted by line.
    """

    def __init__(self, source: str, problems: Iterable[tuple[int, str]]) -> None:
        self.problems = [
            f"{source}, line {line}: {text}" if line else f"{source}: {text}" for line, text in sorted(problems)
        ]
        super().__init__("\n".join(self.problems))


def sentences(errors: Sequence[Any]) -> list[str]:
    """What pydantic found wrong with a line, as sentences for people."""
    found = []
    for error in errors:
        column = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            text = f"there is no column {column!r}; the columns are {', '.join(COLUMNS)}."
        elif error["type"] in ("missing", "string_too_short"):
            text = f"{column} is missing."
        else:
            message = str(error["msg"]).removeprefix("Value error, ")
            text = f"{column}: {message}" if column else f"it {message}"
            text = text if text.endswith(".") else f"{text}."
        if text not in found:
            found.append(text)
    return found
