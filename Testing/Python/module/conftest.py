"""The module in the stand-in host, with PyTorch's extension, SampleData and pip as far as the panel notices them."""

from __future__ import annotations

import json
import struct
import sys
import types
from pathlib import Path

import pytest


@pytest.fixture
def module(slicer_host):
    """The module as Slicer loads it, before start-up is complete."""
    from host.slicer_host import MODULE_FOLDER

    return slicer_host.load_module(MODULE_FOLDER / "EfficientMedSAM2.py")


@pytest.fixture
def panel(module):
    """The panel's Python object."""
    return module.widgetRepresentation().self()


@pytest.fixture
def weights_file(tmp_path):
    """A file with the header of a weights file, and nothing else."""

    def write(encoder="mobilenet", metadata=None):
        notes = {"config": json.dumps({"encoder_type": encoder}), "licence": "Apache-2.0"}
        header = json.dumps({"__metadata__": notes if metadata is None else metadata}).encode()
        path = tmp_path / f"{encoder}.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        return path

    return write


@pytest.fixture
def sample_data(monkeypatch):
    """Stand-in for the SampleData module; gives the list of registered samples."""
    registered = []

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(**source):
            registered.append(source)

        def downloadSample(self, name):
            return name

    stub = types.ModuleType("SampleData")
    stub.SampleDataLogic = SampleDataLogic
    monkeypatch.setitem(sys.modules, "SampleData", stub)
    return registered


class FakeInstallation:
    """What is installed, for tests of the set-up: replaces the look at the real installation.

    Attributes:
        versions: Installed packages.
        extension: Whether the PyTorch extension is loaded.
        log: What was installed, in order.
    """

    def __init__(self):
        self.versions = {}
        self.extension = False
        self.log = []
        self.constraints = ""
        self.torch_declined = False

    def install(self, requirements):
        """What pip does with lines such as "timm>=1.0.9"."""
        newest = {"timm": "1.0.20", "safetensors": "0.6.0", "onnxruntime": "1.20.0"}
        self.versions.update({line.split(">")[0]: newest[line.split(">")[0]] for line in requirements})


@pytest.fixture
def installation(slicer_host, module, monkeypatch):
    """An empty installation; the extension manager, PyTorchUtils and slicer.packaging change it."""
    import slicer
    from EfficientMedSAM2ModuleLib import installer, setup_state
    from PySide6 import QtCore

    fake = FakeInstallation()
    real_find_spec = setup_state.importlib.util.find_spec
    monkeypatch.setattr(setup_state, "installed_version", fake.versions.get)
    monkeypatch.setattr(installer, "installed_version", fake.versions.get)
    monkeypatch.setattr(
        setup_state.importlib.util,
        "find_spec",
        lambda name, *rest: fake.extension or None if name == "PyTorchUtils" else real_find_spec(name, *rest),
    )

    class ExtensionsManager(QtCore.QObject):
        interactive = QtCore.Property(bool, lambda self: True, lambda self, on: None)

        def updateExtensionsMetadataFromServer(self, force, wait):
            return True

        def installExtensionFromServer(self, name, restart):
            fake.log.append(f"extension {name}")
            assert restart is False
            return True

    slicer_host.native_app.extensions = ExtensionsManager()

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            assert askConfirmation
            assert torchVersionRequirement.startswith(">=")
            if fake.torch_declined:
                return None
            fake.log.append("torch")
            fake.versions.update({"torch": "2.9.0+cpu", "torchvision": "0.24.0"})
            return types.SimpleNamespace(__version__="2.9.0+cpu")

    torch_utils = types.ModuleType("PyTorchUtils")
    torch_utils.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", torch_utils)

    def pip_install(arguments):
        fake.constraints = Path(arguments[1]).read_text()
        fake.log += arguments[2:]
        fake.install(arguments[2:])

    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    monkeypatch.delitem(sys.modules, "slicer.packaging", raising=False)
    return fake


@pytest.fixture
def packaging(installation, monkeypatch):
    """slicer.packaging of Slicer 5.12 or later."""
    import slicer

    stub = types.ModuleType("slicer.packaging")
    stub.declined = ""

    def pip_ensure(requirements, constraints=None, requester=None):
        if stub.declined:
            raise RuntimeError(stub.declined)
        installation.constraints = Path(constraints).read_text()
        installation.log.append(f"pip_ensure for {requester}")
        installation.log += requirements
        installation.install(requirements)

    stub.pip_ensure = pip_ensure
    monkeypatch.setitem(sys.modules, "slicer.packaging", stub)
    monkeypatch.setattr(slicer, "packaging", stub, raising=False)
    return stub
