"""One word for one thing: docs/glossary.md, kept by the names in the code and by the texts."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PRODUCT = ("EfficientMedSAM2", "EfficientMedSAM2Lib", "efficient_medsam2")

#: Part of a name -> what to say instead.
NAMES = {
    "ahead": "prefetch, prefetcher",
    "meanwhile": "prefetch",
    "turn": "schedule, rotate",
    "turns": "schedule",
    "rehearse": "warm_up",
    "rehearsal": "warm_up",
    "look": "viewport, or what it does",
    "looks": "viewport, or style",
    "follow": "propagate",
    "follows": "propagate",
    "followed": "propagated",
    "follower": "propagator",
    "sides": "orthogonal prior",
    "cuts": "orthogonal slices",
    "doubt": "presence threshold, uncertainty",
    "here": "to_device",
    "public": "to_numpy",
    "told": "what it is",
    "contestant": "method",
    "contestants": "methods",
    "guess": "prediction",
    "guesses": "predictions",
    "ours": "efficient_medsam2",
    "our": "efficient_medsam2",
    "desk": "viewer session",
    "upkeep": "update loop",
    "painter": "render scheduler",
    "dress": "style",
    "breathe": "yield_to_tasks",
    "lessons": "teacher targets",
    "reckoned": "estimated",
}
#: Whole names.
WHOLE_NAMES = {"put": "to_device", "take_in": "import_mask", "hand_edit": "manual_edit", "HandEdit": "ManualEdit"}
#: In comments, docstrings and documents too.
TEXTS = r"\b(contestants?|rehears\w+|upkeep|painter|desk|hand[- ]edit\w*|meanwhile)\b"


def _sources() -> list[Path]:
    return sorted(path for folder in PRODUCT for path in (REPOSITORY / folder).rglob("*.py"))


def _names(path: Path) -> set[str]:
    found: set[str] = {path.stem}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@pytest.mark.parametrize("folder", PRODUCT)
def test_names_speak_the_language_of_the_field(folder):
    """A newcomer who knows SAM2, Slicer or PyTorch needs no dictionary."""
    wrong = []
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for name in sorted(_names(path)):
            better = WHOLE_NAMES.get(name) or next((NAMES[word] for word in _words(name) if word in NAMES), None)
            if better:
                wrong.append(f"{path.relative_to(REPOSITORY)}: {name} -> {better}")
    assert not wrong, "\n".join(wrong)


def _prose(path: Path) -> str:
    if path.suffix != ".py":
        return path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return "\n".join(token.string for token in tokens if token.type in (tokenize.COMMENT, tokenize.STRING))


def test_texts_do_too():
    documents = [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "Resources").rglob("*.md"),
    ]
    wrong = [
        f"{path.relative_to(REPOSITORY)}: {match.group()}"
        for path in (*_sources(), *documents)
        if path.name != "glossary.md"
        for match in re.finditer(TEXTS, _prose(path), flags=re.IGNORECASE)
    ]
    assert not wrong, "\n".join(wrong)
