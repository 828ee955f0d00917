"""The module in the stand-in host: it loads, tells its state, keeps the choices, and leads to the effect."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE_FOLDER = REPOSITORY / "EfficientMedSAM2"
BUNDLED = {"qt", "ctk", "vtk", "slicer", "numpy", "packaging", "SegmentEditorEffects", "EfficientMedSAM2Lib"}


def test_the_module_fills_in_what_slicer_lists(module):
    assert module.title == "EfficientMedSAM2"
    assert module.categories == ["Segmentation"]
    assert "research" in module.helpText
    assert not module.icon.isNull()


@pytest.mark.slow
def test_the_panel_loads_and_explains_itself_without_torch():
    """In a process of its own, where importing torch, timm or safetensors fails."""
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "safetensors", "torchvision"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {str(REPOSITORY / "Testing" / "Python")!r})
from host.slicer_host import MODULE_FOLDER, SlicerHost
with SlicerHost() as host:
    module = host.load_module(MODULE_FOLDER / "EfficientMedSAM2.py")
    panel = module.widgetRepresentation().self()
    from EfficientMedSAM2ModuleLib import setup_state
    setup_state.installed_version = lambda name: None
    panel.enter()
    print(panel.ui.stateLabel.text)
    print(panel.ui.setupButton.enabled, panel.ui.checkButton.enabled, len(host.errors))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state, facts = done.stdout.strip().splitlines()[-2:]
    assert state.startswith("ONNX Runtime is missing.")
    assert facts == "True False 0"


@pytest.mark.parametrize("path", sorted(MODULE_FOLDER.rglob("*.py")), ids=lambda path: path.name)
def test_nothing_that_slicer_lacks_is_imported_at_file_scope(path):
    local = {entry.stem for entry in MODULE_FOLDER.iterdir()} | BUNDLED | set(sys.stdlib_module_names)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        assert {name.split(".")[0] for name in names} <= local


def test_every_widget_is_named_once_and_controls_have_tooltips():
    root = ET.parse(REPOSITORY / "Resources" / "UI" / "EfficientMedSAM2.ui").getroot()
    widgets = list(root.iter("widget"))
    names = [widget.get("name") for widget in widgets]
    assert len(names) == len(set(names))
    for widget in widgets:
        if widget.get("class") not in ("qMRMLWidget", "ctkCollapsibleButton", "QLabel"):
            assert widget.find("property[@name='toolTip']") is not None, widget.get("name")


def test_texts_that_wrap_are_not_rows_of_a_form():
    """Qt 5's QFormLayout gives two rows that wrap each other's height once a section was collapsed: text is cut off."""
    root = ET.parse(REPOSITORY / "Resources" / "UI" / "EfficientMedSAM2.ui").getroot()
    for form in root.iterfind(".//layout[@class='QFormLayout']"):
        wrapping = [
            widget.get("name")
            for widget in form.iterfind("item/widget[@class='QLabel']")
            if widget.findtext("property[@name='wordWrap']/bool") == "true"
        ]
        assert len(wrapping) <= 1, wrapping


def test_a_section_that_the_user_opened_stays_open(panel, monkeypatch):
    section = panel.ui.setupSection
    section.collapsed = False
    panel.update_state()
    assert not section.collapsed
    section.collapsed = True
    panel.enter()
    assert section.collapsed
    from EfficientMedSAM2ModuleLib import setup_state

    with monkeypatch.context() as patch:
        patch.setattr(setup_state, "installed_version", lambda _distribution: None)
        panel.enter()
        assert not section.collapsed  # something is to be done
    panel.enter()
    assert section.collapsed


def test_choices_are_kept(slicer_host, panel, weights_file):
    from EfficientMedSAM2ModuleLib.settings import EngineSettings

    ui = panel.ui
    assert EngineSettings.load() == EngineSettings()
    ui.encoderComboBox.setCurrentIndex(ui.encoderComboBox.findData("mobilenet"))
    ui.deviceComboBox.setCurrentIndex(ui.deviceComboBox.findData("cpu"))
    ui.halfPrecisionCheckBox.click()
    ui.windowComboBox.setCurrentIndex(ui.windowComboBox.findData("custom"))
    assert ui.windowRange.enabled
    ui.windowRange.setValues(-20.0, 310.0)
    kept = EngineSettings.load()
    assert kept == EngineSettings("mobilenet", "", "cpu", False, "custom", -20.0, 310.0)
    assert kept.build_arguments() == {
        "encoder_type": "mobilenet",
        "checkpoint": None,
        "device": "cpu",
        "use_half_precision": False,
        "task": None,
    }
    again = type(panel)(slicer_host.load_module(MODULE_FOLDER / "EfficientMedSAM2.py").widgetRepresentation().panel)
    again.setup()
    assert again.ui.encoderComboBox.currentData == "mobilenet"
    assert again.ui.windowRange.maximumValue == 310.0
    assert not again.ui.halfPrecisionCheckBox.checked


def test_weights_of_the_users_own(panel, weights_file):
    ui = panel.ui
    assert not ui.weightsPath.enabled
    ui.encoderComboBox.setCurrentIndex(ui.encoderComboBox.findData("own"))
    assert ui.weightsPath.enabled
    ui.weightsPath.currentPath = str(weights_file("mobilenet"))
    assert panel.logic.settings().build_arguments()["encoder_type"] == "mobilenet"
    assert ui.weightsLabel.text == "mobilenet.safetensors (Apache-2.0)"


def test_a_task_brings_its_weights_and_says_what_it_is(panel, tmp_path):
    from EfficientMedSAM2Lib.runtimes.tasks import Task, write_task

    ui, path = panel.ui, tmp_path / "spleen.task"
    write_task(path, Task("spleen", "mobilenet", "0" * 64, cases=4))
    ui.taskPath.currentPath = str(path)
    arguments = panel.logic.settings().build_arguments()
    assert (arguments["encoder_type"], arguments["task"]) == ("mobilenet", str(path))
    assert ui.weightsLabel.text == "efficient_medsam2_mobilenet.safetensors (Apache-2.0), task spleen from 4 cases"
    ui.taskPath.currentPath = str(tmp_path / "none.task")
    assert "does not exist; choose a .task file, or none." in ui.stateLabel.text
    ui.taskPath.currentPath = ""
    assert panel.logic.settings().build_arguments()["task"] is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00{}", None])
def test_weights_that_are_none_are_refused_in_one_sentence(module, tmp_path, content):
    from EfficientMedSAM2ModuleLib.settings import weights_facts

    path = tmp_path / "other.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"choose a \.safetensors file"):
        weights_facts(str(path))


def test_the_window_that_the_effect_reads(slicer_host, module):
    from EfficientMedSAM2ModuleLib.settings import EngineSettings

    volume = slicer_host.volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    volume.GetScalarVolumeDisplayNode().AutoWindowLevelOff()
    volume.GetScalarVolumeDisplayNode().SetWindowLevelMinMax(3.0, 17.0)
    assert EngineSettings().window_bounds(volume) is None
    assert EngineSettings(window="displayed").window_bounds(volume) == (3.0, 17.0)
    assert EngineSettings(window="custom", window_low=1.0, window_high=2.0).window_bounds(volume) == (1.0, 2.0)
    assert EngineSettings(window="abdomen").window_bounds(volume) == (-160.0, 240.0)


def test_the_check_runs_in_a_thread_and_reports(slicer_host, panel, monkeypatch):
    from EfficientMedSAM2ModuleLib import self_check

    report = self_check.CheckReport("cpu (2 threads)", "chosen by you", "float32", "half precision is off", 48.2)

    def slow(arguments):
        time.sleep(0.2)
        return report

    monkeypatch.setattr(self_check, "check_network", slow)
    started = time.monotonic()
    panel.on_check()
    assert time.monotonic() - started < 0.15
    assert slicer_host.process_events(5000, until=lambda: panel.logic.report is report)
    text = "Device: cpu (2 threads), because chosen by you.<br>Precision: float32"
    assert panel.ui.checkLabel.text.startswith(text)


def test_the_main_thread_leaves_time_to_the_check(panel, monkeypatch):
    """Slicer's event loop keeps Python's lock, so a thread runs only while the main thread sleeps in Python."""
    from EfficientMedSAM2ModuleLib import self_check

    monkeypatch.setattr(self_check, "check_network", lambda _arguments: time.sleep(0.3))
    panel.on_check()
    started = time.monotonic()
    panel.on_timer()
    assert 0.02 < time.monotonic() - started < 0.2
    assert panel._timer.interval <= 20


def test_a_check_that_fails_says_why(panel, slicer_host, monkeypatch, caplog):
    from EfficientMedSAM2ModuleLib import self_check

    def fail(arguments):
        raise ValueError("No weights are shipped.")

    monkeypatch.setattr(self_check, "check_network", fail)
    check = panel.logic.start_check()
    assert panel.logic.is_finished(check, 5.0)
    assert panel.logic.finish_check(check) == "No weights are shipped."


def test_the_real_network_is_checked(module, tmp_path):
    """The report's facts come from the network itself."""
    torch = pytest.importorskip("torch")
    from EfficientMedSAM2ModuleLib.self_check import check_network

    report = check_network(
        {"encoder_type": "mobilenet", "checkpoint": "random", "device": "cpu", "use_half_precision": False}
    )
    assert report.device.startswith(f"cpu (PyTorch, {torch.get_num_threads()} thread")
    assert report.device_reason == "chosen by you"
    assert (report.precision, report.precision_reason) == ("float32", "half precision is off")
    assert 1.0 < report.milliseconds < 60_000.0


