"""Rules and numbers of predictors: they travel with the weights, and rules can be switched off by name."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from EfficientMedSAM2Lib.core.resources import shipped_weights
from EfficientMedSAM2Lib.models import EfficientMedSAM2, HeuristicsConfig, ModelConfig, load_model, save_model
from EfficientMedSAM2Lib.runtimes.onnx.onnx_file import GRAPHS, Description, read_description, write_exported

OTHER = dataclasses.replace(
    HeuristicsConfig(), roundness=False, zoom_box=1.7, rejection_clicks=2, orthogonal_prior_places=(0.5,)
)


def test_json_keeps_every_value():
    for heuristics in (HeuristicsConfig(), OTHER, HeuristicsConfig().without(["all"])):
        assert HeuristicsConfig.from_json(heuristics.to_json()) == heuristics


def test_what_is_missing_has_its_default_and_what_is_gone_is_left_out():
    assert HeuristicsConfig.from_json(None) == HeuristicsConfig()
    stored = json.dumps({"zoom_box": 3, "a_rule_of_an_earlier_version": True, "its_number": 4})
    assert HeuristicsConfig.from_json(stored) == dataclasses.replace(HeuristicsConfig(), zoom_box=3.0)


@pytest.mark.parametrize(
    "stored",
    [
        "[1]",
        "{",
        '{"zoom": 1}',
        '{"zoom_box": true}',
        '{"zoom_box": "2"}',
        '{"zoom_box": NaN}',
        '{"rejection_clicks": 2.5}',
        '{"keep_viewport_fill": [0.3]}',
        '{"keep_viewport_fill": 0.3}',
        '{"narrow_viewports_shares": []}',
        '{"narrow_viewports_shares": [0.5, null]}',
    ],
)
def test_values_of_the_wrong_kind_are_refused(stored):
    with pytest.raises(ValueError, match="euristics"):
        HeuristicsConfig.from_json(stored)


def test_rules_are_switched_off_by_name():
    rules = HeuristicsConfig.rules()
    assert {"roundness", "rejection", "orthogonal_prior", "presence_threshold", "neighbour_mask"} < set(rules)
    for rule in rules:
        off = HeuristicsConfig().without([rule])
        changed = [
            field.name
            for field in dataclasses.fields(off)
            if getattr(off, field.name) != getattr(HeuristicsConfig(), field.name)
        ]
        assert changed == [rule]
    assert not any(getattr(HeuristicsConfig().without(["all"]), rule) for rule in rules)
    assert HeuristicsConfig().without([]) == HeuristicsConfig()


def test_an_unknown_rule_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"'roundnes'; there are zoom, .*roundness.*, and all"):
        HeuristicsConfig().without(["zoom", "roundnes"])


def test_weights_bring_their_own(tmp_path: Path):
    model = EfficientMedSAM2(ModelConfig("mobilenet"))
    model.heuristics = OTHER
    save_model(model, tmp_path / "model.safetensors")
    assert load_model(tmp_path / "model.safetensors").heuristics == OTHER


def test_weights_without_numbers_have_the_defaults(tmp_path: Path):
    model = EfficientMedSAM2(ModelConfig("mobilenet"))
    model.heuristics = OTHER
    save_model(model, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        metadata = {name: text for name, text in weights.metadata().items() if name != "heuristics"}
    save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "before.safetensors", metadata)
    assert load_model(tmp_path / "before.safetensors").heuristics == HeuristicsConfig()


def test_the_shipped_mobilenet_brings_its_own_numbers_in_both_files():
    weights = shipped_weights("mobilenet")
    heuristics = load_model(weights).heuristics
    assert heuristics.neighbour_distance_radii == 3.0
    exported = weights.with_name(f"{weights.stem}_fp32.onnx.zip")
    assert read_description(exported).heuristics == heuristics


def test_exported_networks_bring_their_own(tmp_path: Path):
    path = tmp_path / "network.onnx.zip"
    description = Description(ModelConfig(), "fp32", "", 1, "", (0.0,), (0.0,), heuristics=OTHER)
    write_exported(path, description, dict.fromkeys(GRAPHS, b""))
    assert read_description(path) == description
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "heuristics.json"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert read_description(path).heuristics == HeuristicsConfig()
