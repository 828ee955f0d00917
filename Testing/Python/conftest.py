"""Fixtures for all rooms: the stand-in host for desktop Slicer (host/), loaded only by tests that ask for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A first call that imports a library, or a busy machine, is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def slicer_host():
    """A running SlicerHost with an empty scene; errors in callbacks fail the test at its end."""
    pytest.importorskip("slicer", reason="needs PyPI's slicer-core")
    # an ImportError: the system lacks a library that Qt links to, such as libEGL
    pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6-Essentials", exc_type=ImportError)
    from host.running_editor import checked_host

    yield from checked_host()


@pytest.fixture
def segment_editor():
    """``segment_editor(slicer_host, volume, segments=("A", "B", "C"))``: a RunningEditor with the effect active."""
    pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6-Essentials", exc_type=ImportError)
    from host.running_editor import start_editor

    return start_editor
