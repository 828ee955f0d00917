"""Running a cohort in this process: what is written, skipped and tried again, and what a bad file costs."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from EfficientMedSAM2Lib.cohort.records.ledger import Ledger, RunLock
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.worker import run_case as worker
from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def computed(monkeypatch):
    """Names of the cases that are really computed."""
    names = []
    real = worker._compute

    def watch(case, *arguments):
        names.append(case.name)
        return real(case, *arguments)

    monkeypatch.setattr(worker, "_compute", watch)
    return names


def test_every_case_gets_its_folder_and_the_cohort_its_tables(cohort):
    for number in range(3):
        cohort.add(f"case {number}")
    summary = cohort.run()
    assert (len(summary.outcomes), summary.failed, summary.left, summary.stopped) == (3, [], 0, "")
    folder = cohort.output / "cases" / "case 1"
    assert sorted(path.name for path in folder.iterdir()) == [
        "picture.png",
        "prompts.mrk.json",
        "provenance.json",
        "segmentation.seg.nrrd",
    ]
    (segment,) = read_segmentation(folder / "segmentation.seg.nrrd")
    assert segment.name == "block"
    assert segment.mask.sum() == 4 * 5 * 5
    table = {row["case"]: row for row in rows(cohort.output / "measurements.csv")}
    assert float(table["case 1"]["volume_ml"]) == pytest.approx(4 * 5 * 5 * 10 / 1000)
    assert float(table["case 1"]["intensity_mean"]) == 101
    assert rows(cohort.output / "failures.csv") == []
    record = json.loads((folder / "provenance.json").read_text())
    assert {"key", "weights_sha256", "version", "settings", "started", "finished", "inputs_sha256"} <= set(record)
    page = (cohort.output / "contact-sheet.html").read_text()
    assert all(f"cases/case%20{number}/picture.png" in page for number in range(3))


def test_nothing_is_left_lying_about(cohort):
    cohort.add("a")
    cohort.run()
    names = {path.name for path in cohort.output.iterdir()}
    assert names >= {"cases", "ledger.sqlite", "measurements.csv", "failures.csv", "contact-sheet.html", "runs.jsonl"}
    hidden = {name for name in names if name.startswith(".")}
    assert hidden <= {".lock.sqlite"}
    assert not list(cohort.output.rglob("*.pkl"))
    assert [path.name for path in (cohort.output / "cases").iterdir()] == ["a"]


def test_the_second_run_does_nothing(cohort, computed):
    cohort.add("a")
    cohort.add("b")
    cohort.run()
    before = cohort.files()
    summary = cohort.run()
    assert computed == ["a", "b"]
    assert summary.already == 2
    assert cohort.files() == before


def test_a_case_is_known_by_contents_not_by_dates_and_places(cohort, computed):
    path = cohort.add("a")
    cohort.run()
    moved = path.with_name("elsewhere.nrrd")
    path.rename(moved)
    moved.touch()
    cohort.lines[0] = cohort.lines[0].replace("a.nrrd", moved.name)
    summary = cohort.run()
    assert computed == ["a"]
    assert [outcome.status for outcome in summary.outcomes] == ["done"]


@pytest.mark.parametrize("what", ["image", "prompt", "settings", "result"])
def test_what_changed_is_computed_again(cohort, computed, what):
    from EfficientMedSAM2Lib.pipeline.case import PropagationOptions

    path = cohort.add("a")
    cohort.add("b")
    cohort.run()
    settings = None
    if what == "image":
        cohort.lines.pop(0)
        cohort.add("a", np.flip(np.zeros((6, 12, 14), dtype=np.int16)))
        assert path.is_file()
    elif what == "prompt":
        cohort.lines[0] = cohort.lines[0].replace("3,3,2", "3,3,3")
    elif what == "settings":
        settings = RunSettings(engine="cheap_engine:build_session", propagation=PropagationOptions("none"))
    else:
        (cohort.output / "cases" / "a" / "segmentation.seg.nrrd").unlink()
    del computed[:]
    cohort.run(settings=settings)
    assert computed == (["a", "b"] if what == "settings" else ["a"])


def test_a_result_without_its_line_in_the_ledger_is_recognised(cohort, computed):
    """As when the run was killed after the worker had written the case, and before the ledger knew."""
    cohort.add("a")
    cohort.run()
    before = cohort.files()
    (cohort.output / "ledger.sqlite").unlink()
    cohort.run()
    assert computed == ["a"]
    assert cohort.files() == before
    with Ledger(cohort.output) as ledger:
        assert ledger.outcome("a").status == "done"


def test_a_correction_by_hand_is_never_lost(cohort, computed):
    cohort.add("a")
    cohort.run()
    segmentation = cohort.output / "cases" / "a" / "segmentation.seg.nrrd"
    segmentation.write_bytes(b"corrected in Slicer")
    cohort.run()
    cohort.run(retry_failed=True)
    assert computed == ["a"]
    assert segmentation.read_bytes() == b"corrected in Slicer"
    cohort.lines[0] = cohort.lines[0].replace("3,3,2", "3,3,3")
    cohort.run()
    assert computed == ["a", "a"]
    assert segmentation.read_bytes().startswith(b"NRRD")
    kept = list((cohort.output / "corrected").glob("a */segmentation.seg.nrrd"))
    assert [path.read_bytes() for path in kept] == [b"corrected in Slicer"]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def no_image(path):
    path.write_text("not a scan")


@pytest.mark.parametrize("spoil", [truncate, empty, no_image])
def test_a_bad_file_costs_its_case_only(cohort, spoil):
    cohort.add("good")
    spoil(cohort.add("bad", np.random.default_rng(0).integers(0, 99, (6, 12, 14)).astype(np.int16)))
    cohort.add("also good")
    summary = cohort.run()
    (failure,) = rows(cohort.output / "failures.csv")
    assert (failure["case"], failure["kind"]) == ("bad", "input")
    assert "bad.nrrd" in failure["reason"]
    assert set(cohort.files()) == {"good", "also good"}
    assert [outcome.name for outcome in summary.failed] == ["bad"]


def test_failures_are_tried_again_when_asked_for_or_mended(cohort, computed):
    path = cohort.add("a", points="99,3,2")
    cohort.run()
    cohort.run()
    assert computed == ["a"]
    cohort.run(retry_failed=True)
    assert computed == ["a", "a"]
    cohort.lines[0] = cohort.lines[0].replace("99,3,2", "3,3,2")
    summary = cohort.run()
    assert computed == ["a"] * 3
    assert not summary.failed
    assert path.is_file()


def test_a_full_disk_ends_the_run_and_is_not_the_fault_of_the_cases(cohort, computed, monkeypatch):
    import errno

    from EfficientMedSAM2Lib.cohort.worker import compute_case

    for number in range(9):
        cohort.add(f"c{number}")
    real = compute_case.write_segmentation

    def full(path, *arguments):
        if path.parent.name.endswith("-c1"):  # behind a random token, which may hold "c1" too
            raise ValueError("Cannot write it") from OSError(errno.ENOSPC, "No space left on device")
        real(path, *arguments)

    monkeypatch.setattr(compute_case, "write_segmentation", full)
    summary = cohort.run()
    assert "full" in summary.stopped
    assert len(computed) < 9
    assert [path.name for path in (cohort.output / "cases").iterdir() if path.name.startswith(".")] == []
    with Ledger(cohort.output) as ledger:
        assert ledger.outcome("c1").kind == "disk"
    monkeypatch.setattr(compute_case, "write_segmentation", real)
    summary = cohort.run()
    assert (summary.failed, summary.left, summary.stopped) == ([], 0, "")
    assert computed.count("c0") == 1
    assert computed.count("c1") == 2


def test_a_full_disk_of_the_ledger_is_written_down(cohort, monkeypatch):
    import sqlite3

    from EfficientMedSAM2Lib.cohort.run.reserve import Reserve

    for number in range(9):
        cohort.add(f"c{number}")
    real, released = Ledger.record, []
    monkeypatch.setattr(Reserve, "release", lambda self: released.append(self))

    def full(ledger, outcome):
        if not released:
            raise sqlite3.OperationalError("database or disk is full")
        real(ledger, outcome)

    monkeypatch.setattr(Ledger, "record", full)
    summary = cohort.run()
    assert "full" in summary.stopped
    assert [outcome.status for outcome in summary.outcomes] == ["done"]


def test_a_scan_larger_than_the_memory_is_refused_before_it_is_read(cohort, monkeypatch):
    from EfficientMedSAM2Lib.cohort.worker import memory

    path = cohort.add("a")
    monkeypatch.setattr(memory, "worker_limit", lambda: 5000)
    summary = cohort.run()
    assert [outcome.kind for outcome in summary.failed] == ["machine"]
    assert "GB" in summary.failed[0].reason
    assert memory.volume_bytes(str(path)) == 6 * 12 * 14 * 2


def test_two_runs_do_not_share_a_folder(cohort):
    cohort.add("a")
    cohort.output.mkdir()
    with RunLock(cohort.output), pytest.raises(ValueError, match="Another run"):
        cohort.run()
    assert not cohort.run().failed


def test_a_file_that_is_no_ledger_is_not_overwritten(cohort):
    cohort.add("a")
    cohort.output.mkdir()
    (cohort.output / "ledger.sqlite").write_text("my own notes, longer than a header of one hundred bytes" * 9)
    with pytest.raises(ValueError, match="not a readable ledger"):
        cohort.run()
    assert (cohort.output / "ledger.sqlite").read_text().startswith("my own notes")


def test_an_earlier_segmentation_is_a_prompt(cohort):
    cohort.add("a")
    cohort.run()
    mask = cohort.output / "cases" / "a" / "segmentation.seg.nrrd"
    manifest = cohort.folder / "second.csv"
    manifest.write_text(f"case,image,mask,segment\nagain,a.nrrd,{mask},block\n")
    from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
    from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
    from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort

    settings = RunSettings(engine="cheap_engine:build_session")
    summary = run_cohort(read_cohort_manifest(manifest), cohort.output, settings, ClusterOptions(in_process=True))
    assert not summary.failed
    first, second = (
        read_segmentation(cohort.output / "cases" / n / "segmentation.seg.nrrd")[0] for n in ("a", "again")
    )
    assert np.array_equal(first.mask, second.mask)


def test_boxes_of_the_manifest_mean_the_voxels_they_name(cohort):
    import SimpleITK as sitk

    path = cohort.add("a")
    image = sitk.ReadImage(str(path))
    lps = [image.TransformIndexToPhysicalPoint(index) for index in ((2, 2, 2), (4, 4, 2))]
    ras = [coordinate for x, y, z in lps for coordinate in (-x, -y, z)]
    manifest = cohort.folder / "boxes.json"
    entries = [
        {"case": "ijk", "image": "a.nrrd", "segment": "s", "box_ijk": [4, 4, 2, 2, 2, 2]},
        {"case": "ras", "image": "a.nrrd", "segment": "s", "box_ras": ras},
    ]
    manifest.write_text(json.dumps(entries))
    from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
    from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
    from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort

    settings = RunSettings(engine="cheap_engine:build_session")
    assert not run_cohort(
        read_cohort_manifest(manifest), cohort.output, settings, ClusterOptions(in_process=True)
    ).failed
    for name in ("ijk", "ras"):
        (segment,) = read_segmentation(cohort.output / "cases" / name / "segmentation.seg.nrrd")
        assert segment.mask.sum() == 4 * 4 * 4, name
