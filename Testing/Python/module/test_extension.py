"""The extension as built and installed: every file is listed, the metadata are complete, what is installed runs."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "EfficientMedSAM2"
ROOT_CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")

#: A Slicer for CMake: its macros copy what they are given, and note the tests.
SLICER_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/end.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/end.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
"""
USE = """
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(MY "NO_INSTALL_SUBDIR" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR"
    "SCRIPTS;RESOURCES" ${ARGN})
  if(NOT MY_SOURCE_DIR)
    set(MY_SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
  endif()
  foreach(file IN LISTS MY_SCRIPTS MY_RESOURCES)
    configure_file("${MY_SOURCE_DIR}/${file}" "${MY_DESTINATION_DIR}/${file}" COPYONLY)
  endforeach()
endfunction()
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  ctkMacroCompilePythonScript(TARGET_NAME ${MY_NAME} SCRIPTS ${MY_SCRIPTS} RESOURCES ${MY_RESOURCES}
    DESTINATION_DIR ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
endfunction()
function(slicer_add_python_test)
  cmake_parse_arguments(MY "" "SCRIPT" "" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "no test script ${MY_SCRIPT}")
  endif()
  message(STATUS "test ${MY_SCRIPT}")
endfunction()
function(slicer_add_python_unittest)
  slicer_add_python_test(${ARGN})
endfunction()
"""


def setting(name):
    """Value of ``set(name "value")`` in the root CMakeLists.txt."""
    return re.search(rf'set\({name} "([^"]+)"\)', ROOT_CMAKE).group(1)


def listed_files():
    """Source and place of each file that Files.cmake lists, relative to the folder of scripted modules."""
    text = (MODULE / "Files.cmake").read_text(encoding="utf-8")
    for name, files in re.findall(r"^set\((\w+)\n(.*?)^  \)$", text, re.MULTILINE | re.DOTALL):
        folder = MODULE if name.startswith("MODULE") else REPOSITORY
        for line in files.splitlines():
            place = line.strip().strip('"')
            yield folder / place, place


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder of scripted modules as an installation has it."""
    folder = tmp_path_factory.mktemp("installed") / "qt-scripted-modules"
    for source, place in listed_files():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / place)
    return folder


def test_the_installed_extension_computes_on_onnx_runtime(installed):
    """Without the exported networks it would compute in PyTorch, at half the speed."""
    program = (
        "from EfficientMedSAM2Lib.runtimes import build_efficient_medsam2_model\n"
        "for encoder in ('efficientnet', 'mobilenet'):\n"
        "    model = build_efficient_medsam2_model(encoder, device='cpu', runtime='auto')\n"
        "    print(model.runtime, model.path)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"ONNX Runtime {installed}") == 2, done.stdout


def test_what_is_installed_imports_nothing_that_is_not(installed):
    """Inside functions, too: such an import would fail only when a user gets there."""
    missing = set()
    for path in installed.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        guarded = {id(node) for guard in ast.walk(tree) if _is_type_checking(guard) for node in ast.walk(guard)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and id(node) not in guarded and not node.level:
                parts = Path(*node.module.split("."))
                ours = parts.parts[0] in ("EfficientMedSAM2Lib", "EfficientMedSAM2ModuleLib")
                if ours and not ((installed / parts).is_dir() or (installed / parts).with_suffix(".py").is_file()):
                    missing.add(f"{path.relative_to(installed)}: {node.module}")
    assert not missing


def _is_type_checking(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.slow
def test_servers_are_not_installed_and_learning_is(installed):
    rooms = {path.name for path in (installed / "EfficientMedSAM2Lib").iterdir()}
    assert "web" not in rooms
    command = [sys.executable, "-m", "EfficientMedSAM2Lib.cli", "learn", "none", "--segment=x", "--output=x.task"]
    done = subprocess.run(command, cwd=installed, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("efficient-medsam2: There is no none; give a folder of scans with masks")
    assert {"LICENSE", "NOTICE"} <= {path.name for path in (installed / "Resources" / "Models").iterdir()}


def test_every_file_is_listed():
    """A file that is missing from the list works from source, and not for those who install the extension."""
    wanted = runpy.run_path(str(REPOSITORY / ".ci" / "list-files"))["text"]()
    assert (MODULE / "Files.cmake").read_text(encoding="utf-8") == wanted, "run .ci/list-files"


def test_only_the_module_lies_beside_the_module():
    """Slicer takes every .py file of this folder for a module."""
    assert [path.name for path in MODULE.glob("*.py")] == ["EfficientMedSAM2.py"]


def test_the_metadata_that_reviewers_check_are_there():
    assert re.search(r"project\((\w+)\)", ROOT_CMAKE).group(1) == "EfficientMedSAM2"
    assert setting("EXTENSION_DEPENDS") == "PyTorch"
    assert setting("EXTENSION_CONTRIBUTORS")
    assert setting("EXTENSION_DESCRIPTION")
    home = setting("EXTENSION_HOMEPAGE")
    assert re.fullmatch(r"https://\S+/SlicerEfficientMedSAM2", home)  # the catalogue wants this name
    raw = f"{home}/raw/main/"  # an address of the picture, not of a page about it
    for address in [setting("EXTENSION_ICONURL"), *setting("EXTENSION_SCREENSHOTURLS").split()]:
        assert address.startswith(raw)
        assert (REPOSITORY / address[len(raw) :]).is_file()
    assert "## NEXT_MODULE" in ROOT_CMAKE


def test_the_catalogue_entry_fits_the_extension():
    entry = json.loads((MODULE / "EfficientMedSAM2.json").read_text(encoding="utf-8"))
    assert set(entry) == {
        "$schema",
        "build_dependencies",
        "build_subdirectory",
        "category",
        "scm_revision",
        "scm_url",
        "tier",
    }
    assert entry["build_dependencies"] == [setting("EXTENSION_DEPENDS")]
    assert entry["category"] == setting("EXTENSION_CATEGORY") == "Segmentation"
    assert entry["scm_url"] == setting("EXTENSION_HOMEPAGE") + ".git"
    assert Path(entry["scm_url"]).stem == "SlicerEfficientMedSAM2"
    assert entry["tier"] in range(1, 6)


def test_icons_have_the_size_that_slicer_shows(slicer_host):
    import qt

    sizes = {
        REPOSITORY / "Resources" / "Icons" / "EfficientMedSAM2.png": (128, 128),
        REPOSITORY / "Resources" / "Icons" / "CTChest.png": (260, 280),
        MODULE / "SegmentEditorEfficientMedSAM2Lib" / "SegmentEditorEffect.png": (64, 64),
    }
    for path, size in sizes.items():
        image = qt.QImage(str(path))
        assert (image.width(), image.height()) == size


def test_the_installed_module_loads_and_registers_the_effect(installed):
    """In a process of its own that cannot see the source."""
    code = f"""
