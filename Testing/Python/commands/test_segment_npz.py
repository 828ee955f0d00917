"""`efficient-medsam2 segment` on the files of MedSAM and the CVPR challenges: prompts within, `segs` out."""

from __future__ import annotations

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main


def balls(shape=(24, 96, 112)):
    """Two bright balls (D,H,W) uint8, and their labels."""
    k, j, i = np.ogrid[tuple(slice(0, size) for size in shape)]
    labels = np.zeros(shape, np.uint8)
    labels[((k - 12) * 2) ** 2 + (j - 30) ** 2 + (i - 34) ** 2 < 15**2] = 1
    labels[((k - 11) * 2) ** 2 + (j - 66) ** 2 + (i - 80) ** 2 < 13**2] = 2
    noise = np.random.default_rng(0).normal(0, 6, shape)
    return np.clip(np.where(labels > 0, 190, 50) + noise, 0, 255).astype(np.uint8), labels


def dictionary(mask, middle):
    z, (y, x) = np.flatnonzero(mask.any(axis=(1, 2))), np.nonzero(mask[middle])
    sides = {"x_min": x.min(), "y_min": y.min(), "x_max": x.max(), "y_max": y.max()}
    return {"z_min": z[0], "z_max": z[-1], "z_mid": middle, **{f"z_mid_{side}": at for side, at in sides.items()}}


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.slow
def test_boxes_and_clicks_of_a_challenge_file(tmp_path, capsys):
    image, labels = balls()
    boxes = [dictionary(labels == 1, 12), dictionary(labels == 2, 11)]
    clicks = [{"fg": [[12, 30, 34]], "bg": []}, {"fg": [], "bg": [[11, 40, 90]]}]
    source, target = tmp_path / "CT_case.npz", tmp_path / "segs.npz"
    np.savez_compressed(source, imgs=image, spacing=(1.0, 1.0, 2.0), boxes=boxes, clicks=clicks)
    assert main(["segment", str(source), "--output", str(target), "--quiet"]) == 0, capsys.readouterr().err
    found = np.load(target)["segs"]
    assert (found.shape, found.dtype) == (labels.shape, np.uint8)
    for label in (1, 2):
        assert dice(found == label, labels == label) > 0.85
        slices = np.flatnonzero((found == label).any(axis=(1, 2)))
        box = boxes[label - 1]
        assert box["z_min"] <= slices[0] <= slices[-1] <= box["z_max"], "the file says where the object ends"


def test_a_picture_with_a_box(tmp_path, capsys):
    image, labels = balls()
    picture = np.repeat(image[12, :, :, None], 3, axis=-1)
    y, x = np.nonzero(labels[12] == 1)
    source, target = tmp_path / "2DBox_Dermoscopy_1.npz", tmp_path / "segs.npz"
    np.savez_compressed(source, imgs=picture, boxes=np.array([[x.min(), y.min(), x.max(), y.max()]]))
    assert main(["segment", str(source), "--output", str(target)]) == 0, capsys.readouterr().err
    found = np.load(target)["segs"]
    assert found.shape == (96, 112)
    assert dice(found == 1, labels[12] == 1) > 0.9


@pytest.mark.slow
def test_an_npz_takes_other_prompts_and_gives_other_files(tmp_path, write_markup, capsys):
    import SimpleITK as sitk

    image, labels = balls()
    source, target = tmp_path / "scan.npz", tmp_path / "out.nii.gz"
    np.savez_compressed(source, imgs=image, spacing=(1.0, 1.0, 2.0))
    point = write_markup(
        "ball.mrk.json", type="Fiducial", controlPoints=[{"position": [34.0, 30.0, 24.0], "positionStatus": "defined"}]
    )
    assert main(["segment", str(source), "--prompts", str(point), "--output", str(target)]) == 0, (
        capsys.readouterr().err
    )
    result = sitk.ReadImage(str(target))
    assert np.allclose(result.GetSpacing(), (1, 1, 2))
    assert dice(sitk.GetArrayFromImage(result) == 1, labels == 1) > 0.7


@pytest.mark.parametrize(
    ("name", "extra", "words"),
    [
        ("scan.npz", (), "holds no boxes and no clicks"),
        ("scan.npz", ("--name", "liver"), "--name is for markups files"),
        ("scan.nii.gz", (), "Give the prompts"),
    ],
)
def test_nothing_to_prompt_with_is_one_line(tmp_path, capsys, name, extra, words):
    np.savez_compressed(tmp_path / "scan.npz", imgs=balls()[0])
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    assert main(["segment", str(tmp_path / name), "--output", str(tmp_path / "out.npz"), *extra]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.npz").exists()
