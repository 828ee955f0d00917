"""Small rooms: files and folders of a size that is seen at a glance, and names that stand for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PRODUCT = ("EfficientMedSAM2", "EfficientMedSAM2Lib", "efficient_medsam2")
SOURCES = sorted(path for folder in PRODUCT for path in (REPOSITORY / folder).rglob("*.py"))
MAX_LINES, MAX_ENTRIES = 350, 12


def test_files_have_one_subject():
    long = {str(path.relative_to(REPOSITORY)): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {name: lines for name, lines in long.items() if lines > MAX_LINES}


def test_lines_are_formatted_by_the_formatter():
    mark = "# fmt" + ":"
    assert not [str(path) for path in SOURCES if mark in path.read_text(encoding="utf-8")]


def test_folders_are_small():
    """But for the engine's first floor, which is the list of rooms itself."""
    entries = defaultdict(set)
    for path in SOURCES:
        parts = path.relative_to(REPOSITORY).parts
        for depth in range(1, len(parts)):
            entries["/".join(parts[:depth])].add(parts[depth])
    crowded = {name: len(found - {"__init__.py"}) for name, found in entries.items()}
    crowded.pop("EfficientMedSAM2Lib")
    assert not {name: count for name, count in crowded.items() if count > MAX_ENTRIES}


def test_no_two_public_classes_share_a_name():
    homes = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(REPOSITORY)))
    homes.pop("EfficientMedSAM2")  # the network, and the module as Slicer finds it by its file: both are contracts
    assert not {name: found for name, found in homes.items() if len(found) > 1}
