"""The stand-in for PythonQt against a recording from Slicer itself (Testing/Slicer/record_members.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

RECORDED = json.loads((Path(__file__).parent / "members.json").read_text(encoding="utf-8"))


@pytest.fixture
def seen(slicer_host, monkeypatch):
    """What the recording script finds in the stand-in."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "Slicer"))
    monkeypatch.delitem(sys.modules, "record_members", raising=False)
    import record_members

    return record_members.members()


def test_names_are_what_they_are_in_slicer(seen):
    """What is a property there is one here; what cannot be reached there cannot be reached here."""
    differing = {
        f"{class_name}.{name}": (kinds.get(name, "absent"), RECORDED[class_name].get(name, "absent"))
        for class_name, kinds in seen.items()
        if class_name in RECORDED
        for name in {*kinds, *RECORDED[class_name]}
        if kinds.get(name) != RECORDED[class_name].get(name)
    }
    assert differing == {}


def test_the_recording_is_of_the_classes_in_use(seen):
    assert seen.keys() <= RECORDED.keys()
    assert len(RECORDED) >= 20