import sys, types
source = {str(REPOSITORY)!r}
sys.path[:] = [p for p in sys.path if p.startswith(sys.prefix) or (p and not p.startswith(source))]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path.append({str(REPOSITORY / "Testing" / "Python")!r})
sample_data = types.ModuleType("SampleData")
sample_data.SampleDataLogic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **source: None)
sys.modules["SampleData"] = sample_data
from host.slicer_host import SlicerHost
with SlicerHost() as host:
    module = host.load_module({str(installed / "EfficientMedSAM2.py")!r})
    host.finish_startup()
    import slicer, EfficientMedSAM2Lib, SegmentEditorEfficientMedSAM2Lib
    module.widgetRepresentation()
    print(EfficientMedSAM2Lib.__file__)
    print(SegmentEditorEfficientMedSAM2Lib.__file__)
    print([effect.name for effect in slicer.qSlicerSegmentEditorEffectFactory.instance().registeredEffects()])
    print(len(host.errors), module.icon.isNull())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=installed)
    assert done.returncode == 0, done.stderr
    engine, effect, names, facts = done.stdout.strip().splitlines()[-4:]
    assert engine == str(installed / "EfficientMedSAM2Lib" / "__init__.py")
    assert effect == str(installed / "SegmentEditorEfficientMedSAM2Lib" / "__init__.py")
    assert names == "['EfficientMedSAM2']", done.stderr
    assert facts == "0 False"


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
def test_cmake_installs_the_same_files(tmp_path, installed):
    """The CMake files are run with macros that copy."""
    config, build = tmp_path / "slicer", tmp_path / "build"
    config.mkdir()
    (config / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (config / "use.cmake").write_text(USE)
    (config / "end.cmake").write_text("")
    command = ["cmake", "-S", REPOSITORY, "-B", build, f"-DSlicer_DIR={config}", "-DBUILD_TESTING=ON"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = build / "lib" / "qt-scripted-modules"
    assert files_below(got) == files_below(installed)
    scripts = {path.name for path in (REPOSITORY / "Testing" / "Slicer").glob("test_*.py")}
    assert set(re.findall(r"-- test (\S+)", done.stdout)) == scripts | {"EfficientMedSAM2.py"}


def files_below(folder):
    """Relative paths of all files."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
