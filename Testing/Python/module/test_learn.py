"""*Learn* in the stand-in host: cases of the scene or of a folder go to a process, whose task the effect uses then."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs PyPI's slicer-core")

#: What takes longer will never come, on a machine that is busy with other things, too.
PATIENCE_MS = 60_000
#: In place of `learn`: waits for a file, if it is to, then writes a task as the real one does.
LEARNS = """
import pathlib, sys, time
output, wait = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
print("looking at the cases: 1 of 2", flush=True)
print("a warning of some library", flush=True)
print("learning from fold 1 of 2: 12 of 130", file=sys.stderr, flush=True)
while wait.exists():
    time.sleep(0.02)
from EfficientMedSAM2Lib.runtimes.tasks import Task, write_task
print("More cases still help.")
results = {"box": (0.226, 0.735), "clicks": (0.229, 0.248), "volume": (0.036, 0.472)}
write_task(output, Task("rim", "mobilenet", "0" * 64, cases=2, results=results))
"""
REFUSES = """
import re
import sys
print("looking at the cases: 1 of 2", flush=True)
print("efficient-medsam2: 2 cases of one patient cannot show whether others get better.", file=sys.stderr)
sys.exit(2)
"""


@pytest.fixture
def learn(panel, monkeypatch):
    """The section, with all packages at hand."""
    from EfficientMedSAM2ModuleLib.learn import panel as section

    monkeypatch.setattr(section, "installed", lambda _name: True)
    panel.learn_section.collapsed = False
    return panel.learn


@pytest.fixture
def process(monkeypatch, tmp_path):
    """Stands for `learn`: gives the commands that were asked for; `hold` keeps it running while it exists."""
    from EfficientMedSAM2ModuleLib.learn import panel as section

    asked, real = [], section.learn_command

    def command(cases, structure, output, minutes, settings):
        asked.append(real(cases, structure, output, minutes, settings))
        files = sorted(path.name for path in cases.iterdir())
        asked[-1].append(files)
        return [sys.executable, "-c", asked.program, str(output), str(asked.hold)]

    class Asked(list):
        program, hold = LEARNS, tmp_path / "hold"

    asked = Asked()
    monkeypatch.setattr(section, "learn_command", command)
    return asked


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "cases"
    path.mkdir()
    (path / "case1.nii.gz").touch()
    return path


def from_folder(learn, folder, name="rim"):
    learn.sourceCombo.setCurrentIndex(1)
    learn.folderEdit.currentPath = str(folder)
    learn.nameCombo.setEditText(name)


def add_case(host, number, name="rim", patient=None, fill=True):
    """A scan with a segment in the scene."""
    array = np.full((4, 12, 10), 10 * number, np.int16)
    array[1:3, 3:9, 2:8] += 100
    volume = host.volume(array, np.diag([1.0, 1.0, 5.0, 1.0]), f"Scan {number}: T1/post")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"Segmentation {number}")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    mask = np.zeros(array.shape, bool)
    mask[1:3, 3:9, 2:8] = fill
    segment_id = node.GetSegmentation().AddEmptySegment("", name)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask.astype(np.uint8), node, segment_id, volume)
    if patient is not None:
        tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item = tree.GetItemByName(patient) or tree.CreateSubjectItem(tree.GetSceneItemID(), patient)
        tree.SetItemLevel(item, "Patient")
        tree.CreateItem(item, volume)  # which Slicer's own GUI does by itself
    return volume, node


def wait(host, learn):
    assert host.process_events(PATIENCE_MS, until=lambda: learn.process is None)


def cells(table):
    from host.pythonqt import unwrap

    native = unwrap(table)
    return [[native.item(row, column).text() for column in range(3)] for row in range(native.rowCount())]


def test_a_folder_is_learnt_from_shown_and_used(slicer_host, learn, panel, process, folder, tmp_path):
    from EfficientMedSAM2ModuleLib.settings import EngineSettings

    output = tmp_path / "rim.task"
    process.hold.touch()
    from_folder(learn, folder)
    assert learn.minutesSpin.value == 0
    learn.minutesSpin.value = 7
    slicer_host.dialogs.answers.append(str(output))
    learn.learnButton.click()
    command, (files,) = process[0][:-1], process[0][-1:]
    assert command[1:4] == ["-m", "EfficientMedSAM2Lib.cli", "learn"]
    assert command[4:] == [
        str(folder),
        "--segment=rim",
        f"--output={output}",
        "--minutes=7",
        "--progress=lines",
        "--encoder=efficientnet",
    ]
    assert files == ["case1.nii.gz"]
    assert learn.learnButton.text == "Cancel"
    assert not learn.nameCombo.enabled
    text = "Learning from fold 1 of 2: 12 of 130"
    assert slicer_host.process_events(PATIENCE_MS, until=lambda: learn.progressBar.format == text)
    assert (learn.progressBar.value, learn.progressBar.maximum) == (12, 130)
    process.hold.unlink()
    wait(slicer_host, learn)
    assert learn.messageLabel.text.startswith("rim was learnt from 2 cases.")
    assert learn.messageLabel.text.endswith("More cases still help.")
    assert cells(learn.table) == [
        ["Boxes", "0.226", "0.735"],
        ["One click", "0.229", "0.248"],
        ["Volumes", "0.036", "0.472"],
    ]
    assert learn.learnButton.text == "Learn..."
    assert not learn.progressBar.visible
    learn.useButton.click()
    assert EngineSettings.load().task == str(output)
    assert panel.ui.taskPath.currentPath == str(output)
    assert slicer_host.native_app.window.selected == "SegmentEditor"


def test_it_runs_at_a_low_priority_and_cancel_ends_it(slicer_host, learn, process, folder, tmp_path):
    import os

    from EfficientMedSAM2ModuleLib.learn.process import NICENESS

    process.hold.touch()
    from_folder(learn, folder)
    slicer_host.dialogs.answers.append(str(tmp_path / "rim.task"))
    learn.learnButton.click()
    pid, own = learn.process._process.pid, learn.process._folder
    assert os.getpriority(os.PRIO_PROCESS, pid) == NICENESS
    learn.learnButton.click()
    wait(slicer_host, learn)
    assert (
        "Cancelled. Learn again with the same cases and file, and it goes on where it was." in learn.messageLabel.text
    )
    assert not own.exists()
    assert not learn.table.visible
    assert not (tmp_path / "rim.task").exists()


def test_what_learn_refuses_is_said_in_its_own_sentence(slicer_host, learn, process, folder, tmp_path):
    process.program = REFUSES
    from_folder(learn, folder)
    slicer_host.dialogs.answers.append(str(tmp_path / "rim"))
    learn.learnButton.click()
    wait(slicer_host, learn)
    text = "2 cases of one patient cannot show whether others get better."
    assert learn.messageLabel.text == f"<b>{text}</b>"
    assert process[0][6] == f"--output={tmp_path / 'rim.task'}"
    assert not any(part.startswith("--minutes") for part in process[0][:-1])  # as the cases need


def test_leaving_the_panel_ends_learning(slicer_host, learn, process, folder, tmp_path):
    process.hold.touch()
    from_folder(learn, folder)
    slicer_host.dialogs.answers.append(str(tmp_path / "rim.task"))
    learn.learnButton.click()
    running = learn.process
    learn.cleanup()
    assert not running.is_running
    assert not running._folder.exists()


def test_scans_of_the_scene_are_written_for_it_and_removed(slicer_host, learn, process, tmp_path):
    for number, patient in ((1, "Ann"), (2, "Ann"), (3, None)):
        add_case(slicer_host, number, patient=patient)
    add_case(slicer_host, 4, name="other")
    learn.enter()
    assert learn.nameCombo.currentText == "rim"
    slicer_host.dialogs.answers.append(str(tmp_path / "rim.task"))
    learn.learnButton.click()
    files, written = process[0][-1], Path(process[0][4])
    names = ["patient1_Scan-1-T1-post_1", "patient1_Scan-2-T1-post_2", "patient2_Scan-3-T1-post_3"]
    assert files == sorted(f"{name}{ending}" for name in names for ending in (".nrrd", ".seg.nrrd"))
    wait(slicer_host, learn)
    assert not written.exists()
    assert learn.task == tmp_path / "rim.task"


def test_learn_reads_what_the_scene_was_written_as(slicer_host, module, tmp_path):
    from EfficientMedSAM2Lib.learning.tasks.cases import read_cases
    from EfficientMedSAM2Lib.mrml.scene.finished_cases import finished_cases, write_finished_cases

    for number in (1, 2):
        add_case(slicer_host, number)
    write_finished_cases(finished_cases(slicer.mrmlScene, "rim"), "rim", tmp_path)
    cases = read_cases(tmp_path, "rim")
    assert [case.patient for case in cases] == ["patient1", "patient2"]
    for number, case in enumerate(cases, start=1):
        expected = np.full((4, 12, 10), 10 * number, np.int16)
        expected[1:3, 3:9, 2:8] += 100
        np.testing.assert_array_equal(case.image.voxels, expected)
        assert case.image.labels.sum() == 72
        assert case.image.labels[1:3, 3:9, 2:8].all()
        assert case.image.spacing_mm == (5.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((), "No scan of this scene has a 'rim'; learning takes finished scans of two patients or more"),
        ((1,), "One scan of this scene has a segment 'rim'; learning takes finished scans of two patients or more"),
    ],
)
def test_a_scene_with_too_little_is_refused_before_anything_is_asked(slicer_host, learn, numbers, sentence):
    for number in numbers:
        add_case(slicer_host, number)
    learn.nameCombo.setEditText("rim")
    learn.learnButton.click()
    assert sentence in learn.messageLabel.text
    assert learn.process is None


def test_segments_that_belong_to_no_scan_or_twice_to_one_are_refused(slicer_host, learn):
    volume, _node = add_case(slicer_host, 1)
    _other, node = add_case(slicer_host, 2)
    learn.nameCombo.setEditText("rim")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    learn.learnButton.click()
    assert "has the segment 'rim' in two segmentations" in learn.messageLabel.text
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), None)
    learn.learnButton.click()
    assert "'Segmentation 2' belongs to no scan" in learn.messageLabel.text


def test_no_folder_and_no_name_are_one_sentence_each(learn, tmp_path):
    from_folder(learn, tmp_path / "none")
    learn.learnButton.click()
    assert "Choose the folder of the cases, or of a cohort's results." in learn.messageLabel.text
    learn.nameCombo.setEditText(" ")
    learn.learnButton.click()
    assert "Give the name of the structure" in learn.messageLabel.text


def test_without_pytorch_it_is_offered_and_declined_in_one_sentence(learn, panel, folder, monkeypatch):
    from EfficientMedSAM2ModuleLib.learn import panel as section

    asked = []
    monkeypatch.setattr(section, "installed", lambda name: name != "torch")
    monkeypatch.setattr(panel.logic, "set_up", lambda with_torch: asked.append(with_torch))
    from_folder(learn, folder)
    learn.learnButton.click()
    assert asked == [True]
    assert "Learning needs PyTorch, which is not installed; nothing was learnt." in learn.messageLabel.text


def test_changing_ones_mind_about_the_file_starts_nothing(slicer_host, learn, process, folder):
    from_folder(learn, folder)
    slicer_host.dialogs.answers.append("")
    learn.learnButton.click()
    assert (process, learn.process) == ([], None)


@pytest.mark.slow
def test_the_real_command_starts_and_says_what_is_missing(slicer_host, learn, folder, tmp_path):
    """Slicer's Python runs the engine by its folder; an empty file is no scan."""
    from_folder(learn, folder)
    (folder / "case1.nii.gz").unlink()
    slicer_host.dialogs.answers.append(str(tmp_path / "rim.task"))
    learn.learnButton.click()
    wait(slicer_host, learn)
    assert learn.messageLabel.text == "<b>There is no case with a structure 'rim'; check its name.</b>"


def test_the_picture(slicer_host, learn, process, folder, tmp_path):
    from_folder(learn, folder)
    slicer_host.dialogs.answers.append(str(tmp_path / "rim.task"))
    learn.learnButton.click()
    wait(slicer_host, learn)
    pictures = Path(__file__).resolve().parents[3] / "build" / "module-pictures"
    assert slicer_host.grab(learn.table.parent(), pictures / "learn.png").stat().st_size > 0


def test_what_learning_needs_is_installed_with_it(module):
    """In Slicer's Python nothing is there but what Slicer bundles and what this program installs."""
    from EfficientMedSAM2ModuleLib.learn.panel import CASE_PACKAGES

    text = (Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    extra = re.findall(r'"([^"]+)"', re.search(r"^learn = \[(.*?)\]", text, re.MULTILINE)[1])
    assert set(extra) <= set(CASE_PACKAGES.values())
    for requirement in CASE_PACKAGES.values():
        assert f'"{requirement}"' in text
