"""A small scan whose voxel values say what they belong to, and prompts for it."""

from __future__ import annotations

import glob
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # worker processes import the engine from here

from cheap_engine import OraclePredictor

LIVER, SPLEEN = 100, 200
SPACING_MM = (1.0, 2.0, 5.0)  # i, j, k
ORIGIN_LPS = (-20.0, 30.0, -40.0)


@pytest.fixture
def oracle_session():
    from EfficientMedSAM2Lib import InteractiveSession

    return InteractiveSession(OraclePredictor())


@pytest.fixture
def scan(tmp_path):
    """A scan on disk with a liver on slices 2...7 and a spleen on slices 4...9, and where things are in LPS."""
    import SimpleITK as sitk

    array = np.zeros((12, 20, 24), dtype=np.int16)
    array[2:8, 4:12, 3:13] = LIVER
    array[4:10, 6:15, 15:22] = SPLEEN
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_LPS)
    path = tmp_path / "scan.nrrd"
    sitk.WriteImage(image, str(path))
    return SimpleNamespace(path=path, array=array, liver=array == LIVER, spleen=array == SPLEEN)


def lps_of(index_kji):
    """LPS position in mm of a voxel index of `scan`."""
    return [float(o + s * v) for o, s, v in zip(ORIGIN_LPS, SPACING_MM, index_kji[::-1])]


def write_markups(path, **markup):
    """A markups file with the keys that matter of those that 3D Slicer writes."""
    path.write_text(json.dumps({"markups": [{"coordinateSystem": "LPS", "coordinateUnits": "mm", **markup}]}))
    return path


@pytest.fixture
def write_points(tmp_path):
    def write(name, *indices_kji, labels=()):
        labels = [*labels, *["F"] * len(indices_kji)]
        return write_markups(
            tmp_path / name,
            type="Fiducial",
            controlPoints=[
                {"label": label, "description": "", "position": lps_of(index), "positionStatus": "defined"}
                for label, index in zip(labels, indices_kji)
            ],
        )

    return write


@pytest.fixture
def write_roi(tmp_path):
    def write(name, first_kji, last_kji, size=None):
        """An ROI around the voxels first ... last, both included."""
        center = (np.array(lps_of(first_kji)) + np.array(lps_of(last_kji))) / 2
        extent = (np.array(last_kji) - np.array(first_kji))[::-1] * SPACING_MM + 0.8 * np.array(SPACING_MM)
        return write_markups(
            tmp_path / name,
            type="ROI",
            roiType="Box",
            center=center.tolist(),
            orientation=[-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0],
            size=extent.tolist() if size is None else size,
            insideOut=False,
            controlPoints=[{"label": "R-1", "position": center.tolist(), "positionStatus": "defined"}],
        )

    return write


CHEAP, SLOW = "cheap_engine:build_session", "cheap_engine:build_slow_session"


def write_volume(path, array, spacing=SPACING_MM):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(ORIGIN_LPS)
    sitk.WriteImage(image, str(path))
    return path


def block_volume(number):
    """A block of another place and value in each volume, voxel (2, 3, 3) always in it."""
    array = np.full((6, 12, 14), number % 7, dtype=np.int16)
    array[1:5, 2 : 6 + number % 5, 2 : 6 + number % 6] = 100 + number
    return array


@pytest.fixture
def cohort(tmp_path):
    """Write scans with manifest lines; `manifest` is their CSV."""

    class Cohort:
        folder, output = tmp_path / "scans", tmp_path / "output"
        lines: list[str] = []  # noqa: RUF012

        def add(self, name, array=None, points="3,3,2", segment="block"):
            path = self.folder / f"{name}.nrrd"
            write_volume(path, block_volume(len(self.lines)) if array is None else array)
            self.lines.append(f'{name},{path.name},{segment},"{points}"')
            return path

        @property
        def manifest(self):
            path = self.folder / "manifest.csv"
            path.write_text("case,image,segment,points_ijk\n" + "\n".join(self.lines) + "\n")
            return path

        def read(self):
            from EfficientMedSAM2Lib.cohort.manifest.read import read_cohort_manifest

            return read_cohort_manifest(self.manifest)

        def run(self, engine=CHEAP, cluster=None, settings=None, **options):
            from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
            from EfficientMedSAM2Lib.cohort.run.cluster import ClusterOptions
            from EfficientMedSAM2Lib.cohort.run.cohort import run_cohort

            cluster = cluster or ClusterOptions(in_process=True)
            return run_cohort(self.read(), self.output, settings or RunSettings(engine=engine), cluster, **options)

        def files(self):
            """Contents of all segmentations of finished cases, also while a run renames its hidden folders."""
            found = map(Path, glob.glob(str(self.output / "cases/*/*.seg.nrrd")))
            return {path.parent.name: path.read_bytes() for path in found}

    Cohort.folder.mkdir()
    Cohort.lines = []
    return Cohort()
