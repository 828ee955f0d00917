"""Manifests: what they may say, and how all that is wrong with one is told at once."""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main
from EfficientMedSAM2Lib.cohort.manifest.read import ManifestError, read_cohort_manifest
from EfficientMedSAM2Lib.cohort.manifest.rows import ManifestRow


@pytest.fixture
def folder(tmp_path, scan, write_points):
    """A folder with ``scan.nrrd`` and ``liver.mrk.json``."""
    write_points("liver.mrk.json", (5, 8, 8))
    return tmp_path


TEN_MISTAKES = """\
case,image,prompts,box_ijk,points_ras,window,segment,terminology,mask_segment,time_point
a,missing.nrrd,liver.mrk.json,,,,,,,
b,scan.nrrd,missing.mrk.json,,,,,,,
c,scan.nrrd,,"1,2,3",,,,,,
d,scan.nrrd,,,,,,,,
e,scan.nrrd,,,"1,2;4,5,6",,,,,
f,scan.nrrd,liver.mrk.json,,,lungs,,,,
../g,scan.nrrd,liver.mrk.json,,,,,,,
h,scan.nrrd,liver.mrk.json,,,,,liver,,
i,scan.nrrd,liver.mrk.json,,,,,,vein,
j,scan.nrrd,liver.mrk.json,,,,,,,-1
"""


def test_ten_mistakes_are_ten_lines_and_nothing_is_written(folder, capsys):
    (folder / "m.csv").write_text(TEN_MISTAKES)
    files = set(folder.rglob("*"))
    code = main(["cohort", "run", str(folder / "m.csv"), "--output", str(folder / "out")])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 10
    expected = [
        "no image",
        "missing.mrk.json",
        "six numbers",
        "no prompt",
        "three coordinates",
        "lungs",
        "'../g'",
        "SCHEME^CODE^MEANING",
        "mask_segment",
        "greater than or equal to 0",
    ]
    for number, (line, text) in enumerate(zip(lines, expected), start=2):
        assert f"m.csv, line {number}: " in line
        assert text in line
        assert "Traceback" not in line
    assert set(folder.rglob("*")) == files


def test_mistakes_between_lines_are_found(folder):
    other = folder / "other.nrrd"
    other.write_bytes((folder / "scan.nrrd").read_bytes())
    lines = [
        "case,image,points_ijk,segment,window",
        *(
            f'{case},{image},"1,2,3",{segment},{window}'
            for case, image, segment, window in (
                ("a", "scan.nrrd", "s", ""),
                ("a", "scan.nrrd", "s", ""),
                ("a", "other.nrrd", "t", ""),
                ("A", "scan.nrrd", "s", ""),
                ("a", "scan.nrrd", "u", "lung"),
            )
        ),
    ]
    (folder / "m.csv").write_text("\n".join(lines))
    with pytest.raises(ManifestError) as caught:
        read_cohort_manifest(folder / "m.csv")
    twice, image, case, window = caught.value.problems
    assert "line 3" in twice
    assert "twice" in twice
    assert "line 4" in image
    assert "another image on line 2" in image
    assert "line 5" in case
    assert "upper and lower case" in case
    assert "line 6" in window
    assert "another window" in window


def test_lines_of_one_case_are_its_segments(folder, write_points):
    write_points("spleen.mrk.json", (6, 8, 16))
    (folder / "m.csv").write_text(
        "# by hand\n\nimage;prompts;terminology;segment;modality\n"
        "scan.nrrd;liver.mrk.json;SCT^10200004^Liver;;CT\n"
        'scan.nrrd;"spleen.mrk.json";;"Milz, groß";CT\n',
        encoding="utf-8-sig",
    )
    (case,) = read_cohort_manifest(folder / "m.csv")
    assert (case.name, case.modality, case.line) == ("scan", "CT", 4)
    assert [segment.name for segment in case.segments] == ["liver", "Milz, groß"]
    assert case.segments[0].terminology.split("~")[1:3] == ["SCT^123037004^Anatomical Structure", "SCT^10200004^Liver"]
    assert case.files == tuple(str(folder / name) for name in ("scan.nrrd", "liver.mrk.json", "spleen.mrk.json"))


