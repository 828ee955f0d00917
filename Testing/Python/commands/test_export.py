"""`efficient-medsam2 export` and `precisions`: what they write, and how they refuse."""

from __future__ import annotations

import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.commands.precisions import COLUMNS, markdown

pytest.importorskip("onnx", reason="an export needs onnx")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime")


@pytest.mark.slow
def test_export_writes_a_network_that_segment_and_info_take(weights, scan, point, tmp_path, capsys):
    assert main(["export", "--weights", str(weights), "--output", str(tmp_path)]) == 0
    exported = tmp_path / "efficient_medsam2_mobilenet_fp32.onnx.zip"
    assert str(exported) in capsys.readouterr().out
    output = tmp_path / "ball.seg.nrrd"
    common = ["segment", str(scan), "--prompts", str(point), "--output", str(output), "--quiet"]
    assert main([*common, "--weights", str(exported)]) == 0
    assert output.exists()
    assert main(["info", "--weights", str(exported)]) == 0
    assert "mobilenet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "network.onnx"], "must end in .onnx.zip"),
        (["--output", "no/such/folder/network.onnx.zip"], "choose another folder"),
        (["--weights", "missing.safetensors"], "does not exist"),
        (["--encoder", "vit"], "choose one of"),
    ],
)
def test_export_refuses_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_table_of_precisions():
    row = dict.fromkeys(COLUMNS, 1.0)
    head, rule, line = markdown({"torch fp32": row}).splitlines()
    assert head.count("|") == rule.count("|") == line.count("|") == len(COLUMNS) + 2
    assert markdown({"a": {**row, "box Dice": 0.9}}).endswith("| 0.9000 |")
    assert main(["precisions", "--rounds", "0"]) == 2
