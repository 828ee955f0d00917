"""Every kind of prompt on the command line: `efficient-medsam2 segment` with markups files, or a mask to start from."""

from __future__ import annotations

import pytest
from prompt_kinds import (
    check_slice,
    check_taken_away,
    check_volume,
    every_excluding_kind,
    every_kind,
    given_mask,
    write_markup,
    write_scan,
)

from EfficientMedSAM2Lib.cli import main


@pytest.fixture
def segment(tmp_path, capsys):
    """``segment("none", ...)``: the mask of the only segment, propagated so far."""
    import SimpleITK as sitk

    volume = write_scan(tmp_path)

    def run(propagate, *words):
        output = tmp_path / f"{propagate}.nii.gz"
        options = ["--modality", "CT", "--propagate", propagate, "--output", output, "--quiet"]
        assert main([str(word) for word in ("segment", volume, *words, *options)]) == 0, capsys.readouterr().err
        return sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0

    return run


@pytest.mark.slow
@every_kind
def test_a_prompt_finds_the_ball(segment, kind, tmp_path):
    if kind == "mask":
        words = ("--mask", write_scan(tmp_path, given_mask().astype("uint8"), "earlier"))
    else:
        words = ("--prompts", write_markup(tmp_path, kind))
    check_slice(segment("none", *words))
    check_volume(segment("both", *words))


@every_excluding_kind
def test_a_prompt_takes_away(segment, kind, tmp_path):
    found, excluded = write_markup(tmp_path, "box"), write_markup(tmp_path, kind, include=False)
    check_taken_away(segment("none", "--prompts", found, "--prompts", excluded, "--name", "ball"), kind)