def test_line_numbers_count_lines_and_not_records(folder):
    (folder / "m.csv").write_text('image,points_ijk,segment\nscan.nrrd,"1,2,3","two\nlines"\nnothing.nrrd,"1,2,3",s\n')
    with pytest.raises(ManifestError) as caught:
        read_cohort_manifest(folder / "m.csv")
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [f"{folder / 'm.csv'}, line 4"]


def test_json_has_line_numbers_too(folder):
    entries = [
        {"case": "a", "image": "scan.nrrd", "points_ijk": [[1, 2, 3], [4, 5, 6]]},
        {"case": "b", "image": "scan.nrrd", "oops": 1},
        7,
    ]
    (folder / "m.json").write_text(json.dumps({"made by": "us", "cases": entries[:1]}, indent=1))
    (case,) = read_cohort_manifest(folder / "m.json")
    assert case.segments[0].points_ijk == ((1, 2, 3), (4, 5, 6))
    (folder / "m.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]")
    with pytest.raises(ManifestError) as caught:
        read_cohort_manifest(folder / "m.json")
    assert ["line 3" in p or "line 4" in p for p in caught.value.problems] == [True] * len(caught.value.problems)
    assert any("'oops'" in problem for problem in caught.value.problems)
    (folder / "m.json").write_text('[\n{"case": "a",}\n]')
    with pytest.raises(ManifestError, match="line 2"):
        read_cohort_manifest(folder / "m.json")


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("case,prompts\n", "m.csv", "no column 'image'"),
        ("image,image\n", "m.csv", "twice"),
        ("image,points_ijk\n", "m.csv", "no case"),
        ("image,points_ijk\nscan.nrrd,1,2,3\n", "m.csv", "quotes"),
        ("image,prompt\nscan.nrrd,x\n", "m.csv", "no column 'prompt'"),
        ("{}", "m.json", "list of cases"),
        ("", "m.txt", r"\.csv or \.json"),
    ],
)
def test_files_that_are_no_manifest(folder, text, name, message):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_cohort_manifest(folder / name)


@pytest.mark.parametrize("name", ["con", "a/b", "a\\b", ".hidden", "", "x" * 101, "dot.", "tab\there"])
def test_case_names_are_folder_names(name):
    row = {"case": name, "image": "a.nii", "mask": "b.nrrd"}
    if not name:
        assert ManifestRow.model_validate(row).case == ""
        return
    with pytest.raises(ValueError, match="name of a folder"):
        ManifestRow.model_validate(row)


def test_init_finds_scans_and_their_markups(tmp_path, scan, write_points, capsys):
    data = tmp_path / "data"
    for number, prompts in ((1, ["ct1_liver", "ct1_spleen"]), (10, ["ct10-liver"]), (2, [])):
        place = data / ("one" if number == 10 else "all")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"ct{number}.nrrd").write_bytes(scan.path.read_bytes())
        for prompt in prompts:
            write_points(f"{prompt}.mrk.json", (5, 8, 8)).rename(place / f"{prompt}.mrk.json")
    write_points("lonely.mrk.json", (5, 8, 8)).rename(data / "all" / "lonely.mrk.json")
    manifest = tmp_path / "m.csv"
    assert main(["cohort", "init", str(data), "--output", str(manifest)]) == 0
    said = capsys.readouterr()
    assert "2 cases, 3 segments" in said.out
    assert "ct2.nrrd" in said.err
    assert "lonely.mrk.json" in said.err
    cases = {case.name: [segment.name for segment in case.segments] for case in read_cohort_manifest(manifest)}
    assert cases == {"all-ct1": ["liver", "spleen"], "one-ct10": ["liver"]}
    assert str(tmp_path) not in manifest.read_text()
    assert main(["cohort", "init", str(data), "--output", str(manifest)]) == 2


