"""A case from markups files to masks, with a predictor that knows the truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from EfficientMedSAM2Lib.imaging.volumes import read_volume
from EfficientMedSAM2Lib.pipeline.case import PropagationOptions, segment_case
from EfficientMedSAM2Lib.pipeline.prompts import read_prompts


def run(session, scan, paths, names=(), **options):
    volume = read_volume(scan.path)
    return segment_case(session, volume, read_prompts(paths, names), PropagationOptions(**options))


def used_slices(result):
    return np.flatnonzero(result.mask.any(axis=(1, 2))).tolist()


def test_points_and_box_become_whole_segments(oracle_session, scan, write_points, write_roi):
    paths = [write_points("liver.mrk.json", (5, 8, 8)), write_roi("spleen.mrk.json", (6, 6, 15), (6, 14, 21))]
    liver, spleen = run(oracle_session, scan, paths)
    assert (liver.name, spleen.name) == ("liver", "spleen")
    assert np.array_equal(liver.mask, scan.liver)
    assert np.array_equal(spleen.mask, scan.spleen)
    assert liver.scores[5] == 1.0
    assert liver.slices_propagated >= 5
    assert liver.voxel_count == scan.liver.sum()


def test_a_case_leaves_the_scan_as_it_is(oracle_session, scan, write_points):
    volume = read_volume(scan.path)
    before = volume.array.copy()
    segment_case(oracle_session, volume, read_prompts([write_points("a.mrk.json", (5, 8, 8))]))
    assert np.array_equal(volume.array, before)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"direction": "none"}, [5]),
        ({"direction": "forward"}, [5, 6, 7]),
        ({"direction": "backward"}, [2, 3, 4, 5]),
        ({"range_mm": 5.0}, [4, 5, 6]),
        ({"range_mm": 4.9}, [5]),
        ({"range_mm": 10.0, "direction": "backward"}, [3, 4, 5]),
    ],
)
def test_propagation_goes_where_it_is_told(oracle_session, scan, write_points, options, expected):
    (liver,) = run(oracle_session, scan, [write_points("liver.mrk.json", (5, 8, 8))], **options)
    assert used_slices(liver) == expected


def test_an_roi_of_several_slices_limits_propagation(oracle_session, scan, write_roi):
    (liver,) = run(oracle_session, scan, [write_roi("liver.mrk.json", (3, 4, 3), (6, 11, 12))])
    assert used_slices(liver) == [3, 4, 5, 6]


def test_a_range_does_not_lift_the_limits_of_an_roi(oracle_session, scan, write_roi):
    (liver,) = run(oracle_session, scan, [write_roi("liver.mrk.json", (3, 4, 3), (6, 11, 12))], range_mm=100.0)
    assert used_slices(liver) == [3, 4, 5, 6]


def test_files_of_one_name_are_one_segment(oracle_session, scan, write_points, write_roi):
    """The point comes first on the command line, but a box is given to the network before points."""
    paths = [write_points("a.mrk.json", (6, 8, 8)), write_roi("b.mrk.json", (6, 6, 15), (6, 14, 21))]
    (both,) = run(oracle_session, scan, paths, ["organ"], direction="none")
    assert both.name == "organ"
    assert np.array_equal(both.mask[6], scan.liver[6])


def test_a_negative_point_takes_away(oracle_session, scan, write_points):
    """Written before the positive point, as happens when control points are reordered."""
    path = write_points("liver.mrk.json", (5, 8, 8), (5, 8, 9), labels=["-1", "F-2"])
    (liver,) = run(oracle_session, scan, [path], direction="none")
    assert liver.voxel_count == 0


def changed(path, **fields):
    """A markups file with some fields of its markup as given."""
    content = json.loads(path.read_text())
    content["markups"][0].update(fields)
    path.write_text(json.dumps(content))
    return path


def test_what_the_user_should_know_of_prompts_is_said_as_in_the_effect(
    oracle_session, scan, write_points, write_roi, caplog
):
    """A rotated ROI, a line across slices, and points that exclude by the name of their list."""
    cos, sin = np.cos(np.deg2rad(30)), np.sin(np.deg2rad(30))
    roi = changed(
        write_roi("roi.mrk.json", (3, 5, 4), (6, 10, 11)), name="R", orientation=[-cos, sin, 0, -sin, -cos, 0, 0, 0, 1]
    )
    line = changed(write_points("line.mrk.json", (4.45, 3, 8), (5.55, 12, 8)), type="Line", name="L")
    signs = changed(write_points("signs.mrk.json", (5, 6, 5), labels=["BG-1"]), name="BG")
    (liver,) = run(oracle_session, scan, [roi, line, signs], ["liver"], direction="none")
    for part in (
        "ROI 'R' is rotated against the image; the larger box that encloses it is used.",
        "The line crosses 3 slices; it counts on slice 5, through its middle.",
        "1 of 1 points of 'BG' say \"not here\"",
    ):
        assert part in liver.message
        assert part in caplog.text
    assert not liver.mask[5, 6, 5]
    assert oracle_session.prompts("liver")[1].axis == 0, "the line stays on the slices that it was drawn on"


def test_curves_are_lassos_and_scribbles(oracle_session, scan, write_points):
    """A lasso starts, a scribble that excludes comes last, though it is the first on the command line."""
    corners = [(5, 2, 1), (5, 2, 14), (5, 13, 14), (5, 13, 1)]
    lasso = changed(write_points("lasso.mrk.json", *corners), type="ClosedCurve")
    lines = write_points("neg.mrk.json", (5, 8, 16), (5, 8, 19), labels=["neg-1", "neg-2"])
    not_here = changed(lines, type="Curve", name="neg")
    across = changed(write_points("across.mrk.json", (3, 8, 8), (7, 8, 8)), type="Curve")
    (liver,) = run(oracle_session, scan, [not_here, across, lasso], ["liver"], direction="none")
    assert [(p.kind, p.positive, p.axis) for p in oracle_session.prompts("liver")] == [
        ("lasso", True, 0),
        ("scribble", True, 0),
        ("scribble", False, 0),
    ]
    expected = scan.liver & (np.isin(np.arange(12), range(3, 8)))[:, None, None]
    assert np.array_equal(liver.mask, expected)
    assert "The curve 'neg' says \"not here\"" in liver.message


def test_a_cut_across_the_slices_leaves_the_direction_of_propagation(oracle_session, scan, write_points):
    # many points on each side, between which the smooth curve is straight
    upper, lower = ([(k, 6, i) for i in np.linspace(0, 22, 45)] for k in (3.5, 1.0))
    cut = changed(write_points("neg.mrk.json", *upper, *lower[::-1], labels=["neg-1"]), type="ClosedCurve")
    (liver,) = run(oracle_session, scan, [cut, write_points("liver.mrk.json", (5, 8, 8))], ["liver"])
    assert liver.axis == 0
    assert used_slices(liver) == [2, 3, 4, 5, 6, 7]
    assert not liver.mask[2:4, 6].any()
    assert liver.mask[4:8, 6, 3:13].all()


def test_a_lasso_on_no_slice_names_its_segment(oracle_session, scan, write_points):
    tilted = changed(write_points("liver.mrk.json", (2, 2, 1), (8, 12, 2), (5, 12, 12)), type="ClosedCurve")
    with pytest.raises(ValueError, match=r"'liver'.*lies on no slice.*3\.\d voxels"):
        run(oracle_session, scan, [tilted])


def test_a_mask_without_prompts_is_kept_as_it_is(oracle_session, scan, write_points):
    wrong = scan.liver.copy()
    wrong[[2, 3, 5, 6, 7], :, 8:] = False
    (prompts,) = read_prompts([write_points("liver.mrk.json", (5, 8, 11))])
    (kept,) = segment_case(oracle_session, read_volume(scan.path), [replace(prompts, mask=wrong, markups=())])
    assert np.array_equal(kept.mask[2:8], wrong[2:8])


def test_progress_wraps_every_segment(oracle_session, scan, write_points):
    seen = []

    def progress(updates, segment):
        for update in updates:
            seen.append((segment, update.index, updates.total))
            yield update

    prompts = read_prompts([write_points("liver.mrk.json", (5, 8, 8))])
    segment_case(oracle_session, read_volume(scan.path), prompts, progress=progress)
    assert {name for name, _, _ in seen} == {"liver"}
    assert {2, 3, 4, 6, 7} <= {index for _, index, _ in seen}
    assert seen[0][2] == 11


@pytest.mark.parametrize("options", [{"direction": "up"}, {"range_mm": 0.0}, {"range_mm": float("nan")}])
def test_impossible_propagation_is_refused(options):
    with pytest.raises(ValueError, match=r"direction|range"):
        PropagationOptions(**options)


def test_a_point_outside_names_its_segment(oracle_session, scan, write_points):
    with pytest.raises(ValueError, match=r"'liver'.*outside"):
        run(oracle_session, scan, [write_points("liver.mrk.json", (50, 8, 8))])


def test_names_and_files_must_match(write_points):
    paths = [write_points(f"{i}.mrk.json", (5, 8, 8)) for i in range(3)]
    with pytest.raises(ValueError, match="2 segment names for 3"):
        read_prompts(paths, ["a", "b"])
