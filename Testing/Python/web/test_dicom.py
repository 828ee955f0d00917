"""A DICOM scan on the page: its segments become a DICOM SEG, also after the session's process has died."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from web_user import Gateway, User, children

pytestmark = [pytest.mark.browser, pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and signals")]

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture
def series(tmp_path):
    """Files of a small CT with a window of its own."""
    from imaging import dicom_files as dicom
    from imaging.phantom import grid, sample

    matrix = grid((3, 3, 4), (40, 40, 20))
    datasets = dicom.slices(sample(matrix, (40, 40, 20)), matrix, WindowCenter=100, WindowWidth=500)
    return dicom.write(datasets, tmp_path / "ct")


def check(path, series, mask):
    """A file that was saved refers to the series, and holds the mask."""
    highdicom = pytest.importorskip("highdicom")
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    volume = read_volume(series[0].parent)
    (segment,) = read_segmentation(path, volume)
    assert segment.name == "lesion"
    assert mask is None or np.array_equal(segment.mask, mask)
    found = highdicom.seg.segread(path)
    assert found.PatientID == "1"
    assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == highdicom.imread(series[0]).SeriesInstanceUID
    return segment.mask


@pytest.mark.slow
def test_segments_of_a_dicom_scan_become_a_dicom_seg(browser, tmp_path, series):
    served = Gateway(tmp_path, "--sessions", "1")
    try:
        context = browser.new_context(viewport={"width": 1280, "height": 720})
        user = User(context.new_page(), served.url).come()
        user.send(*series)
        user.wait("window_width", "value === 500")
        user.rename("lesion")
        user.key("p", "1", "Enter")
        user.wait_for_volume()
        user.rest()
        saved = user.save("dicom", tmp_path)
        assert saved.name.endswith("-seg.dcm")
        mask = check(saved, series, None)
        assert mask.any()
        user.wait_kept()

        (process,) = children(served.process.pid)
        os.kill(process, signal.SIGKILL)
        user.page.wait_for_selector("text=It has ended by a fault")
        user.start("text=Go on with this work")
        user.wait("segments", "value && value.length === 1 && Number(value[0].volume) > 0")
        assert user.state("window_width") == 500
        check(user.save("dicom", tmp_path), series, mask)

        user.send(saved)  # and it comes back as segments of the scan
        user.wait("segments", "value.length === 2 && value[0].volume === value[1].volume")
        user.page.click("[data-action=end]")
        user.page.wait_for_selector("text=No scan, segments or prompts of it are on the server any more")
        context.close()
        assert served.stop() == 0
        assert "Traceback" not in "".join(served.lines), served.lines
    finally:
        served.process.kill()


@pytest.mark.slow
def test_other_scans_say_why_there_is_none(sample):
    user = sample
    user.draw_box()
    user.page.click("[data-kind=dicom]")
    text = "A DICOM SEG refers to the DICOM series that was segmented, and this scan was opened from another kind"
    user.page.wait_for_function(f"document.querySelector('#transfer').textContent.startsWith({text!r})")
    assert "error" in user.page.get_attribute("#transfer", "class")


@pytest.mark.slow
def test_contours_of_a_planning_system_open_as_segments_of_the_open_series(user, dicom_series, tmp_path):
    """An RTSTRUCT with an organ that has a hole, and a tumour in it."""
    from imaging.contour_files import outlines, write_rtstruct

    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    y, x = np.ogrid[:40, :50]
    disc = ((y - 20) * 2.0) ** 2 + (x - 25.0) ** 2 < 15**2
    folder = dicom_series(tmp_path / "ct", np.where(disc, 60, -80).astype(np.int16)[np.newaxis].repeat(5, 0))
    scan = read_volume(folder)
    middle = (scan.ijk_to_ras @ [25, 20, 0, 1])[:3]
    heights = [0.0, 5.0, 10.0]
    rings = {
        "Liver": [*outlines(middle, 14.0, heights), *outlines(middle, 6.0, heights)],
        "GTV <1> Größe": outlines(middle, 4.0, heights[1:2]),
    }
    contours = write_rtstruct(tmp_path / "plan.dcm", rings)
    user.send(*sorted(folder.iterdir()))
    user.wait("volume_text", "value.startsWith('50 × 40 × 5')")
    assert "2 segments were added" in user.send(contours)
    user.wait("segments", "value.length === 2 && value.every(s => Number(s.volume) > 0)")
    liver, tumour = user.state("segments")
    assert (liver["name"], tumour["name"]) == ("Liver", "GTV <1> Größe")
    assert (liver["color"], tumour["color"]) == ("#ff0000", "#00ff00")
    ring = np.pi * (14**2 - 6**2) * 3 * 5.0 / 1000
    assert float(liver["volume"]) == pytest.approx(ring, rel=0.05)
    assert float(tumour["volume"]) == pytest.approx(np.pi * 4**2 * 5.0 / 1000, rel=0.1)
    user.command("slice", "Red", 1)
    user.rest()
    user.picture("contours")
    saved = {s.name: s.mask for s in read_segmentation(user.save("segmentation", tmp_path), scan)}
    assert list(saved) == [liver["name"], tumour["name"]]
    assert not saved["Liver"][:3, 20, 25].any()  # the hole
    assert saved["Liver"][1].sum() * 2.0 == pytest.approx(np.pi * (14**2 - 6**2), rel=0.05)
    assert np.flatnonzero(saved[tumour["name"]].any(axis=(1, 2))).tolist() == [1]
    user.key("Control+z")  # one undo step
    user.wait("segments", "value.length === 1 && value[0].name === 'Segment_1' && value[0].selected")
