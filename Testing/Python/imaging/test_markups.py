"""Markups files: as Slicer writes them, as we write them, and broken ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from EfficientMedSAM2Lib.core.geometry import box_to_roi, ijk_box_from_corners, ras_to_ijk, roi_corners_ras
from EfficientMedSAM2Lib.imaging.markups import (
    Markup,
    curve_note,
    is_negative,
    markup_name,
    name_of,
    read_markups,
    segment_name,
    sign_note,
    write_markups,
)

BOX = [[3, 9], [4, 16], [5, 25]]
POINTS = [[10.0, 20.0, 30.0], [-1.5, 2.5, -3.5], [7.0, 8.0, 9.0]]


def save(path, *entries):
    path.write_text(json.dumps({"markups": list(entries)}), encoding="utf-8")
    return path


def fiducial(**fields) -> dict:
    points = [{"label": "F-1", "position": [1.0, 2.0, 3.0]}]
    return {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points, **fields}


@pytest.fixture
def box(oblique) -> Markup:
    """An ROI along the axes of an oblique volume, around the voxels of BOX."""
    object_to_world, size = box_to_roi(BOX, oblique)
    return Markup("box", "lesion", object_to_world=object_to_world, size=size)


@pytest.fixture
def every_kind(box) -> list[Markup]:
    points = Markup("point", "lesion", np.array(POINTS), (True, False, True))
    line = Markup("line", "lesion", np.array(POINTS[:2]))
    lasso, scribble = (
        Markup("lasso", "lesion", np.array(POINTS)),
        Markup("scribble", "fat", np.array(POINTS), (False,) * 3),
    )
    return [points, box, line, lasso, scribble]


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_points_written_by_slicer(tmp_path, slicer_files, system):
    def fill(node):
        for point, label in zip(POINTS, ("F-1", "neg-2", "F-3")):
            node.AddControlPoint(slicer_files.point(point), label)
        node.SetNthControlPointDescription(2, "bg, outside of the tumour")
        node.AddControlPoint(slicer_files.point((0, 0, 0)), "F-4")
        node.UnsetNthControlPointPosition(3)  # begun, never placed

    path = tmp_path / "right lung.mrk.json"
    slicer_files.write("vtkMRMLMarkupsFiducialNode", path, fill, system)
    assert f'"coordinateSystem": "{system}"' in path.read_text()
    (markup,) = read_markups(path)
    assert (markup.kind, markup.name, markup.positive) == ("point", "right lung", (True, False, False))
    np.testing.assert_allclose(markup.points_ras, POINTS)


def test_line_written_by_slicer(tmp_path, slicer_files):
    path = tmp_path / "L.mrk.json"
    slicer_files.write(
        "vtkMRMLMarkupsLineNode", path, lambda node: [node.AddControlPoint(slicer_files.point(p)) for p in POINTS[:2]]
    )
    (markup,) = read_markups(path)
    assert markup.kind == "line"
    np.testing.assert_allclose(markup.points_ras, POINTS[:2])


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize(("node", "kind"), [("ClosedCurve", "lasso"), ("Curve", "scribble")])
def test_curves_written_by_slicer_go_where_slicer_draws_them(tmp_path, slicer_files, node, kind, system):
    drawn = []

    def fill(curve):
        for point in [*POINTS, [4.0, -12.0, 5.0], [-9.0, 1.0, 0.5]]:
            curve.AddControlPoint(slicer_files.point(point))
        points = curve.GetCurvePointsWorld()
        drawn.extend(points.GetPoint(n) for n in range(points.GetNumberOfPoints()))

    path = tmp_path / "right lung.mrk.json"
    slicer_files.write(f"vtkMRMLMarkups{node}Node", path, fill, system)
    assert f'"coordinateSystem": "{system}"' in path.read_text()
    (markup,) = read_markups(path)
    assert (markup.kind, markup.name, markup.positive) == (kind, "right lung", (True,) * 5)
    np.testing.assert_allclose(markup.points_ras[:3], POINTS)
    np.testing.assert_allclose(markup.curve_ras, drawn, atol=1e-4)


def test_one_negative_label_or_the_name_makes_a_curve_exclude(tmp_path, slicer_files):
    def fill(curve, label="", description=""):
        for point in POINTS:
            curve.AddControlPoint(slicer_files.point(point))
        if label:
            curve.SetNthControlPointLabel(1, label)
        curve.SetNthControlPointDescription(2, description)

    path = tmp_path / "c.mrk.json"
    for texts, positive in (((), True), (("neg",), False), (("", "bg fat"), False)):
        slicer_files.write("vtkMRMLMarkupsClosedCurveNode", path, lambda curve, t=texts: fill(curve, *t))
        (markup,) = read_markups(path)
        assert set(markup.positive) == {positive}
    assert curve_note("c", True) == ""
    assert 'says "not here"' in curve_note("c", False)


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_rotated_roi_written_by_slicer(tmp_path, slicer_files, oblique, box, system):
    def fill(node):
        slicer_files.set_matrix(node.GetObjectToNodeMatrix(), box.object_to_world)
        node.SetSize(*box.size)

    path = tmp_path / "R.mrk.json"
    slicer_files.write("vtkMRMLMarkupsROINode", path, fill, system)
    (markup,) = read_markups(path)
    np.testing.assert_allclose(markup.object_to_world, box.object_to_world, atol=1e-6)
    corners = roi_corners_ras(markup.object_to_world, markup.size)
    assert ijk_box_from_corners(ras_to_ijk(corners, oblique), (20, 30, 40)) == BOX


def test_what_we_write_we_read(tmp_path, every_kind):
    path = tmp_path / "all.mrk.json"
    write_markups(path, every_kind)
    found = read_markups(path)
    assert len(found) == len(every_kind)
    for written, read in zip(every_kind, found):
        assert (read.kind, read.name, read.positive) == (written.kind, written.name, written.positive)
        np.testing.assert_allclose(read.points_ras, written.points_ras)
        if written.kind == "box":
            np.testing.assert_allclose(read.object_to_world, written.object_to_world)
            np.testing.assert_allclose(read.size, written.size)


def test_what_we_write_slicer_reads(tmp_path, slicer_files, every_kind):
    points, box, line, lasso, scribble = every_kind
    for markup in every_kind:
        write_markups(tmp_path / f"{markup.kind}.mrk.json", [markup])

    node = slicer_files.read("vtkMRMLMarkupsFiducialNode", tmp_path / "point.mrk.json")
    assert node.GetNumberOfControlPoints() == node.GetNumberOfDefinedControlPoints() == 3
    np.testing.assert_allclose([node.GetNthControlPointPosition(n) for n in range(3)], points.points_ras)
    assert [is_negative(node.GetNthControlPointLabel(n)) for n in range(3)] == [False, True, False]

    node = slicer_files.read("vtkMRMLMarkupsROINode", tmp_path / "box.mrk.json")
    np.testing.assert_allclose(slicer_files.get_matrix(node.GetObjectToWorldMatrix()), box.object_to_world, atol=1e-6)
    np.testing.assert_allclose(node.GetSize(), box.size)

    node = slicer_files.read("vtkMRMLMarkupsLineNode", tmp_path / "line.mrk.json")
    assert node.GetNumberOfDefinedControlPoints() == 2
    np.testing.assert_allclose(node.GetLineEndPositionWorld(), line.points_ras[1])

    for node_class, markup in (("ClosedCurve", lasso), ("Curve", scribble)):
        node = slicer_files.read(f"vtkMRMLMarkups{node_class}Node", tmp_path / f"{markup.kind}.mrk.json")
        points = node.GetCurvePointsWorld()
        found = [points.GetPoint(n) for n in range(points.GetNumberOfPoints())]
        np.testing.assert_allclose(found, markup.curve_ras, atol=1e-4)


def test_coordinate_system_is_what_the_file_says(tmp_path):
    lps, ras = (read_markups(save(tmp_path / "p.json", fiducial(coordinateSystem=s)))[0] for s in ("LPS", "RAS"))
    np.testing.assert_array_equal(lps.points_ras, [[-1, -2, 3]])
    np.testing.assert_array_equal(ras.points_ras, [[1, 2, 3]])
    unsaid = fiducial()
    del unsaid["coordinateSystem"]
    np.testing.assert_array_equal(read_markups(save(tmp_path / "q.json", unsaid))[0].points_ras, [[-1, -2, 3]])


def test_roi_in_ras_without_orientation(tmp_path):
    entry = {"type": "ROI", "coordinateSystem": "RAS", "center": [1, 2, 3], "size": [4, 5, 6]}
    (markup,) = read_markups(save(tmp_path / "R.mrk.json", entry))
    np.testing.assert_array_equal(markup.object_to_world, [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("label", "description", "negative"),
    [
        ("-1", "", True),
        ("NEG 2", "", True),
        ("Background", "", False),
        ("BG", "", True),
        (" neg", "", True),
        ("F-1", "", False),
        ("F-1", "bg fat", True),
        ("F-1", "not this", False),
        ("", "- outside", True),
    ],
)
def test_negative_points(label, description, negative):
    assert is_negative(label, description) is negative


def test_how_points_are_taken_is_said_where_it_may_surprise():
    """Slicer labels the points of a list after the list."""
    said = sign_note("BG", (False, False), ("BG-1", "BG-2"))
    assert said.startswith(
        "2 of 2 points of 'BG' say \"not here\": labels or descriptions that start with -, neg or bg"
    )
    said = sign_note("background", (True, True), ("background-1", "background-2"))
    assert "count as inside, 'background-1' too: only labels" in said
    assert sign_note("liver", (True, True), ("liver-1", "nodule-2")) == ""
    assert "1 of 3 points" in sign_note("liver", (True, False, True))


def test_points_never_placed_leave_nothing(tmp_path):
    entry = fiducial(controlPoints=[{"label": "F-1", "position": "", "positionStatus": "undefined"}])
    assert read_markups(save(tmp_path / "F.mrk.json", entry)) == []
    assert read_markups(save(tmp_path / "G.mrk.json")) == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"type": "Plane", "controlPoints": []},
            "type Plane cannot be a prompt; use Fiducial, ROI, Line, ClosedCurve, Curve",
        ),
        ({"type": "ClosedCurve", "controlPoints": [{"position": [1, 2, 3]}] * 2}, "has 2 placed points; place 3 or"),
        ({"type": "Curve", "controlPoints": []}, "has 0 placed points; place 2 or more"),
        ({"type": "Line", "controlPoints": [{"position": [1, 2, 3]}]}, "has 1 placed ends; place both"),
        ({"type": "ROI", "controlPoints": []}, "no centre or no size"),
        ({"type": "ROI", "center": [0, 0, 0], "size": [1, 2]}, "expected 3 numbers"),
        (fiducial(controlPoints=[{"position": [1, "a", 3]}]), "could not convert"),
        (fiducial(controlPoints=[{"label": "F-1"}]), "damaged"),
        (fiducial(coordinateSystem="XYZ"), "unknown coordinate system 'XYZ'"),
        (fiducial(coordinateUnits=["um", "UCUM", "micrometer"]), "coordinates are in um"),
        ("nonsense", "damaged"),
    ],
)
def test_markups_that_cannot_be_used(tmp_path, entry, message):
    with pytest.raises(ValueError, match=message) as error:
        read_markups(save(tmp_path / "bad.mrk.json", entry))
    assert "bad.mrk.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"[1, 2]", b'{"a": 1}', b"\xff\xfe\x00\x01", b"{"])
def test_files_that_are_no_markups(tmp_path, content):
    path = tmp_path / "scan.mrk.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a markups file"):
        read_markups(path)


def test_missing_file_and_folder(tmp_path, every_kind):
    with pytest.raises(ValueError, match="no markups file"):
        read_markups(tmp_path / "none.mrk.json")
    with pytest.raises(ValueError, match="Cannot read"):
        read_markups(tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        write_markups(tmp_path / "none" / "F.mrk.json", every_kind)


def test_markups_that_make_no_sense():
    with pytest.raises(ValueError, match="not 'curve'"):
        Markup("curve")
    with pytest.raises(ValueError, match="two ends"):
        Markup("line", points_ras=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="A lasso has 3 points or more, not 2"):
        Markup("lasso", points_ras=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="needs object_to_world and size"):
        Markup("box")
    with pytest.raises(ValueError, match="give one each"):
        Markup("point", points_ras=np.zeros((2, 3)), positive=(True,))


def test_markup_name():
    assert markup_name("/a/b/right lung.mrk.json") == "right lung"
    assert markup_name("x.JSON") == "x"


def test_the_segment_of_a_prompt_is_in_the_file_and_kept_by_slicer(tmp_path, slicer_files, every_kind):
    path = tmp_path / "lesion.mrk.json"
    write_markups(path, [replace(markup, segment_id="S_l7GbFV7adY17rVkj") for markup in every_kind])
    assert {markup.segment_id for markup in read_markups(path)} == {"S_l7GbFV7adY17rVkj"}
    write_markups(path, [replace(every_kind[0], segment_id="S_l7GbFV7adY17rVkj")])
    node = slicer_files.read("vtkMRMLMarkupsFiducialNode", path)
    assert "segment: S_l7GbFV7adY17rVkj" in node.GetNthControlPointDescription(0)
    for odd in ("a b", "x,y", "é", "s" * 200):  # what a description cannot hold is left out
        write_markups(path, [replace(every_kind[0], segment_id=odd)])
        assert read_markups(path)[0].segment_id == ""


@pytest.mark.parametrize(
    "name", ["lesion 1/2", "<b>straight</b> 'sinus', \"plane: coronal\"", "肝 – Läsion", "-neg: a\\b"]
)
def test_a_name_that_no_file_can_have_is_stated_and_kept_by_slicer(tmp_path, slicer_files, every_kind, name):
    path = tmp_path / "some.mrk.json"
    stated = {"segment_id": "S_1", "segment_name": name}
    for wanted in every_kind:
        write_markups(path, [replace(wanted, **stated)])
        (found,) = read_markups(path)
        assert (found.segment_id, found.segment_name, segment_name(path, [found])) == ("S_1", name, name)
        assert (found.planes, found.positive, found.straight) == (wanted.planes, wanted.positive, wanted.straight)
    write_markups(path, [replace(every_kind[0], **stated)])
    node = slicer_files.read("vtkMRMLMarkupsFiducialNode", path)
    assert name_of(node.GetNthControlPointDescription(0)) == name
    write_markups(path, [replace(every_kind[0], segment_name=name)])  # of no segment in particular
    assert segment_name(path, read_markups(path)) == "some"