def test_samples_are_registered_with_checksum_and_thumbnail(slicer_host, module, panel, sample_data):
    slicer_host.finish_startup()
    (sample,) = sample_data
    assert sample["uris"].endswith(sample["checksums"].split(":")[1])
    assert Path(sample["thumbnailFileName"]).is_file()
    assert panel.logic.load_sample() == sample["sampleName"]


def test_without_a_network_the_sample_of_a_package_is_loaded_or_one_sentence_says_what_to_do(
    slicer_host, panel, sample_data, monkeypatch
):
    import SampleData
    import slicer

    from EfficientMedSAM2Lib.imaging.sample import sample_scan
    from EfficientMedSAM2Lib.runtimes import choice

    loaded = []
    monkeypatch.setattr(SampleData.SampleDataLogic, "downloadSample", lambda _self, _name: [][0])
    monkeypatch.setattr(slicer.util, "loadVolume", lambda path: loaded.append(path) or path, raising=False)
    panel.ui.sampleButton.click()
    assert loaded == [str(sample_scan())]
    monkeypatch.setattr(choice, "installed", lambda name: name != "slicerio")
    slicer_host.dialogs.answers.append(None)
    panel.ui.sampleButton.click()
    _kind, text = slicer_host.dialogs.shown[-1]
    assert "check the network, or open a scan of your own" in text
    slicer_host.errors.clear()