def test_init_takes_a_dicom_folder_as_a_scan(tmp_path, dicom_series, write_points):
    series = dicom_series(tmp_path / "data" / "patient 1" / "ct", np.zeros((3, 8, 8), dtype=np.int16))
    write_points("spleen.mrk.json", (5, 8, 8)).rename(series.parent / "spleen.mrk.json")
    assert main(["cohort", "init", str(tmp_path / "data"), "--output", str(tmp_path / "m.csv")]) == 0
    (case,) = read_cohort_manifest(tmp_path / "m.csv")
    assert (case.name, case.image, case.segments[0].name) == ("patient 1-ct", str(series), "spleen")


def test_a_bids_folder_is_a_manifest(tmp_path, scan, write_points):
    root = tmp_path / "bids"
    anat, derived = root / "sub-01" / "ses-1" / "anat", root / "derivatives" / "reader" / "sub-02" / "anat"
    for place, name in (
        (anat, "sub-01_ses-1_T1w"),
        (anat, "sub-01_ses-1_FLAIR"),
        (root / "sub-02" / "anat", "sub-02_ct"),
    ):
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.nrrd").write_bytes(scan.path.read_bytes())
    derived.mkdir(parents=True)
    write_points("x.mrk.json", (5, 8, 8)).rename(anat / "sub-01_ses-1_label-tumor_FLAIR.mrk.json")
    write_points("x.mrk.json", (5, 8, 8)).rename(derived / "sub-02_label-liver_markups.mrk.json")
    with pytest.raises(ValueError, match="dataset_description"):
        read_cohort_manifest(root)
    (root / "dataset_description.json").write_text('{"Name": "test", "BIDSVersion": "1.9.0"}')
    found = {case.name: (case.segments[0].name, case.modality) for case in read_cohort_manifest(root)}
    assert found == {"sub-01_ses-1_FLAIR": ("tumor", "MR"), "sub-02_ct": ("liver", "CT")}


def test_bids_markups_without_one_scan_of_their_name_are_named(tmp_path, scan, write_points, capsys, caplog):
    root = tmp_path / "bids"
    for subject in ("01", "02"):
        anat = root / f"sub-{subject}" / "anat"
        anat.mkdir(parents=True)
        for suffix in ("T1w", "FLAIR"):
            (anat / f"sub-{subject}_{suffix}.nrrd").write_bytes(scan.path.read_bytes())
    (root / "dataset_description.json").write_text("{}")
    write_points("x.mrk.json", (5, 8, 8)).rename(root / "sub-01" / "anat" / "sub-01_label-organ_T1w.mrk.json")
    lost = root / "sub-02" / "anat" / "sub-02_label-organ_markups.mrk.json"
    write_points("x.mrk.json", (5, 8, 8)).rename(lost)
    assert main(["cohort", "init", str(root), "--output", str(tmp_path / "m.csv")]) == 0
    said = capsys.readouterr()
    assert "1 cases, 1 segments" in said.out
    assert f"left out, no scan that it belongs to: {lost}" in said.err
    assert f"left out, no markups belong to it: {root}/sub-01/anat/sub-01_FLAIR.nrrd" in said.err
    assert len(read_cohort_manifest(root)) == 1
    assert str(lost) in caplog.text
    # a mask beside the scan is none, so that the other one is the only scan left
    for suffix in ("FLAIR", "desc-brain_mask"):
        (root / "sub-02" / "anat" / f"sub-02_{suffix}.nrrd").write_bytes(scan.path.read_bytes())
    (root / "sub-02" / "anat" / "sub-02_FLAIR.nrrd").unlink()
    assert [case.name for case in read_cohort_manifest(root)] == ["sub-01_T1w", "sub-02_T1w"]


