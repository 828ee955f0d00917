"""Fixtures for all rooms: the stand-in host for desktop Slicer (host/), loaded only by tests that ask for it.

``--strict-skips``: tests that are skipped for another reason than those of `KNOWN_SKIPS` fail the run, so that a
missing package does not pass for tests that pass. `.ci/run` asks for it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# A first call that imports a library, or a busy machine, is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
sys.path.insert(0, str(Path(__file__).parent))

#: Where everything is installed that `make` installs: what a reason for a skip may be.
KNOWN_SKIPS = (
    "sam2",  # PyPI has its source only, which is built against torch
    "not make's environment",
    "this file system has no such names",
    "the stand-in does not ask",
    "needs cmake",
)


def pytest_addoption(parser):
    """Declare the option."""
    parser.addoption("--strict-skips", action="store_true", help="fail where tests are skipped for no known reason")


def pytest_sessionfinish(session):
    """Fail a run that would pass, when tests are missing from it."""
    if not session.config.getoption("--strict-skips") or session.exitstatus != pytest.ExitCode.OK:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reasons = {report.longrepr[2] for report in reporter.stats.get("skipped", ()) if isinstance(report.longrepr, tuple)}
    unknown = sorted(text for text in reasons if not any(re.search(known, text) for known in KNOWN_SKIPS))
    if unknown:
        reporter.write_line("\nskipped for no known reason:\n  " + "\n  ".join(unknown), red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
