"""`segment --mask`: an earlier segmentation as a start, of any grid and any program."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import Volume, read_volume

sys.path.insert(0, str(Path(__file__).parents[1]))
from imaging.contour_files import outlines, write_rtstruct


@pytest.fixture
def segment(scan, weights, tmp_path, capsys):
    """Run the command; its exit code, what it said on both streams, and the mask of the only segment written."""

    def run(*extra):
        output = tmp_path / "out.seg.nrrd"
        code = main(
            ["segment", str(scan), "--output", str(output), "--weights", str(weights), *map(str, extra)],
        )
        said = capsys.readouterr()
        return code, said.out, said.err, read_segmentation(output) if code == 0 else None

    return run


@pytest.fixture
def volume(scan):
    return read_volume(scan)


@pytest.fixture
def masks(volume):
    """A block and a corner on the scan's grid."""
    block, corner = np.zeros((2, *volume.shape_kji), dtype=bool)
    block[3:6, 10:20, 12:22], corner[:2, :4, :4] = True, True
    return block, corner


@pytest.fixture
def both(masks, volume, tmp_path):
    path = tmp_path / "both.seg.nrrd"
    write_segmentation(path, [Segment("block", masks[0]), Segment("corner", masks[1])], volume)
    return path


def test_a_mask_alone_is_kept_and_named_as_in_its_file(segment, both, masks):
    code, out, err, found = segment("--mask", both, "--mask-segment", "corner", "--propagate", "none")
    assert (code, err) == (0, "")
    assert out.startswith("corner: ")
    assert [found[0].name, len(found)] == ["corner", 1]
    assert np.array_equal(found[0].mask, masks[1])
    _, _, _, found = segment("--mask", both, "--mask-segment", "corner", "--name", "tip")
    assert found[0].name == "tip"
    assert np.array_equal(found[0].mask[:2], masks[1][:2]), "propagation does not change it"


@pytest.mark.parametrize("ending", ["nii.gz", "mha", "nrrd"])
def test_a_label_map_has_values_for_names(segment, masks, volume, tmp_path, ending):
    path = tmp_path / f"labels.{ending}"
    write_segmentation(path, [Segment("block", masks[0]), Segment("corner", masks[1])], volume)
    _, _, err, found = segment("--mask", path, "--mask-segment", "2", "--name", "corner", "--propagate", "none")
    assert err == ""
    assert np.array_equal(found[0].mask, masks[1])


def test_prompts_take_the_segment_of_their_name_and_refine_it(segment, both, masks, point):
    """The point is in the block, and random weights answer anything; the slices that it is far from stay."""
    code, _, _, found = segment("--mask", both, "--prompts", point, "--name", "block", "--propagate", "none")
    assert code == 0
    assert found[0].name == "block"
    assert np.array_equal(found[0].mask[[3, 5]], masks[0][[3, 5]])
    assert found[0].mask[4, 16, 16]
    code, _, err, found = segment(
        *("--mask", both, "--prompts", point, "--name", "block", "--prompts", point, "--name", "new"),
        *("--propagate", "none"),
    )
    assert (code, err) == (0, "")
    assert [entry.name for entry in found] == ["block", "new"]
    assert np.array_equal(found[0].mask[3], masks[0][3])
    assert not found[1].mask[3].any(), "a segment that the file does not have starts from its prompts"


def test_a_cropped_mask_is_where_it_was_and_another_grid_is_said(segment, volume, masks, tmp_path, caplog):
    cropped = Volume(np.zeros((4, 14, 15), np.int16), volume.ijk_to_ras @ shift(10, 8, 2))
    path = tmp_path / "crop.seg.nrrd"
    write_segmentation(path, [Segment("block", masks[0][2:6, 8:22, 10:25])], cropped)
    _, _, err, found = segment("--mask", path, "--propagate", "none")
    assert err == ""
    assert np.array_equal(found[0].mask, masks[0])

    fine = Volume(
        np.zeros((8, 64, 64), np.int16), volume.ijk_to_ras @ shift(-0.25, -0.25, 0) @ np.diag([0.5, 0.5, 1, 1])
    )
    path = tmp_path / "fine.nii.gz"
    write_segmentation(path, [Segment("block", masks[0].repeat(2, axis=1).repeat(2, axis=2))], fine)
    _, _, _, found = segment("--mask", path, "--propagate", "none", "--name", "block")
    assert "block: fine.nii.gz lies on another grid; it was brought onto that of the scan by nearest" in caplog.text
    assert np.array_equal(found[0].mask, masks[0])


def shift(i, j, k):
    matrix = np.eye(4)
    matrix[:3, 3] = i, j, k
    return matrix


def test_bad_masks_are_refused_in_one_line(segment, both, masks, volume, point, tmp_path):
    away = tmp_path / "away.seg.nrrd"
    write_segmentation(away, [Segment("block", masks[0])], Volume(volume.array, volume.ijk_to_ras @ shift(500, 0, 0)))
    text = tmp_path / "text.nii.gz"
    text.write_text("nothing")
    for options, message in (
        (("--mask", both), "has several segments, block, corner; say which one is meant"),
        (("--mask", both, "--mask-segment", "liver"), "has no segment 'liver'; it has block, corner"),
        (("--mask", both, "--prompts", point), "has no segment 'ball'"),
        (("--mask", both, "--name", "a", "--name", "b"), "2 segment names for one mask"),
        (("--mask", away), "is empty on this scan"),
        (("--mask", text), "cannot be read as a segmentation"),
        (("--mask", tmp_path / "none.nrrd"), "no segmentation file"),
        (("--mask-segment", "block", "--prompts", point), "there is no --mask"),
        ((), "or --mask FILE"),
        (
            (
                "--mask",
                both,
                "--mask-segment",
                "block",
                "--prompts",
                point,
                "--prompts",
                point,
                "--name",
                "a",
                "--name",
                "b",
            ),
            "'block' is to start one segment, but there are prompts for 2",
        ),
        (
            ("--mask", both, "--prompts", point, "--prompts", point, "--name", "a", "--name", "b"),
            "has none of the segments a, b",
        ),
    ):
        code, out, err, _ = segment(*options)
        assert (code, out) == (2, ""), options
        assert message in err
        assert err.count("\n") == 1


def test_contours_are_a_mask(segment, volume, tmp_path):
    axes = volume.ijk_to_ras[:3, :3] / np.linalg.norm(volume.ijk_to_ras[:3, :3], axis=0)
    spacing = np.linalg.norm(volume.ijk_to_ras[:3, 2])
    middle = volume.ijk_to_ras @ [16, 14, 4, 1]
    path = write_rtstruct(tmp_path / "rt.dcm", {"node": outlines(middle[:3], 8.0, [0, spacing], axes)})
    code, _, err, found = segment("--mask", path, "--propagate", "none")
    assert (code, err) == (0, "")
    assert found[0].name == "node"
    assert np.flatnonzero(found[0].mask.any(axis=(1, 2))).tolist() == [4, 5]
    assert found[0].mask.sum() * volume.voxel_mm3 == pytest.approx(2 * spacing * np.pi * 64, rel=0.1)
    (tmp_path / "empty.dcm").write_bytes(write_rtstruct(tmp_path / "points.dcm", {"p": []}).read_bytes())
    code, _, err, _ = segment("--mask", tmp_path / "empty.dcm")
    assert code == 2
    assert "it holds no closed contour" in err
    assert err.count("\n") == 1
