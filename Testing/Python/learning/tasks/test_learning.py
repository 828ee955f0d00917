"""A handful of finished cases becomes a task that knows their structure; interrupted, it goes on to the same task."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.metrics import dice
from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume
from EfficientMedSAM2Lib.learning.tasks import learn as learning
from EfficientMedSAM2Lib.learning.tasks import samples, training
from EfficientMedSAM2Lib.learning.tasks.learn import LearnOptions, learn
from EfficientMedSAM2Lib.pipeline.engine import build_session
from EfficientMedSAM2Lib.pipeline.proposals import proposed_prompts, search_structure
from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor
from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model
from EfficientMedSAM2Lib.runtimes.tasks import read_task
from EfficientMedSAM2Lib.runtimes.tasks.task_file import MAX_BYTES

from .synthetic_cases import finished_case, rim, write_cases

pytestmark = pytest.mark.slow

CASES = [finished_case(number) for number in range(2)]


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few views and small batches: the shape is simple."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "VIEWS", 24)
        patch.setattr(samples, "FEWEST", 12)
        patch.setattr(training, "BATCH", 4)
        patch.setattr(training, "WARMUP_STEPS", 2)
        patch.setattr(training, "LEARNING_RATE", 4e-3)
        patch.setattr(learning, "KEEP_EVERY", 4)
        yield patch


OPTIONS = LearnOptions(minutes=16 / learning.STEPS_PER_MINUTE)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    path = tmp_path_factory.mktemp("learnt") / "rim.task"
    return learn(CASES, "rim", path, OPTIONS), path


def test_the_task_is_small_and_says_what_it_is(learnt):
    task, path = learnt
    assert path.stat().st_size < MAX_BYTES
    known = read_task(path)
    assert known.describe() == task.describe()
    assert (known.name, known.cases, known.modality) == ("rim", 2, "MR")
    assert known.spacing_mm == (5.0, 1.0, 1.0)
    assert set(known.results) == {"box", "clicks", "volume"}
    assert np.mean([after - before for before, after in known.results.values()]) > 0.05
    assert [entry.name for entry in path.parent.iterdir()] == ["rim.task"]


def test_one_click_and_a_loose_box_mean_the_structure(learnt):
    _, path = learnt
    voxels, mask = rim(9)
    truth = mask[2]
    rows, columns = np.nonzero(truth)
    middle = (rows.min() + rows.max()) // 2
    click = np.array([[np.flatnonzero(truth[middle])[2], middle]])
    box = np.array([columns.min() - 8, rows.min() - 5, columns.max() + 6, rows.max() + 8])
    found = {}
    for task in (None, path):
        predictor = EfficientMedSAM2ImagePredictor(build_efficient_medsam2_model(runtime="onnx", task=task))
        predictor.set_image(voxels[2].astype(np.float32))
        masks, scores, _ = predictor.predict(point_coords=click, point_labels=np.array([1]), multimask_output=True)
        loose, _, _ = predictor.predict(box=box, multimask_output=False)
        found[task] = dice(masks[scores.argmax()] > 0, truth), dice(loose[0] > 0, truth)
    assert found[path][0] > max(0.8, found[None][0] + 0.05)
    assert found[path][1] > max(0.8, found[None][1] + 0.05)


def test_interrupted_it_goes_on_to_the_same_task(learnt, tmp_path):
    _, path = learnt
    again = tmp_path / "rim.task"
    calls = []

    def stop(what, done, total):
        calls.append(what)
        if what.startswith("learning from fold 2") and done >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(CASES, "rim", again, OPTIONS, stop)
    assert not again.exists()
    done_again = []
    learn(CASES, "rim", again, OPTIONS, lambda what, done, total: done_again.append(what))
    assert not any(what.startswith("learning from fold 1") for what in done_again)
    assert again.read_bytes() == path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["rim.task"]


def test_what_is_no_better_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LEARNING_RATE", 0.0)
    monkeypatch.setattr(learning, "RULES", {})
    with pytest.raises(UserError, match=r"made it no better on cases left out .*boxes .*nothing was written"):
        learn(CASES, "rim", tmp_path / "rim.task", LearnOptions(minutes=0.1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unwanted", [(), ("roundness",), ("task_view", "task_box"), ("roundness", "task_box")])
def test_rules_that_do_not_suit_the_structure_are_left_out(unwanted, tmp_path, monkeypatch):
    """Boxes, clicks and volumes decide about one each."""

    def judge(network, images, measures=("box", "clicks", "volume")):
        if network.task is None:
            return {measure: [0.5] for measure in measures}
        rules = {"box": "roundness", "clicks": "task_view", "volume": "task_box"}
        fits = {name: getattr(network.heuristics, rule) == (rule not in unwanted) for name, rule in rules.items()}
        dices = {
            "box": 0.7 + 0.1 * fits["box"],
            "clicks": 0.5 + 0.1 * fits["clicks"],
            "volume": 0.6 + 0.3 * fits["volume"],
        }
        return {measure: [dices[measure]] for measure in measures}

    monkeypatch.setattr(learning, "judge", judge)
    task = learn(CASES, "rim", tmp_path / "rim.task", LearnOptions(minutes=0.1))
    assert task.without == unwanted
    assert task.results == {"box": (0.5, 0.8), "clicks": (0.5, 0.6), "volume": (0.5, 0.9)}


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("EfficientMedSAM2Lib.learning.tasks.kept_state.torch.save", full)
    with pytest.raises(UserError, match="No space left on device"):
        learn(CASES, "rim", tmp_path / "rim.task", LearnOptions(minutes=0.1))
    assert not list(tmp_path.iterdir())


def test_the_task_works_without_torch(learnt):
    _, path = learnt
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model\n"
        f"print(build_efficient_medsam2_model(task={str(path)!r}).task.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "rim", done.stderr


def test_without_a_prompt_the_structure_is_proposed_and_marked(learnt, tmp_path, capsys, caplog):
    _, path = learnt
    scan = write_cases(tmp_path, [9]) / "patient9.nii.gz"
    found = tmp_path / "found.nii.gz"
    assert main(["segment", str(scan), "--task", str(path), "--output", str(found)]) == 0
    said = capsys.readouterr()
    assert "Proposed by the task 'rim' with a score of 0." in caplog.text
    assert said.out.startswith("rim: ")
    volume = read_volume(scan)
    (segment,) = read_segmentation(found, volume)
    assert dice(segment.mask, rim(9)[1]) >= 0.7


def test_a_session_is_searched_a_slice_at_a_time_for_the_same_proposal(learnt, tmp_path):
    _, path = learnt
    volume = read_volume(write_cases(tmp_path, [9]) / "patient9.nii.gz")
    session = build_session(task=path, runtime="onnx")
    prompts = proposed_prompts(session, volume)
    session.set_image(volume.array, volume.ijk_to_ras)
    search = search_structure(session)
    *before, last = search.steps
    assert [step.done for step in before] == [1, 2, 3, 4]
    assert not any(step.finding for step in before)
    assert (search.name, last.done, last.total) == ("rim", 5, 5)
    assert f"with a score of {last.finding.score:.2f}" in prompts.note
    k, j, i = last.finding.box_kji
    (markup,) = prompts.markups
    np.testing.assert_allclose(markup.size, [i[1] - i[0], j[1] - j[0], 5.0 * (k[1] - k[0])])
    assert dice(last.finding.mask, rim(9)[1][last.finding.index]) >= 0.7
    assert session.segments == ()
    with pytest.raises(UserError, match=r"No task is chosen, .*; choose a \.task file first\."):
        search_structure(build_session(runtime="onnx"))


def test_where_nothing_looks_like_it_nothing_is_proposed(learnt, tmp_path, capsys):
    import SimpleITK

    _, path = learnt
    noise = np.random.default_rng(0).normal(60, 8, (5, 64, 64)).astype(np.int16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(tmp_path / "nothing.nii.gz"))
    output = tmp_path / "found.nii.gz"
    assert main(["segment", str(tmp_path / "nothing.nii.gz"), "--task", str(path), "--output", str(output)]) == 2
    assert "Nothing in nothing looks like 'rim'; give a prompt." in capsys.readouterr().err
    assert not output.exists()


def test_a_cohort_needs_no_prompts(learnt, tmp_path):
    _, path = learnt
    write_cases(tmp_path, [9])
    (tmp_path / "cases.csv").write_text("image\npatient9.nii.gz\n")
    output = tmp_path / "results"
    settings = RunSettings(task=str(path), pictures=False).resolved()
    cases = read_cohort_manifest(tmp_path / "cases.csv", "rim")
    summary = run_cohort(cases, output, settings, ClusterOptions(in_process=True))
    (outcome,) = summary.outcomes
    assert not outcome.failed, outcome.reason
    (segment,) = outcome.record["segments"]
    assert segment["message"].startswith("Proposed by the task 'rim'")
    assert outcome.record["settings"]["task_sha256"] == settings.task_sha256
    (found,) = read_segmentation(output / "cases" / "patient9" / "segmentation.seg.nrrd", read_volume(cases[0].image))
    assert found.name == "rim"
    assert dice(found.mask, rim(9)[1]) >= 0.7
