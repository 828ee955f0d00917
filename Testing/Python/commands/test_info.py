"""`efficient-medsam2 info`."""

from __future__ import annotations

import json

from EfficientMedSAM2Lib import __version__
from EfficientMedSAM2Lib.cli import main


def test_json_says_what_is_used(weights, capsys):
    assert main(["info", "--weights", str(weights), "--device", "cpu", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["computation"]["device"] == "cpu"
    assert info["computation"]["precision"] in ("float32", "bfloat16")
    assert info["weights"]["encoder"] == "mobilenet"
    assert info["weights"]["licence"] == "Apache-2.0"
    assert info["weights"]["file"] == str(weights)
    assert info["versions"]["efficient-medsam2"] == __version__
    parts = {name: count for name, count in info["parameters"].items() if name != "total"}
    assert 0 < sum(parts.values()) <= info["parameters"]["total"] <= 3_900_000


def test_text_has_every_fact(weights, capsys):
    assert main(["info", "--weights", str(weights), "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    for word in ("device", "precision", "licence", "Apache-2.0", "total", "torch", str(weights)):
        assert word in text


def test_wrong_weights_are_one_line(tmp_path, capsys):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"nonsense")
    assert main(["info", "--weights", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
