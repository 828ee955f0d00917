"""Medians, ratios and the tables, from known results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from EfficientMedSAM2Lib.evaluation.benchmark.jobs import BenchmarkResult
from EfficientMedSAM2Lib.evaluation.benchmark.results.markdown import BEGIN, END, report, write_into
from EfficientMedSAM2Lib.evaluation.benchmark.results.overlays import propagated_dice, write_overlays
from EfficientMedSAM2Lib.evaluation.benchmark.results.plots import write_bars, write_lengths
from EfficientMedSAM2Lib.evaluation.benchmark.results.summary import BenchmarkSummary


def results() -> list[BenchmarkResult]:
    """Three rounds; in the last one the machine is ten times as slow for everybody."""
    found = []
    for repeat, load in enumerate((1.0, 1.1, 10.0)):
        for length in (20, 50, 800):
            values = {
                "slices_per_s": 40 / load,
                "above_mb": 100.0 + length / 100,
                "peak_mb": 500.0,
                "first_mask_s": 3 * load,
            }
            if length == 20:
                values.update(
                    click_new_ms=60 * load, click_known_ms=10 * load, slice_ms=25 * load, encoder_ms=15 * load
                )
            found.append(
                BenchmarkResult("efficientnet", length, repeat, values, {"image encoder": 15.0, "the rest": 5.0})
            )
        original = {"slices_per_s": 1 / load, "above_mb": 600.0, "box_new_ms": 700 * load}
        found.append(BenchmarkResult("medsam2", 20, repeat, original))
        found.append(BenchmarkResult("litemedsam", 20, repeat, {"slices_per_s": 0.8 / load, "box_new_ms": 1200 * load}))
    return found


def test_the_median_is_over_rounds_and_the_spread_is_shown():
    found = BenchmarkSummary(results()).statistic("efficientnet", "click_new_ms")
    assert found is not None
    assert (found.median, found.least, found.most, found.rounds) == (pytest.approx(66), 60, 600, 3)


def test_a_slow_round_changes_no_ratio():
    summary = BenchmarkSummary(results())
    found = summary.ratio(("efficientnet", "slices_per_s", 20), ("medsam2", "slices_per_s", 20))
    assert found is not None
    assert found.least == pytest.approx(40)
    assert found.most == pytest.approx(40)
    assert summary.ratio(("efficientnet", "slices_per_s", 20), ("medsam2", "slices_per_s", 50)) is None


def test_the_report_holds_all_tables_and_the_json_all_numbers():
    summary = BenchmarkSummary(results())
    text = report(summary, "A machine.", ["A note."], ["bars.png"])
    for words in ("A machine.", "A note.", "![bars](bars.png)", "66.0 (60.0 to 600.0)"):
        assert words in text
    assert "| time for the same (slices per second, 20 slices) | 40.0 | 50.0 |" in text
    assert "image encoder 15.0 (75%), the rest 5.0 (25%)" in text
    content = json.loads(json.dumps(summary.as_dict()))
    assert content["efficientnet"]["measures"]["slices_per_s"]["800"]["rounds"] == 3
    assert content["medsam2"]["measures"]["box_new_ms"]["median"] == pytest.approx(770)


def test_a_document_keeps_what_stands_around_the_block(tmp_path):
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_into(document, "new\n")
    assert document.read_text(encoding="utf-8") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    document.write_text("no block", encoding="utf-8")
    with pytest.raises(ValueError, match="no block"):
        write_into(document, "new")
    assert document.read_text(encoding="utf-8") == "no block"


def test_pictures_are_drawn(tmp_path, small_scan):
    summary = BenchmarkSummary(results())
    write_bars(tmp_path / "bars.png", summary)
    write_lengths(tmp_path / "lengths.png", summary)
    masks = {"efficientnet": small_scan.labels, "litemedsam": np.zeros_like(small_scan.labels)}
    write_overlays(tmp_path / "overlays.png", small_scan, masks)
    assert {path.name for path in tmp_path.iterdir()} == {"bars.png", "lengths.png", "overlays.png"}
    assert all(1000 < path.stat().st_size < 100_000 for path in tmp_path.iterdir())
    assert propagated_dice(small_scan.labels, small_scan) == 1
    assert propagated_dice(masks["litemedsam"], small_scan) == 0