def test_init_takes_the_series_and_not_the_label_map_beside_it(tmp_path, scan, dicom_series, write_points, capsys):
    series = dicom_series(tmp_path / "data" / "p1", np.zeros((3, 8, 8), dtype=np.int16))
    (series / "old_label.nrrd").write_bytes(scan.path.read_bytes())
    write_points("organ.mrk.json", (5, 8, 8)).rename(series / "organ.mrk.json")
    beside = write_points("organ.mrk.json", (5, 8, 8)).rename(series.parent / "organ.mrk.json")
    write_points("x.mrk.json", (5, 8, 8)).rename(series / "old_label_rib.mrk.json")  # named after the label map itself
    assert main(["cohort", "init", str(tmp_path / "data"), "--output", str(tmp_path / "m.csv")]) == 0
    cases = {case.name: (Path(case.image), case.segments[0].name) for case in read_cohort_manifest(tmp_path / "m.csv")}
    assert cases == {"p1": (series, "organ"), "p1-old_label": (series / "old_label.nrrd", "rib")}
    assert f"left out, no scan that it belongs to: {beside}" in capsys.readouterr().err


@pytest.fixture
def annex(tmp_path, scan, write_points):
    """A BIDS folder as DataLad keeps it: each scan is a link to a file that is named after its contents."""
    root, key = tmp_path / "bids", "MD5E-s9--0123456789abcdef.nrrd"
    place, anat = root / ".git" / "annex" / "objects" / "aa" / key, root / "sub-01" / "anat"
    place.mkdir(parents=True)
    anat.mkdir(parents=True)
    (place / key).write_bytes(scan.path.read_bytes())
    (anat / "sub-01_T1w.nrrd").symlink_to(f"../../.git/annex/objects/aa/{key}/{key}")
    write_points("x.mrk.json", (5, 8, 8)).rename(anat / "sub-01_label-organ_T1w.mrk.json")
    (root / "dataset_description.json").write_text("{}")
    return root


def test_links_keep_the_names_that_they_have(annex, tmp_path):
    image = annex / "sub-01" / "anat" / "sub-01_T1w.nrrd"
    (case,) = read_cohort_manifest(annex)
    assert (case.name, Path(case.image), case.segments[0].name) == ("sub-01_T1w", image, "organ")
    (annex / "dataset_description.json").unlink()
    assert main(["cohort", "init", str(annex), "--output", str(tmp_path / "m.csv")]) == 0
    (case,) = read_cohort_manifest(tmp_path / "m.csv")
    assert Path(case.image).samefile(image)
    assert Path(case.image).name == "sub-01_T1w.nrrd"
    (tmp_path / "m.csv").write_text('image,points_ijk\nbids/sub-01/anat/sub-01_T1w.nrrd,"1,2,3"\n')
    assert [case.name for case in read_cohort_manifest(tmp_path / "m.csv")] == ["sub-01_T1w"]
    image.resolve().unlink()
    with pytest.raises(ManifestError, match=r"sub-01_T1w\.nrrd is a link to a file that is not here"):
        read_cohort_manifest(tmp_path / "m.csv")


def test_a_header_and_its_voxels_may_be_links(tmp_path, scan):
    """Each to a folder of its own: the data lies beside the link to the header, not beside what that leads to."""
    from EfficientMedSAM2Lib.imaging.volumes import read_volume

    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    voxels = scan.array.astype("<i2")
    (tmp_path / "1" / "s.mhd").write_text(
        f"ObjectType = Image\nNDims = 3\nDimSize = {' '.join(map(str, voxels.shape[::-1]))}\n"
        "ElementSpacing = 1 2 5\nElementType = MET_SHORT\nElementByteOrderMSB = False\nElementDataFile = s.raw\n"
    )
    (tmp_path / "2" / "s.raw").write_bytes(voxels.tobytes())
    (tmp_path / "s.mhd").symlink_to("1/s.mhd")
    (tmp_path / "s.raw").symlink_to("2/s.raw")
    (tmp_path / "m.csv").write_text('image,points_ijk\ns.mhd,"1,2,3"\n')
    (case,) = read_cohort_manifest(tmp_path / "m.csv")
    np.testing.assert_array_equal(read_volume(case.image).array, scan.array)


