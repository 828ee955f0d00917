"""The preview: right way round, in proportion, with everything drawn that the legend names."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from EfficientMedSAM2Lib.core.geometry import box_to_roi, ijk_to_ras_points
from EfficientMedSAM2Lib.core.planes import plane_of, telling_slices
from EfficientMedSAM2Lib.imaging.markups import Markup
from EfficientMedSAM2Lib.imaging.preview import write_preview
from EfficientMedSAM2Lib.imaging.segmentations import Segment
from EfficientMedSAM2Lib.imaging.volumes import Volume

GREEN, BLUE = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
SHAPE = (12, 40, 50)


def grid(order=(0, 1, 2), signs=(-1, -1, 1), spacing=(1.0, 1.0, 3.0)) -> np.ndarray:
    """ijk_to_ras whose axis n runs along world axis order[n]."""
    matrix = np.zeros((4, 4))
    for column, (row, sign) in enumerate(zip(order, signs)):
        matrix[row, column] = sign * spacing[column]
    matrix[3, 3] = 1
    return matrix


def ball(center=(6, 20, 25), radius=5) -> np.ndarray:
    k, j, i = np.indices(SHAPE)
    return ((k - center[0]) * 3) ** 2 + (j - center[1]) ** 2 + (i - center[2]) ** 2 <= radius**2


def scan(ijk_to_ras=None) -> Volume:
    return Volume(np.full(SHAPE, 40, dtype=np.int16), grid() if ijk_to_ras is None else ijk_to_ras, "CT", "scan")


def pixels(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[..., :3].astype(float) / 255


def count(picture: np.ndarray, color) -> int:
    return int((np.abs(picture - color).max(axis=-1) < 0.1).sum())


@given(st.permutations(range(3)), st.tuples(*[st.sampled_from((-1, 1))] * 3), st.integers(0, 2))
def test_every_grid_is_shown_the_radiological_way(order, signs, axis):
    matrix = grid(order, signs)
    plane = plane_of(matrix, (4, 5, 6), axis)
    kji = np.stack(np.indices((4, 5, 6)), axis=-1)
    ras = ijk_to_ras_points(kji[..., ::-1], matrix)
    r, a, s = (plane.image(ras[..., n], 0) for n in range(3))
    right_is_right_edge, anterior_is_lower, superior_is_lower = (
        r[0, -1] > r[0, 0],
        a[-1, 0] > a[0, 0],
        s[-1, 0] > s[0, 0],
    )
    if plane.name == "axial":
        assert (right_is_right_edge, anterior_is_lower) == (False, False)
        assert plane.letters == ("R", "A")
    elif plane.name == "coronal":
        assert (right_is_right_edge, superior_is_lower) == (False, False)
        assert plane.letters == ("R", "S")
    else:
        assert (a[0, -1] > a[0, 0], superior_is_lower) == (False, False)
        assert plane.letters == ("A", "S")
    assert order[2 - axis] == {"sagittal": 0, "coronal": 1, "axial": 2}[plane.name]


@given(st.permutations(range(3)), st.tuples(*[st.sampled_from((-1, 1))] * 3), st.integers(0, 2), st.data())
def test_prompts_land_on_the_voxel_they_mean(order, signs, axis, data):
    shape = (4, 5, 6)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    volume = np.zeros(shape, dtype=bool)
    volume[index] = True
    plane = plane_of(grid(order, signs), shape, axis)
    column, row = plane.position(np.array(index), shape)
    assert plane.image(volume, index[axis])[int(row), int(column)]


def test_a_photograph_stays_as_it_is():
    plane = plane_of(np.diag([-1.0, -1, 1, 1]), (1, 5, 6), 0)
    picture = np.arange(30).reshape(1, 5, 6)
    np.testing.assert_array_equal(plane.image(picture, 0), picture[0])
    assert (plane.name, plane.letters) == ("image", ("", ""))


@pytest.mark.parametrize(
    ("low", "high", "prompted", "expected"),
    [(10, 40, {22}, 8), (10, 13, {11}, 4), (0, 60, set(range(60)), 8), (10, 11, {50}, 4), (0, 60, set(), 8)],
)
def test_slices_fill_rows_and_hold_the_prompts(low, high, prompted, expected):
    slices = telling_slices(low, high, 60, prompted, columns=4, rows=2)
    assert len(slices) == len(set(slices)) == expected
    assert slices == sorted(slices)
    assert min(slices) >= 0
    assert max(slices) < 60
    if len(prompted) <= 4:
        assert prompted <= set(slices)


def test_few_slices_are_all_shown():
    assert telling_slices(0, 3, 3, {1}, columns=4, rows=2) == [0, 1, 2]
    assert telling_slices(0, 1, 1, set(), columns=4, rows=2) == [0]


@pytest.mark.slow
def test_contours_have_the_segment_colour(tmp_path):
    segments = [Segment("a", ball(), GREEN), Segment("b", ball((6, 20, 40), 4), BLUE)]
    write_preview(tmp_path / "p.png", scan(), segments)
    picture = pixels(tmp_path / "p.png")
    with_both = count(picture, GREEN), count(picture, BLUE)
    write_preview(tmp_path / "q.png", scan(), segments[:1])
    alone = pixels(tmp_path / "q.png")
    assert min(with_both) > 200
    assert count(alone, GREEN) > 200
    assert count(alone, BLUE) == 0


@pytest.mark.slow
def test_prompts_are_drawn(tmp_path):
    volume = scan()
    object_to_world, size = box_to_roi([[6, 7], [10, 30], [15, 35]], volume.ijk_to_ras)
    points_ras = ijk_to_ras_points([[25, 20, 6], [40, 30, 6]], volume.ijk_to_ras)
    prompts = [
        Markup("box", "a", object_to_world=object_to_world, size=size),
        Markup("line", "a", points_ras),
        Markup("point", "a", points_ras, (True, False)),
        Markup("point", "a", points_ras + 1000),  # nowhere near: left out
    ]
    empty = Segment("a", np.zeros(SHAPE, dtype=bool), GREEN)
    found, red = {}, {}
    for name, drawn in (("none", []), *((f"{n}", [prompt]) for n, prompt in enumerate(prompts))):
        write_preview(tmp_path / f"{name}.png", volume, [empty], drawn)
        picture = pixels(tmp_path / f"{name}.png")
        found[name], red[name] = count(picture, GREEN), count(picture, (1.0, 0.0, 0.0))
    assert min(found["0"], found["1"], found["2"]) > found["none"] + 20
    assert found["3"] == found["none"]
    assert red["2"] > 20
    assert red["0"] == red["1"] == 0


def test_proportion_follows_the_spacing(tmp_path):
    """A square of 30 mm on voxels of 1 x 3 mm is a square on the picture."""
    volume = Volume(np.zeros((1, 30, 90), dtype=np.uint8), grid(spacing=(1.0, 3.0, 1.0)))
    mask = np.zeros(volume.shape_kji, dtype=bool)
    mask[0, 10:20, 30:60] = True
    write_preview(tmp_path / "p.png", volume, [Segment("a", mask, GREEN)])
    picture = pixels(tmp_path / "p.png")[: -int(110 * 0.7)]  # without the legend
    rows, columns = np.nonzero(np.abs(picture - GREEN).max(axis=-1) < 0.1)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 20, 30), (1, 20, 30, 3), (3, 20, 30, 3), (2, 20, 30), (40, 1, 30), (5, 3, 2)])
@pytest.mark.parametrize("filled", [False, True])
def test_any_shape_gives_a_picture(tmp_path, oblique, shape, filled):
    volume = Volume(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8), oblique, None, "$x_1$")
    mask = np.full(shape[:3], filled)
    write_preview(tmp_path / "p.png", volume, [Segment("cell $1", mask)])
    assert pixels(tmp_path / "p.png").std() > 0.05
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.png"]


def test_nothing_segmented_nothing_prompted(tmp_path):
    write_preview(tmp_path / "p.png", scan(), [])
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="The mask of 'a' has shape"):
        write_preview(tmp_path / "p.png", scan(), [Segment("a", np.zeros((1, 2, 3), dtype=bool))])
    with pytest.raises(ValueError, match="Cannot write"):
        write_preview(tmp_path / "none" / "p.png", scan(), [])
    assert not list(tmp_path.iterdir())
