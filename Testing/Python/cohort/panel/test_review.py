"""Behind the cohort panel: open the next uncertain case, correct it, keep it. Real MRML, real ledger, no widget."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs PyPI's slicer-core")

from corrections import MODULE, paint, record_of, rows  # noqa: E402

REPOSITORY = MODULE.parent
FILLED = 4 * 4 * 4  # voxels of the first case's block


@pytest.fixture
def review_of(scene, monkeypatch):
    """``review_of(folder)``: a CohortReview; afterwards its package is forgotten, as the host's tests want it."""
    monkeypatch.syspath_prepend(str(MODULE))
    from EfficientMedSAM2ModuleLib.cohort.review import CohortReview

    yield lambda folder: CohortReview(folder, scene)
    for name in [name for name in sys.modules if name.split(".")[0] == "EfficientMedSAM2ModuleLib"]:
        del sys.modules[name]


@pytest.fixture
def review(done, review_of):
    return review_of(done.output)


def names_of(scene):
    return sorted(scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes()))


def test_the_least_certain_case_comes_first_and_brings_scan_segments_and_prompts(review, scene):
    assert [(case.name, case.review_status) for case in review.cases()] == [("c", "0.20"), ("a", "0.50"), ("b", "0.80")]
    assert review.next_case() == "c"
    nodes = review.open("c")
    assert nodes.volume.GetName() == "c"
    (segment,) = nodes.segments()
    assert segment.name == "block"
    assert segment.mask.sum() == review._record["segments"][0]["voxels"]
    assert [node.GetClassName() for node in nodes.markups] == ["vtkMRMLMarkupsFiducialNode"]
    assert scene.GetURL() == "/home/me/mine.mrml"  # saving the scene must not overwrite the case's
    assert review.next_case() == "a"


def test_it_opens_at_the_least_sure_slice(review):
    review.open("c")
    segment, place = review.weakest_place()
    assert segment == "block"
    from EfficientMedSAM2Lib.mrml.volume_reader import world_to_ijk

    i, j, k = world_to_ijk(place, review.nodes.volume)[0]
    mask = review.nodes.segments()[0].mask
    assert round(k) == 3
    assert mask[3, round(j), round(i)]
    np.testing.assert_allclose((j, i), np.argwhere(mask[3]).mean(axis=0), atol=1e-3)
    assert review.nodes.place("block", 0, 0) is None
    assert review.nodes.place("nothing", 0, 3) is None


def test_the_next_case_replaces_the_one_before_and_nothing_else(review, scene):
    before = names_of(scene)
    review.open("c")
    count = scene.GetNumberOfNodes()
    review.open("a")
    assert scene.GetNumberOfNodes() == count
    review.close()
    assert names_of(scene) == before


def test_a_correction_that_a_full_disk_cuts_off_leaves_the_older_one(done, review, monkeypatch):
    nodes = review.open("c")
    path = done.output / "cases" / "c" / "segmentation.seg.nrrd"
    before, write = path.read_bytes(), type(nodes).write_segmentation

    def cut_off(self, target):
        write(self, target)
        target.write_bytes(target.read_bytes()[:-40])

    paint(nodes)
    monkeypatch.setattr(type(nodes), "write_segmentation", cut_off)
    with pytest.raises(ValueError, match="Cannot write"):
        review.save()
    assert path.read_bytes() == before


def test_a_correction_is_in_file_ledger_and_tables(done, review, capsys):
    nodes = review.open("c")
    assert not review.is_changed
    before = nodes.segments()[0].mask.copy()
    paint(nodes)
    assert review.is_changed
    assert review.save()
    assert not review.is_changed
    expected = before.copy()
    expected[0] = True
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    volume = read_volume(done.folder / "c.nrrd")
    (segment,) = read_segmentation(done.output / "cases" / "c" / "segmentation.seg.nrrd", volume)
    np.testing.assert_array_equal(segment.mask, expected)
    assert segment.name == "block"
    row = rows(done.output)["c"]
    assert (row["voxels"], row["score_lowest"], row["message"]) == (str(expected.sum()), "", "corrected by hand")
    record = record_of(done.output, "c")
    assert record["corrected"]
    assert record["before_correction"][0]["voxels"] == before.sum()
    assert [(case.name, case.review_status) for case in review.cases()] == [
        ("a", "0.50"),
        ("b", "0.80"),
        ("c", "corrected"),
    ]
    assert "corrected" in (done.output / "contact-sheet.html").read_text()
    from EfficientMedSAM2Lib.cli import main

    assert main(["cohort", "accept", str(done.output)]) == 0  # the command finds nothing left to accept
    assert capsys.readouterr().out == ""
    written = (done.output / "cases" / "c" / "segmentation.seg.nrrd").read_bytes()
    done.run()
    assert (done.output / "cases" / "c" / "segmentation.seg.nrrd").read_bytes() == written
    review.open("c")  # and comes back as it was saved
    np.testing.assert_array_equal(review.nodes.segments()[0].mask, expected)


def test_a_segment_that_was_added_is_measured_too(done, review):
    nodes = review.open("a")
    nodes.segmentation.GetSegmentation().AddEmptySegment("", "tumour")
    paint(nodes, segment=1)
    review.save()
    with (done.output / "measurements.csv").open() as stream:
        found = [(row["segment"], row["voxels"]) for row in csv.DictReader(stream) if row["case"] == "a"]
    assert found == [("block", str(FILLED)), ("tumour", str(12 * 14))]


