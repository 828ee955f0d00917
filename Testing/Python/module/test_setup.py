"""One-click set-up: what is installed in which order, what is never replaced, and that no means no."""

from __future__ import annotations


def accept(slicer_host, times=1):
    import qt

    slicer_host.dialogs.answers += [qt.QMessageBox.Ok] * times


def choose_gpu(panel):
    """A choice that ONNX Runtime alone is not enough for."""
    panel.ui.deviceComboBox.currentIndex = panel.ui.deviceComboBox.findData("cuda")


def test_on_a_new_slicer_onnx_runtime_is_all_that_is_installed(slicer_host, installation, packaging, panel):
    assert "ONNX Runtime is missing" in panel.ui.stateLabel.text
    assert not panel.logic.state().ready
    panel.ui.setupButton.click()
    assert installation.log == ["pip_ensure for EfficientMedSAM2", "onnxruntime>=1.17"]
    assert panel.ui.stateLabel.text == "Ready."
    assert "not needed" in panel.ui.torchLabel.text
    assert panel.ui.checkButton.enabled
    assert not panel.ui.setupButton.enabled
    assert slicer_host.native_app.restarts == 0


def test_pytorch_is_offered_where_there_is_a_gpu(slicer_host, installation, packaging, panel, monkeypatch):
    from EfficientMedSAM2ModuleLib import setup_state
    from host.pythonqt import unwrap

    installation.extension = True
    panel.update_state()
    assert unwrap(panel.ui.torchButton).isHidden()
    monkeypatch.setattr(setup_state, "may_have_gpu", lambda: True)
    panel.ui.setupButton.click()
    assert "torch" not in installation.log
    assert panel.logic.state().ready
    assert "GPU" in panel.ui.stateLabel.text
    panel.ui.torchButton.click()
    assert installation.log[2:] == ["torch", "pip_ensure for EfficientMedSAM2", "safetensors>=0.4", "timm>=1.0.9"]
    assert panel.ui.stateLabel.text == "Ready."
    assert unwrap(panel.ui.torchButton).isHidden()


def test_for_pytorch_the_extension_comes_first_and_needs_a_restart(slicer_host, installation, panel):
    choose_gpu(panel)
    assert panel.ui.torchLabel.text == "missing"
    assert "PyTorch is missing" in panel.ui.stateLabel.text
    accept(slicer_host)
    panel.ui.setupButton.click()
    assert installation.log == ["extension PyTorch"]
    assert "Restart" in panel.ui.stateLabel.text
    assert not panel.ui.setupButton.enabled
    panel.ui.restartButton.click()
    assert slicer_host.native_app.restarts == 1


def test_with_the_extension_torch_and_packages_come_in_one_go(slicer_host, installation, packaging, panel):
    choose_gpu(panel)
    installation.extension = True
    installation.versions["SimpleITK"] = "2.5.0"
    panel.ui.setupButton.click()
    assert installation.log[:2] == ["torch", "pip_ensure for EfficientMedSAM2"]
    assert installation.log[2:] == ["safetensors>=0.4", "timm>=1.0.9", "onnxruntime>=1.17"]
    assert panel.ui.torchLabel.text == "2.9.0+cpu"
    assert "timm 1.0.20" in panel.ui.packagesLabel.text
    assert not panel.ui.setupButton.enabled
    assert slicer_host.dialogs.shown == []  # the two installers ask themselves


def test_weights_that_are_not_exported_need_pytorch(installation, panel, weights_file):
    panel.ui.encoderComboBox.currentIndex = panel.ui.encoderComboBox.findData("own")
    panel.ui.weightsPath.currentPath = str(weights_file())
    assert panel.logic.state().needs_torch
    assert "PyTorch is missing" in panel.ui.stateLabel.text


def test_pip_may_not_replace_what_slicer_and_pytorch_brought(installation, packaging, panel):
    choose_gpu(panel)
    installation.extension = True
    installation.versions["SimpleITK"] = "2.5.0"
    panel.ui.setupButton.click()
    assert set(installation.constraints.split()) == {"torch==2.9.0+cpu", "torchvision==0.24.0", "SimpleITK==2.5.0"}


def test_an_older_slicer_asks_and_uses_pip_install(slicer_host, installation, panel):
    choose_gpu(panel)
    installation.versions["torch"] = "2.2.2"
    accept(slicer_host)
    panel.ui.setupButton.click()
    assert "timm>=1.0.9" in slicer_host.dialogs.shown[-1][1]
    assert installation.log == ["safetensors>=0.4", "timm>=1.0.9", "onnxruntime>=1.17"]
    assert "torch==2.2.2" in installation.constraints


def test_an_old_package_counts_as_missing(installation, panel):
    choose_gpu(panel)
    installation.versions.update({"torch": "2.9.0", "timm": "1.0.3", "safetensors": "0.4", "onnxruntime": "1.20.0"})
    assert panel.logic.state().missing == ("timm>=1.0.9",)
    assert not panel.logic.state().ready


def test_with_pytorch_onnx_runtime_can_be_installed_but_is_not_needed(installation, packaging, panel):
    installation.versions.update({"torch": "2.9.0", "timm": "1.0.20", "safetensors": "0.6.0"})
    panel.update_state()
    assert panel.logic.state().ready
    assert panel.ui.checkButton.enabled
    assert "faster on a CPU" in panel.ui.stateLabel.text
    panel.ui.setupButton.click()
    assert installation.log == ["pip_ensure for EfficientMedSAM2", "onnxruntime>=1.17"]
    assert panel.ui.stateLabel.text == "Ready."
    assert not panel.ui.setupButton.enabled


def test_declining_changes_nothing(slicer_host, installation, packaging, panel):
    import qt

    choose_gpu(panel)
    slicer_host.dialogs.answers.append(qt.QMessageBox.Cancel)
    panel.ui.setupButton.click()
    installation.extension = installation.torch_declined = True
    panel.ui.setupButton.click()
    installation.versions["torch"] = "2.9.0"
    packaging.declined = "User declined package installation"
    panel.update_state()
    panel.ui.setupButton.click()
    assert installation.log == []
    assert panel.ui.setupButton.enabled


def test_trouble_of_pip_is_not_taken_for_a_no(slicer_host, installation, packaging, panel):
    installation.versions["torch"] = "2.9.0"
    packaging.declined = "Another installation is in progress"
    accept(slicer_host)  # the message
    panel.ui.setupButton.click()
    assert "in progress" in slicer_host.dialogs.shown[-1][1]
    slicer_host.errors.clear()


def test_a_failure_is_told_and_the_panel_stays_usable(slicer_host, installation, panel):
    choose_gpu(panel)
    slicer_host.native_app.extensions = None
    accept(slicer_host, times=2)  # the question, then the message
    panel.ui.setupButton.click()
    assert "no Extensions Manager" in slicer_host.dialogs.shown[-1][1]
    (error,) = slicer_host.errors  # tryWithErrorDisplay shows an error and raises it again; Slicer prints it
    assert isinstance(error[0], RuntimeError)
    slicer_host.errors.clear()
    assert panel.ui.setupButton.enabled