def test_a_missing_effect_keeps_nothing_else_away(slicer_host, module, sample_data, monkeypatch, caplog):
    from EfficientMedSAM2ModuleLib import effect_registration

    def fail(folder):
        raise ImportError("broken")

    monkeypatch.setattr(effect_registration, "register_effect", fail)
    slicer_host.finish_startup()
    assert len(sample_data) == 1
    assert "could not register the Segment Editor effect" in caplog.text


def test_the_button_opens_the_segment_editor_on_the_effect(slicer_host, panel, sample_data):
    import slicer

    slicer_host.finish_startup()
    volume = slicer_host.volume(np.zeros((4, 8, 8), np.int16))
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segmentation.GetSegmentation().AddEmptySegment("A", "A")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    panel.ui.openEditorButton.click()
    assert slicer_host.native_app.window.selected == "SegmentEditor"
    assert editor.activeEffect().name == "EfficientMedSAM2"


def test_without_a_scan_the_button_says_so_and_later_takes_the_scan(slicer_host, panel, sample_data):
    """Somebody has been in the Segment Editor before there was a scan: it has a segmentation, and no volume."""
    import slicer

    slicer_host.finish_startup()
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    editor.setSegmentationNode(segmentation)
    slicer_host.dialogs.answers.append(None)
    panel.ui.openEditorButton.click()
    _kind, text = slicer_host.dialogs.shown[-1]
    assert text.startswith("There is no scan")
    volume = slicer_host.volume(np.zeros((4, 8, 8), np.int16))
    panel.ui.openEditorButton.click()
    assert editor.sourceVolumeNode() is volume
    assert editor.activeEffect().name == "EfficientMedSAM2"
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_reloading_takes_the_package_along(panel):
    from EfficientMedSAM2ModuleLib import sample_data

    sample_data.CATEGORY = "changed"
    panel.onReload()
    assert sample_data.CATEGORY == "EfficientMedSAM2"


def test_the_cohort_has_a_section_of_its_own(slicer_host, module):
    panel = module.widgetRepresentation().self()
    section = panel.cohort.table.parent()
    assert (section.text, section.collapsed) == ("Cohort", True)


def test_the_engine_is_found_beside_the_module_and_one_folder_up(module, tmp_path, monkeypatch):
    from EfficientMedSAM2ModuleLib.locate import make_engine_importable

    monkeypatch.setattr(sys, "path", [])
    source, installed = tmp_path / "source", tmp_path / "installed"
    for folder in (source, installed):
        (folder / "EfficientMedSAM2Lib").mkdir(parents=True)
        (folder / "EfficientMedSAM2Lib" / "__init__.py").touch()
    (source / "EfficientMedSAM2").mkdir()
    assert make_engine_importable(source / "EfficientMedSAM2") == source
    assert make_engine_importable(installed) == installed
    make_engine_importable(installed)
    assert sys.path == [str(source), str(installed)]
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ImportError, match="install the extension again"):
        make_engine_importable(tmp_path / "a" / "b")
