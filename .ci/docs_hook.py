"""Hook of MkDocs: texts and pictures that lie beside docs/ are pages of the site too, and links lead to them.

The links are written for readers of the repository. What a page of the site links to is looked up there, copied to
`repository/` where it is a picture or another text, and shown as its bare text where it is a file of the source.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parents[1]
HOME = "README.md"
BESIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CITATION.cff",
    "LICENSE",
    "Resources/Models/*.md",
    "Resources/Models/[LN]*",
)
PICTURES = ("Screenshots/*.png", "Resources/Images/*.png")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#]+)(#[^)]*)?\)")


def _place(path: str) -> str | None:
    """Where a file of the repository lies on the site; None where it is no part of it."""
    if path == HOME:
        return "index.md"
    if path.startswith("docs/"):
        return path[len("docs/") :]
    patterns = (*BESIDE, *PICTURES)
    return f"repository/{path}" if any(Path(path).match(pattern) for pattern in patterns) else None


def on_files(files: Any, config: Any) -> Any:
    """Add the files beside docs/."""
    for pattern in (HOME, *BESIDE, *PICTURES):
        for source in sorted(REPOSITORY.glob(pattern)):
            place = _place(source.relative_to(REPOSITORY).as_posix())
            files.append(File.generated(config, place, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Translate the page's links; those that lead nowhere are left for MkDocs to warn of."""
    site = page.file.src_uri
    here = Path(page.file.abs_src_path).resolve().relative_to(REPOSITORY).as_posix()

    def translated(match: re.Match[str]) -> str:
        mark, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        if not (REPOSITORY / path).exists():
            return match.group()
        place = _place(path)
        if place is None or (REPOSITORY / path).is_dir():
            return text
        link = posixpath.relpath(place, posixpath.dirname(site) or os.curdir)
        return f"{mark}[{text}]({link}{anchor or ''})"

    return LINK.sub(translated, markdown)
