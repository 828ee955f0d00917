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


@pytest.fixture
def dicom_series():
    """Write an array as a CT series, a file a slice."""

    def write(folder, array):
        import pydicom
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid

        folder.mkdir(parents=True)
        study, series, frame = generate_uid(), generate_uid(), generate_uid()
        for number, plane in enumerate(array):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            slice_ = pydicom.Dataset()
            slice_.file_meta = meta
            slice_.SOPClassUID, slice_.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
            slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = study, series, frame
            slice_.PatientID, slice_.PatientName, slice_.PatientBirthDate, slice_.PatientSex = "1", "A^B", "", ""
            slice_.StudyID, slice_.StudyDate, slice_.StudyTime, slice_.AccessionNumber = "1", "20200101", "120000", ""
            slice_.ReferringPhysicianName = ""
            slice_.Modality, slice_.SeriesNumber, slice_.InstanceNumber = "CT", 1, number + 1
            slice_.ImagePositionPatient = [10.0, 20.0, 5.0 * number]
            slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            slice_.PixelSpacing, slice_.SliceThickness = [2.0, 1.0], 5.0
            slice_.Rows, slice_.Columns = plane.shape
            slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
            slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
            slice_.RescaleSlope, slice_.RescaleIntercept = 1, 0
            slice_.PixelData = plane.astype("<i2").tobytes()
            # names against the order of slices, which positions tell
            slice_.save_as(folder / f"{len(array) - number:03}.dcm", enforce_file_format=True)
        return folder

    return write
