"""`efficient-medsam2 segment`: what it writes, and how it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from EfficientMedSAM2Lib.cli import main


@pytest.fixture
def segment(scan, point, weights, tmp_path, capsys):
    """Run the command in this process with defaults that work; what it said and wrote."""

    def run(*extra, volume=scan, prompts=(point,), output=None, weights=weights):
        output = output or tmp_path / "out.seg.nrrd"
        files = set(tmp_path.rglob("*"))
        chosen = [part for path in prompts for part in ("--prompts", str(path))]
        code = main(["segment", str(volume), *chosen, "--output", str(output), "--weights", str(weights), *extra])
        said = capsys.readouterr()
        return code, said.out, said.err, sorted(path.name for path in set(tmp_path.rglob("*")) - files)

    return run


def test_a_segmentation_and_a_preview_are_written(segment, scan, tmp_path):
    import SimpleITK as sitk

    code, out, _, new = segment("--preview", str(tmp_path / "out.png"), "--name", "tumour")
    assert code == 0
    assert new == ["out.png", "out.seg.nrrd"]
    assert out.startswith("tumour: ")
    assert out.splitlines()[-1] == str(tmp_path / "out.seg.nrrd")
    result = sitk.ReadImage(str(tmp_path / "out.seg.nrrd"))
    assert result.GetSize() == sitk.ReadImage(str(scan)).GetSize()
    assert result.GetMetaData("Segment0_Name") == "tumour"
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"


def test_a_label_map_by_its_ending(segment, scan, tmp_path):
    import SimpleITK as sitk

    code, *_ = segment("--propagate", "none", "--quiet", output=tmp_path / "out.nii.gz")
    assert code == 0
    labels = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    assert np.allclose(labels.GetSpacing(), (1, 1, 3))
    assert set(np.unique(sitk.GetArrayViewFromImage(labels))) <= {0, 1}


@pytest.mark.parametrize("name", ["O.NII.GZ", "O.MHA", f"{'o' * 246}.seg.nrrd", f"{'o' * 248}.nii.gz"])
def test_names_as_they_come(segment, tmp_path, name):
    name = name[-255:]
    code, _, err, new = segment("--propagate", "none", "--quiet", output=tmp_path / name)
    assert (code, err, new) == (0, "", [name])


def test_of_segments_that_overlap_a_label_map_keeps_one_and_the_summary_is_about_the_file(
    segment, point, tmp_path, monkeypatch
):
    import SimpleITK as sitk

    from EfficientMedSAM2Lib.commands import segment as segment_command
    from EfficientMedSAM2Lib.pipeline.case import SegmentResult

    organ, lesion = np.zeros((8, 32, 32), bool), np.zeros((8, 32, 32), bool)
    organ[2:6, 8:24, 8:24], lesion[3:5, 10:14, 10:14] = True, True
    results = [SegmentResult(name, mask, {3: 0.9}, 0) for name, mask in (("lesion", lesion), ("organ", organ))]

    def found(session, volume, *_arguments):
        session.set_image(volume.array, volume.ijk_to_ras)
        return results

    monkeypatch.setattr(segment_command, "segment_case", found)
    output = tmp_path / "out.nii.gz"
    code, out, err, _ = segment("--name", "lesion", "--name", "organ", prompts=(point, point), output=output)
    assert code == 0
    assert "'organ' overlaps 'lesion' in 32 of its 1024 voxels; a label map holds each voxel once" in err
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(output)))
    assert [int((labels == label).sum()) for label in (1, 2)] == [32, 992]
    assert out.startswith("lesion (label 1): 0.1 ml, slices 3 to 4")
    assert "organ (label 2): 3.0 ml, slices 2 to 5" in out
    results[0] = SegmentResult("lesion", organ, {3: 0.9}, 0)
    code, out, _, _ = segment("--name", "lesion", "--name", "organ", prompts=(point, point), output=output)
    assert out.startswith("lesion (label 1): empty. All of its voxels are those of a smaller segment.")


def test_quiet_says_nothing(segment):
    code, out, err, _ = segment("--quiet")
    assert (code, out, err) == (0, "", "")


def test_progress_shows_slices_rate_and_time_left(segment):
    code, _, err, _ = segment("--no-stop-when-lost")
    assert code == 0
    assert "7/7" in err
    assert "slice/s" in err or "s/slice" in err


@pytest.mark.parametrize("window", ["-100,300", "lung"])
def test_windows_reach_the_session(segment, monkeypatch, window):
    from EfficientMedSAM2Lib.commands import segment as segment_command
    from EfficientMedSAM2Lib.core.windows import PRESETS

    seen = {}
    real = segment_command.segment_case

    def watch(session, *arguments):
        results = real(session, *arguments)
        seen["window"] = session.window
        return results

    monkeypatch.setattr(segment_command, "segment_case", watch)
    assert segment("--window", window, "--propagate", "none")[0] == 0
    low, high = (-100.0, 300.0) if "," in window else (PRESETS["lung"].low, PRESETS["lung"].high)
    assert (seen["window"].low, seen["window"].high) == (low, high)


def bad_inputs(tmp_path, write_markup, scan):
    """Names of bad inputs -> arguments of `segment` and a word that the message must have."""
    text = tmp_path / "notes.txt"
    text.write_text("not an image")
    broken = tmp_path / "broken.mrk.json"
    broken.write_text("{")
    fake_weights = tmp_path / "fake.safetensors"
    fake_weights.write_bytes(b"not weights")
    outside = {"label": "F-1", "position": [500.0, 16.0, 12.0], "positionStatus": "defined"}
    roi = {"type": "ROI", "roiType": "Box", "orientation": [-1, 0, 0, 0, -1, 0, 0, 0, 1], "controlPoints": []}
    folder = tmp_path / "folder.seg.nrrd"
    folder.mkdir()
    empty_folder = tmp_path / "empty"
    empty_folder.mkdir()
    return {
        "missing volume": ({"volume": tmp_path / "none.nii"}, (), "none.nii"),
        "not an image": ({"volume": text}, (), "notes.txt"),
        "folder without DICOM": ({"volume": empty_folder}, (), "DICOM"),
        "missing prompts": ({"prompts": [tmp_path / "none.mrk.json"]}, (), "none.mrk.json"),
        "broken prompts": ({"prompts": [broken]}, (), "broken.mrk.json"),
        "empty prompts": ({"prompts": [write_markup("e.mrk.json", type="Fiducial", controlPoints=[])]}, (), "no point"),
        "point outside": (
            {"prompts": [write_markup("o.mrk.json", type="Fiducial", controlPoints=[outside])]},
            (),
            "outside",
        ),
        "box outside": (
            {"prompts": [write_markup("b.mrk.json", center=[900, 0, 0], size=[9, 9, 9], **roi)]},
            (),
            "outside",
        ),
        "box of zero size": (
            {"prompts": [write_markup("z.mrk.json", center=[16, 16, 12], size=[0, 0, 0], **roi)]},
            (),
            "size",
        ),
        "missing weights": ({"weights": tmp_path / "none.safetensors"}, (), "none.safetensors"),
        "wrong weights": ({"weights": fake_weights}, (), "fake.safetensors"),
        "other encoder": ({}, ("--encoder", "efficientnet"), "mobilenet"),
        "unknown encoder": ({}, ("--encoder", "vgg"), "vgg"),
        "unknown device": ({}, ("--device", "toaster"), "toaster"),
        "unknown window": ({}, ("--window", "liverish"), "liverish"),
        "window of words": ({}, ("--window", "a,b"), "a,b"),
        "reversed window": ({}, ("--window", "300,100"), "window"),
        "range of zero": ({}, ("--range-mm", "0"), "range"),
        "range without end": ({}, ("--range-mm", "inf"), "leave it out"),
        "range that is no number": ({}, ("--range-mm", "nan"), "range"),
        "time point of one volume": ({}, ("--time-point", "7"), "time point"),
        "name too long for a file": ({"output": tmp_path / f"{'o' * 250}.nii.gz"}, (), "257 bytes"),
        "too many names": ({}, ("--name", "a", "--name", "b"), "names"),
        "missing output folder": ({"output": tmp_path / "none" / "out.seg.nrrd"}, (), "out.seg.nrrd"),
        "output folder is a file": ({"output": text / "out.seg.nrrd"}, (), "out.seg.nrrd"),
        "output is a folder": ({"output": folder}, (), "folder"),
        "output of unknown kind": ({"output": tmp_path / "out.jpg"}, (), ".seg.nrrd"),
        "output is the scan": ({"output": scan}, (), "scan"),
        "preview of unknown kind": ({}, ("--preview", str(tmp_path / "p.gif")), ".png"),
    }


CASES = (
    "missing volume",
    "not an image",
    "folder without DICOM",
    "missing prompts",
    "broken prompts",
    "empty prompts",
    "point outside",
    "box outside",
    "box of zero size",
    "missing weights",
    "wrong weights",
    "other encoder",
    "unknown encoder",
    "unknown device",
    "unknown window",
    "window of words",
    "reversed window",
    "range of zero",
    "range without end",
    "range that is no number",
    "time point of one volume",
    "name too long for a file",
    "too many names",
    "missing output folder",
    "output folder is a file",
    "output is a folder",
    "output of unknown kind",
    "output is the scan",
    "preview of unknown kind",
)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_leaves_nothing(segment, tmp_path, write_markup, scan, name):
    cases = bad_inputs(tmp_path, write_markup, scan)
    assert set(cases) == set(CASES)
    arguments, extra, word = cases[name]
    before = scan.read_bytes()
    code, out, err, new = segment(*extra, **arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("efficient-medsam2: ")
    assert err.count("\n") == 1
    assert word in err
    assert new == []
    assert scan.read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["fly"], ["segment"], ["segment", "x", "--propagate", "up"]])
def test_bad_usage_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_older_result_survives_a_failure(segment, tmp_path):
    output = tmp_path / "out.seg.nrrd"
    output.write_text("the result of yesterday")
    assert segment("--window", "300,100")[0] == 2
    assert output.read_text() == "the result of yesterday"


@pytest.mark.parametrize(
    ("error", "said"), [(KeyboardInterrupt(), "cancelled"), (RuntimeError("out of\nluck"), "RuntimeError: out of luck")]
)
def test_a_break_in_the_middle_is_one_line_and_leaves_nothing(segment, monkeypatch, error, said):
    from EfficientMedSAM2Lib.commands import segment as segment_command

    def breaking_bar(updates, segment):
        yield next(updates)
        raise error

    monkeypatch.setattr(segment_command, "progress_bar", breaking_bar)
    code, out, err, new = segment("--no-stop-when-lost")
    assert code == 1
    assert said in err
    assert err.count("\n") == 1
    assert (out, new) == ("", [])


def test_help_is_light(tmp_path):
    code = (
        "import sys; from EfficientMedSAM2Lib.cli import main\n"
        "try: main(['segment', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'timm', 'SimpleITK', 'slicerio', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "--stop-when-lost" in done.stdout


@pytest.mark.slow
def test_the_installed_command_runs(scan, point, weights, tmp_path):
    """As a user starts it: another process, and nothing but the summary on stdout."""
    command = [sys.executable, "-m", "EfficientMedSAM2Lib.cli", "segment", scan, "--prompts", point]
    command += ["--output", tmp_path / "out.nrrd", "--weights", weights, "--propagate", "none"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ball: ")
