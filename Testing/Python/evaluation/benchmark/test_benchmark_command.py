"""The command from its arguments to its files, with real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.evaluation.benchmark.jobs import BenchmarkJob
from EfficientMedSAM2Lib.evaluation.benchmark.results.markdown import BEGIN, END
from EfficientMedSAM2Lib.evaluation.benchmark.run import Plan, jobs, run_jobs

SMALL = ("--slices", "3", "--original-slices", "3", "--repeats", "1", "--size", "64", "--quiet")


@pytest.mark.slow
def test_a_small_run_writes_numbers_tables_plots_and_overlays(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    output, document = tmp_path / "out", tmp_path / "PERFORMANCE.md"
    document.write_text(f"# Title\n{BEGIN}\n{END}\n", encoding="utf-8")
    files = ("--save-visualizations", "--output", str(output), "--document", str(document))
    code = main(["benchmark", "--model", "mobilenet", *SMALL, "--objects", "0", *files])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "bare encoder, ms a slice" in printed.out
    names = {"benchmark.json", "benchmark.md", "benchmark-bars.png", "benchmark-slices.png", "benchmark-overlays.png"}
    assert {path.name for path in output.iterdir()} == names
    content = json.loads((output / "benchmark.json").read_text(encoding="utf-8"))
    measures = content["summary"]["mobilenet"]["measures"]
    for name in ("parameters_m", "import_s", "load_s", "encoder_ms", "click_new_ms", "box_known_ms", "slice_ms"):
        assert measures[name]["median"] > 0
    assert measures["first_mask_s"]["median"] > measures["import_s"]["median"]
    if sys.platform == "linux":
        assert 20 < measures["above_mb"]["3"]["median"] < measures["peak_mb"]["3"]["median"] < 2000
    assert measures["propagated_dice"]["median"] > 0.5
    text = document.read_text(encoding="utf-8")
    assert text.startswith("# Title\n")
    assert "slices per second, 3 slices" in text
    assert (tmp_path / "benchmark-bars.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--repeats", "0"), "--repeats is 0"),
        (("--slices", "1"), "two slices"),
        (("--threads", "0"), "--threads is 0"),
        (("--processor-time",), "--threads 1"),
        (("--original_model", "missing.pt"), "missing.pt does not exist"),
        (("--efficient_model", "missing.safetensors"), "missing.safetensors does not exist"),
        (("--data_dir", "missing"), "missing does not exist"),
        (("--document", "missing.md"), "no block to replace"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "--model", "mobilenet", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_labels_says_what_to_do(tmp_path, capsys, sample_folder):
    (sample_folder / "chest1_label.nrrd").unlink()
    assert main(["benchmark", "--model", "mobilenet", "--data_dir", str(sample_folder)]) == 2
    assert "_label" in capsys.readouterr().err


def test_with_nothing_to_measure_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("EfficientMedSAM2Lib.evaluation.benchmark.networks.find_spec", lambda name: None)
    assert main(["benchmark", "--model", "medsam2", "--output", str(tmp_path / "out")]) == 2
    assert "pip install" in capsys.readouterr().err


def test_rounds_are_interleaved_and_the_originals_run_once_a_round(tmp_path):
    plan = Plan(["efficientnet", "medsam2"], slices=(50, 800), original_slices=20, repeats=2, random=["medsam2"])
    found = [(job.repeat, job.slices, job.network, job.details) for job in jobs(plan, tmp_path) if not job.accuracy]
    one = [(20, "efficientnet", True), (20, "medsam2", True), (50, "efficientnet", False), (800, "efficientnet", False)]
    assert found == [(repeat, *rest) for repeat in (0, 1) for rest in one]
    measured = [job.network for job in jobs(plan, tmp_path) if job.accuracy]
    assert measured == ["efficientnet"]  # random weights have no accuracy
    assert [job.network for job in jobs(plan, tmp_path) if job.masks] == ["efficientnet"]


@pytest.mark.slow
def test_a_file_that_is_no_checkpoint_is_bad_input(tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable"):
        list(run_jobs([BenchmarkJob("mobilenet", str(Path(tmp_path)), 3, weights=str(weights))], threads=1))
