"""MedSAM's and the challenges' .npz files: what they say is read, and nothing they hold can run."""

from __future__ import annotations

import os

import numpy as np
import pytest

from EfficientMedSAM2Lib.imaging.formats.npz import (
    NpzPrompts,
    npz_modality,
    npz_shape,
    read_npz_labels,
    read_npz_prompts,
    read_npz_volume,
    write_npz,
)
from EfficientMedSAM2Lib.imaging.segmentations import Segment, read_segmentation, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

SHAPE = (6, 20, 30)


@pytest.fixture
def labels():
    array = np.zeros(SHAPE, np.uint8)
    array[1:5, 4:9, 10:18] = 3
    array[2:4, 12:16, 20:26] = 7
    return array


@pytest.fixture
def save(tmp_path, labels):
    def write(name="CT_case.npz", **arrays):
        path = tmp_path / name
        np.savez_compressed(path, **arrays)
        return path

    return write


def test_a_scan_with_its_spacing_and_modality(save, labels):
    path = save("3DBox_CT_case.npz", imgs=labels * 30, gts=labels, spacing=(0.7, 0.8, 5.0))
    volume = read_volume(path)
    assert np.array_equal(volume.array, labels * 30)
    assert np.allclose(volume.ijk_to_ras, np.diag([-0.7, -0.8, 5.0, 1.0]))  # x, y, z of SimpleITK are L, P, S
    assert (volume.modality, volume.name) == ("CT", "3DBox_CT_case")
    assert volume.window == (0.0, 255.0)
    assert np.array_equal(read_npz_labels(path), labels)
    assert npz_shape(path) == (SHAPE, np.dtype(np.uint8))


