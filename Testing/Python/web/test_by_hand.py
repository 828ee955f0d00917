"""Corrections by hand and measurements in the browser: brush, eraser, islands, smoothing, ruler, tables, display."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def scan():
    from EfficientMedSAM2Lib.imaging.sample import sample_scan
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    return read_volume(sample_scan())


def masks(user, folder, scan):
    """The segments as they are saved, by name."""
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation

    return {s.name: s.mask for s in read_segmentation(user.save("segmentation", folder), scan)}


def settled(user, folder, scan, brush_mm):
    """Volume in ml and mask of the only segment, once all of a stroke has arrived: a setting comes after it."""
    user.command("setting", "brush_mm", brush_mm)
    user.wait("settings", f"value.brush_mm === {brush_mm}")
    (mask,) = masks(user, folder, scan).values()
    milliliters = float(f"{mask.sum() * scan.voxel_mm3 / 1000:.3g}")
    user.wait("segments", f"Number(value[0].volume) === {milliliters}")
    return milliliters, mask


@pytest.mark.slow
def test_brush_eraser_island_and_smoothing_are_undone_one_by_one(sample, tmp_path, scan):
    user = sample
    user.command("slice", "Red", 16)
    user.command("setting", "brush_mm", 20)
    user.key("t")
    user.wait("tool", "value === 'paint'")
    user.drag("Red", (0.45, 0.40), (0.60, 0.40))
    user.wait_for_volume()
    painted, mask = settled(user, tmp_path, scan, 21)
    assert np.flatnonzero(mask.any(axis=(1, 2))).tolist() == [16]
    spacing = np.abs(np.diag(scan.ijk_to_ras)[:2])
    height = (np.ptp(np.flatnonzero(mask[16].any(axis=1))) + 1) * spacing[1]
    assert height == pytest.approx(20, abs=2)
    assert mask[16].sum() * np.prod(spacing) > 20 * height  # a stroke, not a spot
    user.drag("Red", (0.30, 0.70))  # a spot apart from it
    user.wait("segments", f"Number(value[0].volume) > {painted}")
    with_spot, _ = settled(user, tmp_path, scan, 20)
    user.picture("brush")

    user.key("v")
    user.wait("tool", "value === 'erase'")
    user.drag("Red", (0.45, 0.40))
    user.wait("segments", f"Number(value[0].volume) < {with_spot}")
    erased, _ = settled(user, tmp_path, scan, 22)
    user.page.click("text=Largest island")
    user.wait("segments", f"Number(value[0].volume) < {erased}")
    island = user.volume()
    assert island < painted
    user.command("setting", "smooth_mm", 9)
    user.page.click("button:has-text('Smooth')")
    user.wait("segments", f"Number(value[0].volume) !== {island}")

    for before in (island, erased, with_spot, painted, 0):
        user.key("Control+z")
        user.wait("segments", f"Number(value[0].volume) === {before}")


@pytest.mark.slow
def test_what_is_painted_is_the_clicks_to_refine(sample, tmp_path, scan):
    """A stroke is a manual edit: the network's next answer on that slice keeps it."""
    user = sample
    user.draw_box()
    user.rest()
    before = user.volume()
    user.key("t")
    user.drag("Red", (0.75, 0.80))
    user.wait("segments", f"Number(value[0].volume) > {before}")
    painted = settled(user, tmp_path, scan, 15)[0] - before
    user.key("p")
    user.drag("Red", (0.52, 0.40))
    user.rest()
    assert user.volume() > before * 0.5 + painted


@pytest.mark.slow
def test_rulers_diameters_and_the_table(sample, tmp_path, scan):
    user = sample
    user.draw_box()
    user.rest()
    user.rename("heart")
    diameters = user.wait("segments", "value[0].diameters")[0]["diameters"]
    long, short = (float(part) for part in diameters.split("×"))
    assert 60 < short <= long < 160  # a heart, in mm
    user.key("r")
    user.wait("tool", "value === 'ruler'")
    user.drag("Red", (0.30, 0.5), (0.70, 0.5))
    (length,) = user.wait("rulers", "value.length === 1")
    box = user.page.locator("[data-view=Red]").bounding_box()
    bar = user.page.locator(".view-Red .scale")
    millimetres = float(bar.inner_text().split()[0])
    expected = 0.4 * box["width"] * millimetres / bar.bounding_box()["width"]
    assert float(length) == pytest.approx(expected, rel=0.03)  # ruler and scale bar say the same
    user.picture("ruler")

    with user.save("measurements", tmp_path).open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["segment"] == "heart"
    assert float(row["volume_ml"]) == pytest.approx(user.volume(), rel=0.01)
    assert float(row["longest_diameter_in_slice_mm"]) == pytest.approx(long, abs=0.6)
    assert float(row["short_axis_mm"]) == pytest.approx(short, abs=0.6)
    assert row["slice_of_diameters"] == "16"
    assert 0 < float(row["score_volume"]) < 1
    user.page.click("text=Remove rulers")
    user.wait("rulers", "value.length === 0")


@pytest.mark.slow
def test_names_come_with_a_labelmap(sample, tmp_path):
    user = sample
    user.draw_box()
    user.rename("left lung")
    labels, names = user.save_labelmap(tmp_path)
    user.page.wait_for_function("document.querySelector('#transfer').textContent.includes('.tsv was saved')")
    assert [labels.name, names.name] == ["CTChest4-label.nii.gz", "CTChest4-label.tsv"]
    head, line = names.read_text().splitlines()
    assert head.split("\t") == ["index", "name", "color"]
    assert line.split("\t")[:2] == ["1", "left lung"]


@pytest.mark.slow
def test_how_segments_are_shown_is_kept_for_the_next_scan(sample):
    user = sample
    user.page.fill("#fill", "80")
    user.page.uncheck("text=slices in 3D")
    user.wait("settings", "value.fill === 80 && !value.slices_in_3d")
    user.draw_box()
    user.rest()
    user.picture("opaque")
    user.open_sample()
    user.wait("settings", "value.fill === 80 && !value.slices_in_3d")
    user.page.fill("#fill", "30")
    user.page.check("text=slices in 3D")
    user.wait("settings", "value.fill === 30 && value.slices_in_3d")


def test_numbers_of_an_earlier_mask_are_not_shown(monkeypatch):
    """A segment whose voxels have changed has no numbers until it is measured again."""
    from types import SimpleNamespace

    from EfficientMedSAM2Lib.web.session import measurements as subject

    stamp = [1]
    monkeypatch.setattr(subject, "segment_stamp", lambda _node, _segment: stamp[0])
    monkeypatch.setattr(subject, "segment_box", lambda *_arguments: None)
    port = SimpleNamespace(segment_ids=lambda: ["A"])
    volume = SimpleNamespace(spacing_known=True)
    viewer = SimpleNamespace(segmentation_node=object(), volume_node=None, volume=volume, port=port)
    found = subject.Measurements(viewer)
    assert found.get("A") is None
    assert found.update()
    assert found.get("A").milliliters == 0
    stamp[0] = 2
    assert found.get("A") is None
    assert found.update()
    assert not found.update()
