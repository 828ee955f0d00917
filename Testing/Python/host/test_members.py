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


@pytest.mark.slow
def test_names_are_what_they_are_in_slicer(seen):
    """What the stand-in has, Slicer has, too: a property where it has one, and something to call where it has that."""
    differing = {
        f"{class_name}.{name}": (kind, RECORDED[class_name].get(name, "absent"))
        for class_name, kinds in seen.items()
        for name, kind in kinds.items()
        if kind != RECORDED[class_name].get(name)
    }
    # Written, it is the property; read, PythonQt gives the static function of that name.
    assert differing.pop("qt.QTimer.singleShot") == ("property", "call")
    assert differing == {}


@pytest.mark.slow
def test_the_recording_is_of_the_classes_in_use(seen):
    assert seen.keys() <= RECORDED.keys()
    assert len(RECORDED) >= 20
