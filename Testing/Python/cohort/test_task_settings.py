"""With a task a manifest needs no prompts, and a run depends on what is in the task's file, not on where it lies."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from EfficientMedSAM2Lib.cohort.manifest.read import ManifestError, read_cohort_manifest
from EfficientMedSAM2Lib.cohort.records.settings import RunSettings
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.core.files import sha256_of
from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.runtimes.tasks import Task, write_task


@pytest.fixture
def task_file(tmp_path):
    weights = shipped_weights("mobilenet")
    additions = {"mask_decoder.norm4.bias": np.ones(48, np.float16)}
    write_task(tmp_path / "spleen.task", Task("spleen", "mobilenet", sha256_of(weights), 4, additions=additions))
    return tmp_path / "spleen.task"


def test_a_line_without_a_prompt_needs_a_task(tmp_path):
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    manifest = tmp_path / "cases.csv"
    manifest.write_text("image\nscan.nii.gz\n")
    with pytest.raises(ManifestError, match="has no prompt"):
        read_cohort_manifest(manifest)
    (case,) = read_cohort_manifest(manifest, "spleen")
    assert [segment.name for segment in case.segments] == ["spleen"]
    assert not case.segments[0].is_prompted


def test_a_run_takes_the_encoder_of_the_task_and_depends_on_its_content(task_file, tmp_path):
    settings = RunSettings(task=str(task_file), runtime="onnx").resolved()
    assert settings.encoder == "mobilenet"
    assert json.loads(settings.identity)["task_sha256"] == sha256_of(task_file)
    elsewhere = tmp_path / "elsewhere.task"
    shutil.copy(task_file, elsewhere)
    assert RunSettings(task=str(elsewhere), runtime="onnx").resolved().identity == settings.identity


def test_runs_without_a_task_keep_their_keys():
    assert "task_sha256" not in json.loads(RunSettings(runtime="onnx").resolved().identity)


def test_a_task_of_other_weights_is_refused_before_the_run(task_file):
    with pytest.raises(UserError, match="was learnt on other weights"):
        RunSettings(encoder="efficientnet", task=str(task_file)).resolved()
