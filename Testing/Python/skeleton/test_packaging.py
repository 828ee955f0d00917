"""The package as it is installed: what a wheel contains, what an import costs, which Python may read the sources."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
ENGINE = REPOSITORY / "EfficientMedSAM2Lib"
SOURCES = sorted(
    path
    for folder in (ENGINE, REPOSITORY / "EfficientMedSAM2", REPOSITORY / "efficient_medsam2")
    if folder.exists()
    for path in folder.rglob("*.py")
)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_source_is_python_3_9(path):
    ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 9))


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, EfficientMedSAM2Lib, EfficientMedSAM2Lib.core.resources, efficient_medsam2;"
        "print(sorted({'torch', 'timm', 'SimpleITK', 'slicerio', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    assert run_python(tmp_path, "-c", code).strip() == "[]"


def test_an_unknown_name_is_an_attribute_error():
    import EfficientMedSAM2Lib

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = EfficientMedSAM2Lib.nonsense


def test_public_names_come_from_their_rooms():
    import EfficientMedSAM2Lib

    for name in EfficientMedSAM2Lib.__all__:
        assert getattr(EfficientMedSAM2Lib, name) is not None
        assert name in dir(EfficientMedSAM2Lib)


def test_first_published_names_are_the_same_objects():
    import EfficientMedSAM2Lib
    from efficient_medsam2.build_efficient_medsam2 import build_efficient_medsam2_model
    from efficient_medsam2.efficient_medsam2_image_predictor import EfficientMedSAM2ImagePredictor

    assert build_efficient_medsam2_model is EfficientMedSAM2Lib.build_efficient_medsam2_model
    assert EfficientMedSAM2ImagePredictor is EfficientMedSAM2Lib.EfficientMedSAM2ImagePredictor
    from efficient_medsam2 import EfficientMedSAM2VolumePredictor

    assert EfficientMedSAM2VolumePredictor is EfficientMedSAM2Lib.EfficientMedSAM2VolumePredictor


def test_every_room_is_in_the_wheel():
    """`pyproject.toml` lists the packages one by one, so a new room is easily forgotten."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'^    "([\w.]+)",$', text.split("\npackages = [", 1)[1].split("]", 1)[0], re.MULTILINE))
    rooms = {
        path.parent.relative_to(REPOSITORY)
        for folder in (ENGINE, REPOSITORY / "efficient_medsam2")
        for path in folder.rglob("__init__.py")
    }
    assert listed == {".".join(room.parts) for room in rooms} | {"EfficientMedSAM2Lib.Resources"}


def test_the_version_is_everywhere_the_same():
    from EfficientMedSAM2Lib import __version__

    assert f"version: {__version__}\n" in (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")


def test_dependencies_are_pinned_in_the_lock_file():
    """`make` installs with the lock as constraints: a dependency without a line there would float."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8").split("[project.scripts]")[0]
    wanted = {name.lower() for name in re.findall(r'"([A-Za-z][\w-]*)(?:\[\w+\])?>=', project)}
    lock = (REPOSITORY / ".ci" / "requirements.lock").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert wanted <= pinned


def test_slicer_is_asked_for_the_same_versions():
    """pyproject.toml is what counts; the three places where 3D Slicer reads what it needs repeat parts of it."""
    from EfficientMedSAM2Lib.runtimes.choice import ONNX_PACKAGES, TORCH_PACKAGES

    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = set(re.findall(r'"(.+?)"', project.split("\ndependencies = [", 1)[1].split("\n]", 1)[0]))
    lines = (REPOSITORY / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = {line for line in lines if line and not line.startswith("#")}
    state = (REPOSITORY / "EfficientMedSAM2" / "EfficientMedSAM2ModuleLib" / "setup_state.py").read_text(
        encoding="utf-8"
    )
    torch = "torch" + re.search(r'^TORCH_REQUIREMENT = "(.+)"$', state, re.MULTILINE)[1]
    onnx = re.search(r'^ONNX_REQUIREMENT = "(.+)"$', state, re.MULTILINE)[1]
    assert packages | {onnx, torch} <= dependencies
    assert set(TORCH_PACKAGES) == {re.match(r"\w+", line)[0] for line in packages | {torch}}
    assert (re.match(r"\w+", onnx)[0],) == ONNX_PACKAGES


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        ({"torch": "2.13.0+cpu"}, "torchvision>=0.28.0,<=0.28.0"),
        ({"torch": "2.5.1"}, "torchvision>=0.20.0,<=0.20.1"),
        ({"torch": "2.13.0+cpu", "torchvision": "0.28.0"}, None),
        ({"numpy": "2.0.0"}, None),
        ({"torch": "3.0.0"}, None),
    ],
)
def test_an_installed_pytorch_stays(versions, wanted, tmp_path, monkeypatch):
    """`pip install -e .` asks for the torchvision that belongs to it, where otherwise pip would replace it."""
    from setuptools.dist import Distribution

    for name, version in versions.items():
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    command = runpy.run_path(str(REPOSITORY / "setup.py"))["EggInfo"](Distribution({"name": "x", "version": "1"}))
    for _ in range(2):
        command.finalize_options()
    assert command.distribution.install_requires == ([wanted] if wanted else [])


@pytest.mark.slow
@pytest.mark.skipif(Path(sys.prefix).resolve() != (REPOSITORY / ".venv").resolve(), reason="not make's environment")
def test_torchvision_can_be_imported_in_the_environment_of_make(tmp_path):
    code = "import torch, torchvision.transforms as t; print(t.Resize(4)(torch.zeros(1, 8, 8)).shape[-1])"
    assert run_python(tmp_path, "-c", code).strip() == "4"


@pytest.mark.nightly
def test_an_installed_wheel_finds_its_resources(tmp_path):
    """Slow: builds a wheel and installs it, without dependencies, into a folder of its own."""
    source, wheels, site = tmp_path / "source", tmp_path / "wheels", tmp_path / "site"
    for folder in ("EfficientMedSAM2Lib", "efficient_medsam2", "Resources"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    run_python(tmp_path, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, source)
    run_python(tmp_path, "-m", "pip", "install", "-q", "--no-deps", "--target", site, next(wheels.glob("*.whl")))

    code = (
        f"import sys; sys.path.insert(0, {str(site)!r});"
        "import EfficientMedSAM2Lib.core.resources as r, efficient_medsam2;"
        "print(efficient_medsam2.__file__, r.resources_folder(), sep='\\n');"
        "print(sorted(path.name for path in r.resource_path('Models').iterdir()))"
    )
    alias, folder, models = run_python(tmp_path, "-S", "-c", code).splitlines()
    assert alias == str(site / "efficient_medsam2" / "__init__.py")
    assert folder == str(site / "EfficientMedSAM2Lib" / "Resources")
    assert (site / "EfficientMedSAM2Lib" / "py.typed").is_file()
    for name in ("web_interface.py", "image_prompt/index.html", ".streamlit/config.toml"):
        assert (site / "efficient_medsam2" / "examples" / name).is_file()
    assert models == str(sorted(path.name for path in (REPOSITORY / "Resources" / "Models").iterdir()))


def run_python(folder: Path, *arguments: object) -> str:
    """Run this Python with arguments in a folder; its output, or a failure that shows what it said."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
