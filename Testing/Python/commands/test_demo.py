"""The demo: its prompts fit its reference, and what it prints and writes."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from EfficientMedSAM2Lib.commands import demo
from EfficientMedSAM2Lib.core.resources import resource_path
from EfficientMedSAM2Lib.imaging.sample import sample_scan, sample_segmentation
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

#: What README says that the shipped weights reach; better ones may raise it.
SHIPPED_DICE = {"left lung": 0.927, "lumbar vertebral column": 0.796, "right lung": 0.941}
PROMPTS = sorted(resource_path("Demo").glob("*.mrk.json"))


def test_there_are_two_lungs_and_another_structure():
    names = [path.name for path in PROMPTS]
    assert len(names) >= 3
    assert {"left lung.mrk.json", "right lung.mrk.json"} <= set(names)


@pytest.mark.parametrize("path", PROMPTS, ids=lambda path: path.name)
def test_prompts_are_files_of_slicer_named_after_the_reference(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert "markups-schema" in content["@schema"]
    assert all("display" in markup for markup in content["markups"])
    reference = read_segmentation(sample_segmentation(), read_volume(sample_scan()))
    assert demo.reference_mask(reference, path.name[: -len(".mrk.json")]).sum() > 1000


def test_an_unknown_structure_is_refused():
    with pytest.raises(ValueError, match=r"no structure 'liver'.*spleen"):
        demo.reference_mask([Segment("spleen", np.ones((1, 1, 1), dtype=bool))], "liver")


def test_the_demo_prints_its_numbers_and_writes_its_files(tmp_path, capsys):
    from EfficientMedSAM2Lib.cli import main

    assert main(["demo", "--output", str(tmp_path / "a" / "b")]) == 0
    out = capsys.readouterr().out
    scores = dict(re.findall(r"^Dice (.+) (\d\.\d{3})$", out, re.MULTILINE))
    assert set(scores) == {path.name[: -len(".mrk.json")] for path in PROMPTS}
    for name, dice in SHIPPED_DICE.items():
        assert float(scores[name]) > dice - 0.01, f"{name}: the masks of the demo have become worse"
    speed = re.search(r"^Speed (\d[\d.]*) slices per second$", out, re.MULTILINE)
    assert float(speed.group(1)) > 0
    assert re.search(r"^Peak memory \d+ MB", out, re.MULTILINE)
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["CTChest.png", "CTChest.seg.nrrd"]
