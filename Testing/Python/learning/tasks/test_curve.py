"""What more cases have brought: tasks so far are remembered, corrections counted, and one rule says when to stop."""

from __future__ import annotations

import pytest

from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
from EfficientMedSAM2Lib.cohort.records.ledger import Ledger
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.results.corrections import save_review
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume
from EfficientMedSAM2Lib.learning.tasks.cases import read_cases
from EfficientMedSAM2Lib.learning.tasks.curve import (
    Corrections,
    corrections_by_task,
    curve_lines,
    earlier_tasks,
    has_stopped_helping,
)
from EfficientMedSAM2Lib.pipeline.case import PropagationOptions
from EfficientMedSAM2Lib.runtimes.tasks import Task, read_task, write_task

from .synthetic_cases import rim, write_cases

WEIGHTS = "0" * 64


def task_of(cases, dice, name="rim", weights=WEIGHTS, **changes):
    results = {"box": (0.2, dice), "clicks": (0.2, dice - 0.1), "volume": (0.2, dice + 0.1)}
    return Task(name, "efficientnet", weights, cases=cases, results=results, **changes)


def learnt(path, cases, dice):
    """Write a task as `learn` does."""
    write_task(path, task_of(cases, dice, earlier=earlier_tasks(path, "rim", WEIGHTS, cases)))
    return read_task(path)


@pytest.mark.parametrize(
    ("dices", "expected"),
    [
        ([0.5], False),
        ([0.5, 0.501], False),
        ([0.5, 0.501, 0.502], True),
        ([0.5, 0.501, 0.520], False),
        ([0.5, 0.6, 0.601, 0.59], True),
        ([0.5, 0.501, 0.502, 0.55], False),
    ],
)
def test_the_rule(dices, expected):
    assert has_stopped_helping(dices) == expected


def test_tasks_in_the_folder_and_those_that_were_replaced_are_remembered(tmp_path):
    path = tmp_path / "rim.task"
    assert learnt(path, 4, 0.5).earlier == ()
    first = sha256_of(path)
    assert [known.cases for known in learnt(path, 6, 0.6).earlier] == [4]
    write_task(tmp_path / "other.task", task_of(5, 0.55))
    write_task(tmp_path / "liver.task", task_of(5, 0.9, name="liver"))
    write_task(tmp_path / "weights.task", task_of(7, 0.9, weights="1" * 64))
    (tmp_path / "broken.task").write_bytes(b"\xff" * 40)
    newest = learnt(path, 8, 0.605)
    assert [known.cases for known in newest.earlier] == [4, 5, 6]
    assert newest.earlier[0].sha256 == first
    assert newest.earlier[0].results["box"] == (0.2, 0.5)


def test_learnt_again_from_as_many_cases_it_is_the_same_file(tmp_path):
    path = tmp_path / "rim.task"
    learnt(path, 4, 0.5)
    learnt(path, 6, 0.6)
    before = path.read_bytes()
    learnt(path, 6, 0.6)
    assert path.read_bytes() == before


def test_the_table_ends_with_the_rule(tmp_path):
    path = tmp_path / "rim.task"
    assert list(curve_lines(learnt(path, 4, 0.5), {})) == []
    corrections = {sha256_of(path): Corrections(5, 3)}
    lines = list(curve_lines(learnt(path, 6, 0.6), corrections))
    assert [line.split() for line in lines[1:3]] == [
        ["4", "0.500", "0.400", "0.600", "0.500", "3", "of", "5"],
        ["6", "0.600", "0.500", "0.700", "0.600"],
    ]
    assert lines[0].split() == ["cases", "boxes", "one", "click", "volumes", "mean", "corrected"]
    assert lines[-1] == "More cases still help."
    learnt(path, 7, 0.605)
    lines = list(curve_lines(learnt(path, 9, 0.606), corrections))
    assert len(lines) == 6
    assert lines[-1] == "More cases have stopped helping: the last 2 tasks each gained less than 0.01 of mean Dice."


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A cohort of three scans, segmented from boxes."""
    folder = write_cases(tmp_path_factory.mktemp("cohort"), [0, 1, 2])
    lines = ["image,segment,box_ijk"]
    for number in range(3):
        j, i = (axis.nonzero()[0] for axis in (rim(number)[1][2].any(1), rim(number)[1][2].any(0)))
        lines.append(f"patient{number}.nii.gz,rim,{i[0]} {j[0]} 2 {i[-1]} {j[-1]} 2")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    run(folder)
    return folder


def run(folder, **settings):
    options = {"pictures": False, "propagation": PropagationOptions("none"), **settings}
    cases = read_cohort_manifest(folder / "cases.csv")
    run_cohort(cases, folder / "results", RunSettings(**options), ClusterOptions(in_process=True))


def corrected(folder, number):
    """Save what a reader has drawn."""
    volume = read_volume(folder / f"patient{number}.nii.gz")
    segments = [Segment("rim", rim(number)[1])]
    output = folder / "results"
    save_review(output, f"patient{number}", volume, segments, lambda path: write_segmentation(path, segments, volume))


@pytest.mark.slow
def test_saved_corrections_join_the_cases_and_stay_when_the_cohort_is_run_again(results):
    output = results / "results"
    with pytest.raises(UserError, match=r"None of the 3 cases of .* has been reviewed"):
        read_cases(output, "rim")
    corrected(results, 0)
    save_review(output, "patient1")
    cases = read_cases(output, "rim")
    assert [case.name for case in cases] == ["patient0", "patient1"]
    assert (cases[0].image.labels > 0).sum() == rim(0)[1].sum()
    assert corrections_by_task(output) == {}
    with Ledger(output) as ledger:  # as if a task had segmented them
        for name in ("patient0", "patient1", "patient2"):
            outcome = ledger.outcome(name)
            outcome.record["settings"]["task_sha256"] = "a" * 64
            ledger.record(outcome)
    assert corrections_by_task(output) == {"a" * 64: Corrections(2, 1)}
    run(results, propagation=PropagationOptions("both"))
    (case,) = read_cases(output, "rim")
    assert case.name == "patient0"
    assert (case.image.labels > 0).sum() == rim(0)[1].sum()
    corrected(results, 0)
    corrected(results, 2)
    assert [case.name for case in read_cases(output, "rim")] == ["patient0", "patient2"]


def test_a_folder_of_cases_knows_of_no_corrections(tmp_path):
    assert corrections_by_task(write_cases(tmp_path, [0])) == {}