def test_a_case_that_is_right_is_marked_as_seen_and_its_files_stay(done, review):
    path = done.output / "cases" / "c" / "segmentation.seg.nrrd"
    before = path.read_bytes()
    review.open("c")
    assert not review.save()
    assert path.read_bytes() == before
    assert [(case.name, case.review_status) for case in review.cases()][-1] == ("c", "seen")
    assert review.next_case() == "a"
    assert rows(done.output)["c"]["score_lowest"] == "0.2"  # what the network thought of it is still true
    assert record_of(done.output, "c")["reviewed"]


def test_review_below_leaves_out_what_was_seen(done, review, capsys):
    from EfficientMedSAM2Lib.cohort.results.review import review_cases

    review.open("c")
    review.save()
    assert [case.name for case in review_cases(done.output, below=0.7)] == ["a"]
    assert "seen by a reader" in list(review_cases(done.output))[-1].text


def test_all_cases_are_gone_through_and_then_there_is_none(review):
    seen = []
    for _ in range(3):
        seen.append(review.next_case())
        review.open(seen[-1])
        review.save()
    assert seen == ["c", "a", "b"]
    assert review.next_case() == ""


def test_going_on_without_saving_does_not_come_back_at_once(review):
    order = []
    for _ in range(4):
        order.append(review.next_case())
        review.open(order[-1])
    assert order == ["c", "a", "b", "c"]


@pytest.mark.parametrize("spoil", ["scan", "segmentation", "broken scan", "broken segmentation"])
def test_files_that_are_gone_or_broken_are_one_sentence_and_leave_nothing(done, review, scene, spoil):
    before = names_of(scene)
    path = done.folder / "c.nrrd" if "scan" in spoil else done.output / "cases" / "c" / "segmentation.seg.nrrd"
    if "broken" in spoil:
        path.write_bytes(b"nothing")
    else:
        path.unlink()
    with pytest.raises(ValueError, match=r"'c'"):
        review.open("c")
    assert names_of(scene) == before
    assert review.nodes is None
    review.open("a")


def test_what_cannot_be_written_leaves_all_as_it_was(done, review, monkeypatch):
    nodes = review.open("c")
    folder = done.output / "cases" / "c"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "scene.mrml"}
    paint(nodes)
    monkeypatch.setattr(type(nodes), "write_segmentation", lambda self, path: path.mkdir() or path.rmdir())
    with pytest.raises(ValueError, match="Cannot write"):
        review.save()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "scene.mrml"} == before
    assert review.is_changed  # and can be tried again
    monkeypatch.undo()
    assert review.save()


def test_a_run_at_work_is_waited_for(done, review):
    from EfficientMedSAM2Lib.cohort.records.ledger import RunLock

    review.open("c")
    with RunLock(done.output), pytest.raises(ValueError, match="Another run is at work"):
        review.save()
    review.save()


def test_a_scene_that_was_closed_is_noticed(review, scene):
    review.open("c")
    scene.Clear(0)
    assert review.nodes is None
    assert not review.is_changed
    with pytest.raises(ValueError, match="open one first"):
        review.save()


def test_a_folder_without_a_ledger_is_refused(review_of, tmp_path):
    with pytest.raises(ValueError, match="no ledger"):
        review_of(tmp_path)


def test_dicom_series_whose_slices_slicer_may_turn_round(cohort, review_of, dicom_series):
    from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    array = np.zeros((5, 9, 11), np.int16)
    array[1:4, 2:5, 3:8] = 100
    dicom_series(cohort.folder / "ct", array)
    (cohort.folder / "m.csv").write_text('case,image,segment,points_ijk\np,ct,liver,"4,3,1"\n')
    from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
    from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
    from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
    from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort

    settings = RunSettings(engine="cheap_engine:build_session")
    run_cohort(read_cohort_manifest(cohort.folder / "m.csv"), cohort.output, settings, ClusterOptions(in_process=True))
    review = review_of(cohort.output)
    nodes = review.open("p")
    assert nodes.segments()[0].mask.sum() == 3 * 3 * 5
    nodes.segmentation.GetSegmentation().AddEmptySegment("", "other")
    assert review.save()
    volume = read_volume(cohort.folder / "ct")
    liver, other = read_segmentation(cohort.output / "cases" / "p" / "segmentation.seg.nrrd", volume)
    np.testing.assert_array_equal(liver.mask, volume.array == 100)
    assert not other.mask.any()


@pytest.mark.slow
def test_it_needs_nothing_that_slicer_does_not_bring(done, tmp_path):
    """In a process of its own, where everything else cannot be imported."""
    code = f"""
import sys
MISSING = ("torch", "timm", "safetensors", "pydantic", "dask", "distributed", "pyarrow", "slicerio", "highdicom",
           "matplotlib", "tqdm", "monai", "bokeh", "nrrd")
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in MISSING:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
sys.path[:0] = [{str(REPOSITORY)!r}, {str(MODULE)!r}, {str(Path(__file__).parents[1])!r}]
import slicer
from EfficientMedSAM2ModuleLib.cohort.review import CohortReview
scene = slicer.vtkMRMLScene()
keep = [slicer.vtkSlicerSegmentationsModuleLogic(), slicer.vtkSlicerMarkupsLogic()]
for logic in keep:
    logic.SetMRMLScene(scene)
review = CohortReview({str(done.output)!r}, scene)
nodes = review.open(review.next_case())
nodes.segmentation.GetSegmentation().GetNthSegment(0).SetName("renamed")
print(review.name, review.save(), [case.review_status for case in review.cases()])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "c True ['0.50', '0.80', 'corrected']"
    assert rows(done.output)["c"]["segment"] == "renamed"
