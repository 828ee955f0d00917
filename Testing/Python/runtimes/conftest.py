"""Networks exported once for all tests, in a folder of their own instead of the user's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from EfficientMedSAM2Lib.runtimes.exported import CACHE_VARIABLE

pytest.importorskip("onnx", reason="an export needs onnx")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """The folder in which exported networks are kept."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def exported(cache):
    """The shipped EfficientNet weights, exported in float32 now."""
    from EfficientMedSAM2Lib.runtimes.build import export

    path = cache / "efficientnet.onnx.zip"
    export("efficientnet", None, "fp32", path)
    return path


@pytest.fixture(scope="session")
def chest():
    """CT and labels (D,H,W) of the sample that comes with slicerio."""
    import SimpleITK
    import slicerio

    folder = Path(slicerio.__file__).parent / "data"
    names = ("CTChest4.nrrd", "Segmentation.seg.nrrd")
    return [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / name))) for name in names]