def test_grid_of_a_scan_is_that_of_medsam_scripts(save, labels, tmp_path):
    """They make an image of the array with SimpleITK and set its spacing: masks of both lie on one another."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((0.7, 0.8, 5.0))
    sitk.WriteImage(image, str(tmp_path / "theirs.nii.gz"))
    ours = read_volume(save(imgs=labels, spacing=np.array([0.7, 0.8, 5.0])))
    assert np.allclose(ours.ijk_to_ras, read_volume(tmp_path / "theirs.nii.gz").ijk_to_ras, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected", "axes"),
    [((20, 30), (1, 20, 30), "ji"), ((20, 30, 3), (1, 20, 30, 3), "ji"), ((6, 20, 30, 3), (6, 20, 30, 3), "kji")],
)
def test_pictures_and_colours(save, shape, expected, axes):
    volume = read_npz_volume(save(imgs=np.ones(shape, np.uint8)))
    assert volume.array.shape == expected
    assert volume.axes == axes
    assert np.allclose(np.abs(np.diag(volume.ijk_to_ras)), 1)


def test_image_and_label_have_their_slices_last(save, labels):
    """As in the data folders of the first published benchmark and distillation."""
    path = save(image=np.moveaxis(labels, 0, -1).astype(np.float32) * 100, label=np.moveaxis(labels, 0, -1))
    volume = read_npz_volume(path)
    assert np.array_equal(volume.array, labels.astype(np.float32) * 100)
    assert volume.window is None  # raw intensities: a window is chosen
    assert np.array_equal(read_npz_labels(path), labels)
    assert read_npz_volume(save(image=labels[2], label=labels[2])).array.shape == (1, 20, 30)


BOX_3 = ((3, 4), (4, 9), (10, 18))


def test_boxes_of_the_challenges(save, labels):
    dictionaries = [
        {
            "z_min": np.int64(1),
            "z_max": 4,
            "z_mid": np.int64(3),
            "z_mid_x_min": 10,
            "z_mid_y_min": 4,
            "z_mid_x_max": 17,
            "z_mid_y_max": 8,
        },
        {
            "z_min": 2,
            "z_max": 3,
            "z_mid": 2,
            "z_mid_x_min": 20,
            "z_mid_y_min": 12,
            "z_mid_x_max": 40,
            "z_mid_y_max": 15,
        },
    ]
    clicks = [{"fg": [[1, 5, 11], [4, 5, 11]], "bg": [[3, 18, 1]]}, {"fg": [], "bg": []}]
    order = np.array([["fg", "bg", "fg"], []], dtype=object)
    path = save(imgs=labels, gts=labels, boxes=dictionaries, clicks=clicks, clicks_order=order)
    assert read_npz_prompts(path) == [
        NpzPrompts(3, BOX_3, (1, 5), (((1, 5, 11), True), ((3, 18, 1), False), ((4, 5, 11), True))),
        NpzPrompts(7, ((2, 3), (12, 16), (20, 30)), (2, 4)),  # a box that reaches outside ends with the slice
    ]
    # without a label map the classes are counted, without an order those inside come first
    path = save(imgs=labels, boxes=dictionaries, clicks=clicks)
    first, second = read_npz_prompts(path)
    assert (first.label, second.label) == (1, 2)
    assert [positive for _, positive in first.points] == [True, True, False]


def test_boxes_of_six_and_of_four_numbers(save, labels):
    """As of the challenge on laptops: x, y, z of both corners in a volume, XYXY on a picture."""
    assert read_npz_prompts(save(imgs=labels, boxes=np.array([[10, 4, 1, 17, 8, 5]]))) == [NpzPrompts(1, BOX_3, (1, 6))]
    picture = save(imgs=np.zeros((20, 30, 3), np.uint8), boxes=np.array([[10, 4, 17, 8]]))
    assert read_npz_prompts(picture) == [NpzPrompts(1, ((0, 1), (4, 9), (10, 18)), None)]
    assert read_npz_prompts(save(imgs=labels)) == []


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil-was-here",)


def test_nothing_in_a_file_can_run(save, labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(imgs=labels, boxes=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="mkdir, which is not read"):
        read_npz_prompts(path)
    assert not (tmp_path / "evil-was-here").exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data": np.zeros(3)}, "needs an array 'imgs' .* and has data"),
        ({"imgs": np.zeros((2, 2, 2, 2, 2))}, "a scan has three axes"),
        ({"imgs": np.zeros((2, 2, 2), complex)}, "no image"),
        ({"imgs": np.zeros((2, 2, 2)), "spacing": (1, 0, 1)}, "three positive numbers"),
    ],
)
def test_what_is_no_scan(save, arrays, message):
    with pytest.raises(ValueError, match=message):
        read_npz_volume(save(**arrays))


def test_boxes_of_another_form(save, labels):
    for boxes in ([[1, 2, 3]], [{"x": 1}]):
        with pytest.raises(ValueError, match="boxes or clicks"):
            read_npz_prompts(save(imgs=labels, boxes=boxes))


def test_damaged_archives(save, labels, tmp_path):
    path = save(imgs=labels)
    path.write_bytes(path.read_bytes()[:-60])
    for name in (path, tmp_path / "missing.npz"):
        with pytest.raises(ValueError, match=name.name):
            read_npz_volume(name)
    text = tmp_path / "text.npz"
    text.write_text("text")
    with pytest.raises(ValueError, match="cannot be read as an"):
        read_npz_volume(text)


@pytest.mark.parametrize("key", ["imgs", "image"])
def test_masks_are_written_with_the_axes_of_the_scan(save, labels, tmp_path, key):
    array = labels if key == "imgs" else np.moveaxis(labels, 0, -1)
    volume = read_volume(save(**{key: array}))
    path = tmp_path / "out.npz"
    write_segmentation(path, [Segment("3", labels == 3), Segment("7", labels == 7)], volume)
    assert np.array_equal(np.load(path)["segs"], array)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["CT_case.npz", "out.npz"]
    write_segmentation(path, [Segment("liver", labels == 7), Segment("3", labels == 3)], volume)
    assert set(np.unique(np.load(path)["segs"])) == {0, 1, 2}


def test_masks_are_read_back(save, labels, tmp_path):
    volume = read_volume(save(imgs=labels))
    write_npz(tmp_path / "out.npz", labels)
    read = read_segmentation(tmp_path / "out.npz", volume)
    assert [(segment.name, int(segment.mask.sum())) for segment in read] == [("3", 160), ("7", 48)]
    write_npz(tmp_path / "out.npz", labels[:3])
    with pytest.raises(ValueError, match="the scan"):
        read_segmentation(tmp_path / "out.npz", volume)


def test_modality_of_file_names():
    names = {"MR_T1_1.npz": "MR", "2DBox_US_a.npz": "US", "PET_1.npz": "PT", "case.npz": None, "CTscan.npz": None}
    assert {name: npz_modality(name) for name in names} == names
