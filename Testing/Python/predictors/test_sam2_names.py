"""The tables of docs/DROPIN.md say of each public name of SAM2's predictors the truth about ours."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sam2_names import RECORD, inspect_sam2, parameters

from EfficientMedSAM2Lib.predictors import EfficientMedSAM2ImagePredictor, EfficientMedSAM2VolumePredictor

DOCUMENT = Path(__file__).parents[3] / "docs" / "DROPIN.md"
SECTIONS = {
    "SAM2ImagePredictor": "## SAM2ImagePredictor",
    "SAM2VideoPredictor": "## SAM2VideoPredictor",
    "state": "## The state",
}
RECORDED = json.loads(RECORD.read_text(encoding="utf-8"))


def table(section):
    """(here, note) of each name in the table of a section."""
    text = DOCUMENT.read_text(encoding="utf-8").split(SECTIONS[section], 1)[1].split("\n## ", 1)[0]
    rows = {}
    for line in re.findall(r"^\| `.*$", text, re.MULTILINE):
        names, here, note = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)`", names):
            assert name not in rows, f"{name} is there twice"
            rows[name] = here, note
    return rows


@pytest.fixture(scope="module")
def ours(model):
    images, video = EfficientMedSAM2ImagePredictor(model), EfficientMedSAM2VolumePredictor(model)
    images.set_image(np.zeros((20, 20)))
    return {"SAM2ImagePredictor": images, "SAM2VideoPredictor": video, "state": video.init_state(np.zeros((2, 9, 9)))}


@pytest.mark.parametrize("section", SECTIONS)
def test_each_name_is_in_the_table_once(section):
    assert set(table(section)) == set(RECORDED[section])


@pytest.mark.parametrize("section", SECTIONS)
def test_what_is_said_to_be_there_is_there(section, ours):
    thing = ours[section]
    for name, (here, note) in table(section).items():
        assert here in ("same", "differs", "missing"), name
        assert note or here == "same", f"say how {name} differs, or why it is missing"
        there = name in thing if section == "state" else hasattr(thing, name)
        assert there == (here != "missing"), name
        wanted = RECORDED[section][name]
        if wanted is not None and here == "same":
            assert parameters(getattr(type(thing), name))[: len(wanted)] == wanted, name
        elif wanted is not None and here == "differs" and name not in TORCH_S_OWN:
            assert set(wanted) <= set(parameters(getattr(type(thing), name))), f"{name} refuses SAM2's arguments"


#: Handed on to torch with all that they are given.
TORCH_S_OWN = ("named_parameters", "parameters", "state_dict", "load_state_dict", "to", "cuda", "cpu")


@pytest.mark.nightly
def test_the_record_is_what_sam2_is(tmp_path):
    """Slow: builds SAM2's smallest network. Where `sam2` is not installed, the record is all there is."""
    pytest.importorskip("sam2")
    assert inspect_sam2() == RECORDED