def test_folders_that_are_links_are_entered(tmp_path, scan, write_points):
    real, farm = tmp_path / "real" / "p1", tmp_path / "farm"
    real.mkdir(parents=True)
    farm.mkdir()
    (real / "ct.nrrd").write_bytes(scan.path.read_bytes())
    write_points("x.mrk.json", (5, 8, 8)).rename(real / "ct_organ.mrk.json")
    (farm / "p1").symlink_to("../real/p1")
    (farm / "p1" / "circle").symlink_to(farm)
    assert main(["cohort", "init", str(farm), "--output", str(tmp_path / "m.csv")]) == 0
    assert [(case.name, case.image) for case in read_cohort_manifest(tmp_path / "m.csv")] == [
        ("p1-ct", str(farm / "p1" / "ct.nrrd"))
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no text")
@pytest.mark.parametrize("bids", [False, True])
def test_init_names_the_file_whose_name_is_no_text(tmp_path, scan, write_points, capsys, bids):
    place = tmp_path / "z" / "sub-1"
    place.mkdir(parents=True)
    if bids:
        (tmp_path / "z" / "dataset_description.json").write_text("{}")
    for name in ("sub-1_ct", "sub-1_" + os.fsdecode(b"M\xfcller")):
        (place / f"{name}.nrrd").write_bytes(scan.path.read_bytes())
        write_points("x.mrk.json", (5, 8, 8)).rename(place / f"{name}_organ.mrk.json")
    assert main(["cohort", "init", str(tmp_path / "z"), "--output", str(tmp_path / "m.csv")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "sub-1_M\\xfcller.nrrd (and 1 more) is not UTF-8 text" in said
    assert not (tmp_path / "m.csv").exists()


def test_a_name_in_either_unicode_form_is_one_name(tmp_path, scan, write_points):
    nfc, nfd = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    (tmp_path / f"{nfd}.nrrd").write_bytes(scan.path.read_bytes())
    write_points("x.mrk.json", (5, 8, 8)).rename(tmp_path / f"{nfd}_organ.mrk.json")
    lines = ["image,prompts,segment,points_ijk", f"{nfc}.nrrd,{nfc}_organ.mrk.json,,", f'{nfd}.nrrd,,b,"1,2,3"']
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    (case,) = read_cohort_manifest(tmp_path / "m.csv")
    assert (case.name, [segment.name for segment in case.segments]) == (nfc, [f"{nfc}_organ", "b"])


@pytest.mark.parametrize("image", ["..nii.gz", "...nii.gz", "...", ".nii.gz", ".b.nrrd", "con.nii", "a\\b.nii"])
def test_an_image_that_gives_its_case_no_safe_name_is_refused(folder, image):
    (folder / image).write_bytes(b"x")
    (folder / "m.csv").write_text(f'image,points_ijk\n"{image}","1,2,3"\n')
    with pytest.raises(ManifestError, match="cannot be the name of a folder"):
        read_cohort_manifest(folder / "m.csv")


def test_every_column_is_documented():
    from EfficientMedSAM2Lib.cohort.manifest.rows import COLUMNS

    text = (Path(__file__).resolve().parents[3] / "docs" / "COHORT.md").read_text(encoding="utf-8")
    manifest = text.partition("## What comes out")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", manifest, re.MULTILINE)) == set(COLUMNS)


def test_the_documented_manifest_is_one(tmp_path, scan, write_points):
    text = (Path(__file__).resolve().parents[3] / "docs" / "COHORT.md").read_text(encoding="utf-8")
    for patient in ("p001", "p002"):
        (tmp_path / patient).mkdir()
        write_points("liver.mrk.json", (5, 8, 8)).rename(tmp_path / patient / "liver.mrk.json")
    (tmp_path / "p001" / "ct.nii.gz").write_bytes(b"")
    (tmp_path / "p002" / "dicom").mkdir()
    (tmp_path / "m.csv").write_text(re.findall(r"```csv\n(.*?)```", text, re.DOTALL)[0])
    cases = read_cohort_manifest(tmp_path / "m.csv")
    assert [[segment.name for segment in case.segments] for case in cases] == [["liver", "tumour"], ["liver"]]
