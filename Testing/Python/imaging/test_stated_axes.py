"""What NRRD and MetaImage headers state of their axes, sizes and voxels counts; nothing is guessed or made up."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from EfficientMedSAM2Lib.imaging.volumes import read_volume

from .phantom import grid, sample

MATRIX = grid()
ARRAY = sample(MATRIX)


def write_nrrd(path, values, kinds, **fields):
    """``values`` with the axes of the file, fastest first; the axis that is no direction is the one of another kind."""
    directions = iter(MATRIX[:3, :3].T)
    header = {
        "space": "right-anterior-superior",
        "kinds": kinds,
        "space directions": np.array([next(directions) if kind == "domain" else [np.nan] * 3 for kind in kinds]),
        "space origin": MATRIX[:3, 3],
        "encoding": "gzip",
        **fields,
    }
    nrrd.write(str(path), values, {name: value for name, value in header.items() if value is not None})
    return path


@pytest.mark.parametrize("count", [2, 3, 4, 5])
@pytest.mark.parametrize("first", [True, False])
def test_a_list_of_volumes_is_a_time_series(tmp_path, count, first):
    series = [ARRAY.T + 100 * n for n in range(count)]
    kinds = ["list", *["domain"] * 3] if first else [*["domain"] * 3, "list"]
    path = write_nrrd(tmp_path / "s.seq.nrrd", np.stack(series, axis=0 if first else 3), kinds)
    with pytest.raises(ValueError, match=f"holds {count} volumes .*--time-point 0 to {count - 1}"):
        read_volume(path)
    volume = read_volume(path, time_point=1)
    np.testing.assert_array_equal(volume.array, ARRAY + 100)
    np.testing.assert_allclose(volume.ijk_to_ras, MATRIX)


@pytest.mark.parametrize(
    ("space", "signs"),
    [("LPS", (-1, -1, 1)), ("RAS", (1, 1, 1)), ("left-anterior-superior", (-1, 1, 1)), ("scanner-xyz", (-1, -1, 1))],
)
def test_spaces(tmp_path, space, signs):
    matrix = np.diag([*signs, 1]) @ MATRIX
    path = tmp_path / "s.nrrd"
    write_nrrd(path, ARRAY.T, ["domain"] * 3, **{"space": space, "space origin": matrix[:3, 3]})
    content = path.read_bytes()
    for before, after in zip(MATRIX[:3, :3].T, matrix[:3, :3].T):
        old, new = (f"({','.join(f'{v:.16g}' for v in row)})".encode() for row in (before, after))
        content = content.replace(old, new)
    path.write_bytes(content)
    np.testing.assert_allclose(read_volume(path).ijk_to_ras, MATRIX, atol=1e-6)


def test_a_kind_that_itk_does_not_read_is_named(tmp_path):
    path = write_nrrd(tmp_path / "s.nrrd", np.stack([ARRAY.T] * 3, axis=3), [*["domain"] * 3, "time"])
    with pytest.raises(ValueError, match=r"kind 'time'.*save it with the kind 'list'"):
        read_volume(path)


@pytest.mark.parametrize("kind", ["RGB-color", "3-color", "vector"])
def test_colours(tmp_path, kind):
    colours = np.random.default_rng(0).integers(0, 255, (3, *ARRAY.T.shape)).astype(np.uint8)
    path = write_nrrd(tmp_path / "c.nrrd", colours, [kind, *["domain"] * 3])
    np.testing.assert_array_equal(read_volume(path).array, colours.T)


@pytest.mark.parametrize(
    ("kind", "count"), [("3D-masked-symmetric-matrix", 7), ("quaternion", 4), ("covariant-vector", 3)]
)
def test_tensors_are_no_pictures(tmp_path, kind, count):
    path = write_nrrd(tmp_path / "t.nrrd", np.stack([ARRAY.T] * count), [kind, *["domain"] * 3])
    with pytest.raises(ValueError, match="no picture"):
        read_volume(path)


def test_a_file_that_does_not_say_how_large_a_voxel_is(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), ARRAY.T)
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY[0].astype(np.uint8)), str(tmp_path / "b.png"))
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "c.mha"))
    content = (tmp_path / "c.mha").read_bytes()
    (tmp_path / "c.mha").write_bytes(content.replace(b"ElementSpacing = 1 1 1\n", b""))
    for name in ("a.nrrd", "b.png", "c.mha"):
        volume = read_volume(tmp_path / name)
        assert not volume.spacing_known, name
        assert "how large a voxel is" in volume.notes[0]
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "d.mha"))
    assert read_volume(tmp_path / "d.mha").spacing_known


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".mhd", ".nhdr"])
@pytest.mark.parametrize("compress", [False, True])
def test_cut_off_files_are_called_so(tmp_path, ending, compress):
    path = tmp_path / f"s{ending}"
    noise = np.random.default_rng(0).integers(0, 999, ARRAY.shape).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(path), useCompression=compress)
    data = next((p for p in tmp_path.iterdir() if p != path), path)
    data.write_bytes(data.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"s\.\w+ cannot be read as a scan") as error:
        read_volume(path)
    assert compress or "cut off" in str(error.value)


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_voxels_that_are_not_there(tmp_path, ending):
    path = tmp_path / f"s{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path))
    next(p for p in tmp_path.iterdir() if p != path).unlink()
    with pytest.raises(ValueError, match="is missing"):
        read_volume(path)
