"""Cases are read from where people keep them, and what cannot be learnt from is one clear sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.core.errors import UserError
from EfficientMedSAM2Lib.imaging.segmentations import Segment, write_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume
from EfficientMedSAM2Lib.learning.tasks.cases import patient_of, read_cases
from EfficientMedSAM2Lib.learning.tasks.checks import check_cases

from .synthetic_cases import finished_case, rim, write_cases


def test_a_folder_of_scans_with_masks_beside_them(tmp_path):
    cases = read_cases(write_cases(tmp_path, [0, 1]), "rim")
    assert [case.name for case in cases] == ["patient0", "patient1"]
    for number, case in enumerate(cases):
        voxels, mask = rim(number)
        np.testing.assert_array_equal(case.image.labels > 0, mask)
        np.testing.assert_array_equal(case.image.voxels, voxels)
        assert case.image.spacing_mm == (5.0, 1.0, 1.0)


def test_segmentations_of_slicer_by_the_segment_s_name(tmp_path):
    write_cases(tmp_path, [0])
    volume = read_volume(tmp_path / "patient0.nii.gz")
    (tmp_path / "patient0_mask.nii.gz").unlink()
    mask = rim(0)[1]
    segments = [Segment("other", ~mask), Segment("rim", mask, terminology="~".join(["", "", "a^b^c", "", "", "", ""]))]
    write_segmentation(tmp_path / "patient0.seg.nrrd", segments, volume)
    (case,) = read_cases(tmp_path, "rim")
    np.testing.assert_array_equal(case.image.labels > 0, mask)
    with pytest.raises(UserError, match="has no segment 'third'; it has other, rim"):
        read_cases(tmp_path, "third")


def test_an_index_by_the_label_s_name(tmp_path):
    write_cases(tmp_path, [0, 1])
    rows = [
        {
            "image": f"patient{n}.nii.gz",
            "label": f"patient{n}_mask.nii.gz",
            "modality": "MR",
            "label_names": {"1": "rim"},
            "dim": 3,
            "group": f"patient{n}",
            "split": "train",
        }
        for n in (0, 1)
    ]
    (tmp_path / "index.json").write_text(json.dumps(rows))
    assert [case.patient for case in read_cases(tmp_path, "rim")] == ["patient0", "patient1"]
    assert read_cases(tmp_path, "nothing") == []


def test_a_manifest_with_masks(tmp_path):
    write_cases(tmp_path, [0, 1])
    lines = ["case,image,mask,segment", *(f"c{n},patient{n}.nii.gz,patient{n}_mask.nii.gz,rim" for n in (0, 1))]
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    assert [case.name for case in read_cases(tmp_path / "cases.csv", "rim")] == ["c0", "c1"]


def test_a_mask_on_another_grid_is_brought_onto_the_scan_and_said(tmp_path):
    import SimpleITK

    write_cases(tmp_path, [0])
    path = tmp_path / "patient0_mask.nii.gz"
    mask = SimpleITK.ReadImage(str(path))
    finer = SimpleITK.Resample(
        mask,
        [128, 128, 5],
        SimpleITK.Transform(),
        SimpleITK.sitkNearestNeighbor,
        mask.GetOrigin(),
        (0.5, 0.5, 5.0),
        mask.GetDirection(),
    )
    SimpleITK.WriteImage(finer, str(path))
    (case,) = read_cases(tmp_path, "rim")
    assert "another grid" in case.note
    assert (case.image.labels > 0).sum() == pytest.approx(rim(0)[1].sum(), rel=0.05)


def test_patients_are_told_from_names():
    assert patient_of("patient26_FLAIR") == "patient26"
    assert patient_of("liver") == "liver"


def empty():
    case = finished_case(3)
    return replace(case, image=replace(case.image, labels=np.zeros_like(case.image.labels)))


def small():
    case = finished_case(3)
    labels = np.zeros_like(case.image.labels)
    labels[2, 30:33, 30:33] = 1
    return replace(case, image=replace(case.image, labels=labels))


@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ([], "There is no case with a structure 'rim'"),
        ([finished_case(0)], "One case cannot show"),
        ([finished_case(0), finished_case(1, patient="patient0")], "2 cases of one patient cannot show"),
        ([finished_case(0), empty()], "The mask of 'rim' in patient3 is empty"),
        (
            [finished_case(0), finished_case(1, modality="CT")],
            "of different modalities .*patient1 is CT.*patient0 is MR",
        ),
        ([finished_case(0), finished_case(1), small()], "it seems to be another structure"),
        ([finished_case(0), finished_case(0, name="copy", patient="copy")], "copy is the same scan as patient0"),
        ([finished_case(n) for n in range(51)], "There are 51 cases, and 50 are the most"),
    ],
)
def test_what_cannot_be_learnt_from_is_one_sentence(cases, sentence):
    with pytest.raises(UserError, match=sentence):
        check_cases(cases, "rim")


def test_more_cases_take_more_steps_unless_minutes_are_given():
    pytest.importorskip("torch")
    from EfficientMedSAM2Lib.learning.tasks.learn import STEPS_PER_MINUTE, LearnOptions

    assert [LearnOptions().steps(cases) / STEPS_PER_MINUTE for cases in (2, 5, 8, 50)] == [5, 5, 8, 15]
    assert LearnOptions(minutes=3).steps(50) == 3 * STEPS_PER_MINUTE


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    write_cases(tmp_path, [0])
    common = ["learn", str(tmp_path), "--segment", "rim", "--output"]
    assert main([*common, str(tmp_path / "rim.task"), "--quiet"]) == 2
    assert "One case cannot show" in capsys.readouterr().err
    assert main([*common, str(tmp_path / "rim.txt")]) == 2
    assert "must end in .task" in capsys.readouterr().err
    assert main([*common, str(tmp_path / "rim.task"), "--minutes", "0"]) == 2
    assert "--minutes has to be more than 0" in capsys.readouterr().err
    assert main(["learn", str(tmp_path / "none"), "--segment", "rim", "--output", str(tmp_path / "rim.task")]) == 2
    assert "There is no" in capsys.readouterr().err
