"""Files that come in through the browser: formats, wrong ones, too large ones."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.browser


def refused(user, *files):
    text = user.send(*files)
    assert "error" in user.page.get_attribute("#transfer", "class")
    assert "/" not in text.replace("MHA/MHD", "")  # no path of the server
    return text


def write_image(path, shape=(20, 40, 50), dtype=np.int16):
    import SimpleITK as sitk

    image = sitk.GetImageFromArray((np.indices(shape).sum(axis=0) % 200).astype(dtype))
    image.SetSpacing((1.0, 1.5, 3.0))
    sitk.WriteImage(image, str(path))
    return path


def write_dicom(folder, count=6):
    import SimpleITK as sitk

    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(count):
        image = sitk.GetImageFromArray(np.full((32, 32), 10 * k, dtype=np.int16))
        for tag, value in {
            "0008|0060": "MR", "0020|000e": "1.2.3.4", "0020|000d": "1.2.3", "0008|0018": f"1.2.3.4.{k}",
            "0020|0032": f"0\\0\\{4 * k}", "0020|0037": "1\\0\\0\\0\\1\\0", "0020|0013": str(k),
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
        }.items():  # fmt: skip
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"slice{k}.dcm"))
        writer.Execute(image)
    return folder


def test_a_nifti_file_is_opened(user, tmp_path):
    assert "scan.nii.gz is open" in user.send(write_image(tmp_path / "scan.nii.gz"))
    user.wait("volume_name", "value === 'scan'")
    assert user.state("volume_text").startswith("50 × 40 × 20 voxels, 1 × 1.5 × 3 mm")


def test_a_dicom_series_is_opened_as_files_and_as_an_archive(user, tmp_path):
    files = sorted(write_dicom(tmp_path / "series").iterdir())
    user.send(*files)
    user.wait("volume_text", "value.startsWith('32 × 32 × 6')")
    archive = tmp_path / "study.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in files:
            opened.write(file, f"patient/../../series/{file.name}")
        opened.writestr("patient/README.txt", "no image")
    assert "study is open" in user.send(archive)
    user.wait("volume_name", "value === 'study'")


def test_wrong_files_are_refused_and_nothing_is_lost(sample, tmp_path):
    user = sample
    volume = user.draw_box()
    text, broken, empty = (tmp_path / name for name in ("notes.txt", "scan.nii.gz", "empty.nrrd"))
    text.write_text("no image\n" * 50)
    write_image(broken)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    empty.write_bytes(b"")
    assert "not an image" in refused(user, text)
    assert "scan.nii.gz" in refused(user, broken)
    assert "Nothing was sent" in refused(user, empty)
    archive = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.txt", "no image")
    refused(user, archive)
    assert user.state("volume_name") == "CTChest4"
    assert user.volume() == volume
    user.picture("refused")


def test_too_large_files_are_refused(sample, tmp_path, gateway):
    from web_desk import MAX_UPLOAD_MB

    user = sample
    large = tmp_path / "large.nrrd"
    large.write_bytes(bytes((MAX_UPLOAD_MB + 3) * 2**20))
    assert f"larger than {MAX_UPLOAD_MB} MB" in refused(user, large)
    # the page only saves the way: the server refuses by itself
    status, text = user.page.evaluate(
        """async size => {
            const form = new FormData();
            form.append("file", new Blob([new Uint8Array(size)]), "large.nrrd");
            const answer = await fetch("upload", {method: "POST", body: form});
            return [answer.status, await answer.text()];
        }""",
        large.stat().st_size,
    )
    assert status == 413
    assert "limit" in text
    # small to send, but not in memory: 2000 x 2000 x 2000 voxels announced by a header
    bomb = tmp_path / "bomb.nrrd"
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2000 2000 2000\nencoding: gzip\nendian: little\n\n"
    bomb.write_bytes(header.encode() + bytes(100))
    assert "in memory" in refused(user, bomb)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.dcm", bytes(5 * MAX_UPLOAD_MB * 2**20))
    assert "unpacks to" in refused(user, archive)
    assert all(not list(folder.iterdir()) for folder in gateway.folders())
    assert user.state("volume_name") == "CTChest4"
