"""Headers that name another file of the machine as their voxels: it is never shown."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from EfficientMedSAM2Lib.imaging.segmentations import read_segmentation
from EfficientMedSAM2Lib.imaging.volumes import read_volume

SECRET = bytes(range(64))
META = b"ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
NRRD = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
#: %s is the path of the secret.
HOSTILE = {
    "absolute.mha": META + b"ElementDataFile = %s\n",
    "parent.mhd": META + b"ElementDataFile = ../secret\n",
    "comment.mha": META + b"Comment = ElementDataFile = LOCAL\nElementDataFile : %s\n",
    "zero.mha": META + b"ElementDataFile\0x = %s\n",
    "line.mha": META + b"ElementDataFile\n = %s\n",
    "list.mhd": META + b"ElementDataFile = LIST\n%s\n%s\n%s\n%s\n",
    "link.mhd": META + b"ElementDataFile = link.raw\n",
    "pattern.mhd": META + b"ElementDataFile = ../secret%%d 1 1 1\n",
    "absolute.nrrd": NRRD + b"data file: %s\n\n",
    "absolute.seg.nrrd": NRRD + b"data file: %s\n\n",
    "parent.nhdr": NRRD + b"datafile: ../secret\n\n",
    "capitals.nrrd": NRRD + b"DATA FILE: %s\n\n",
    "return.nrrd": NRRD + b"comment:=x\rdata file: %s\n\n",
    "key.nrrd": NRRD + b"data file:=%s\n\n",
    "letters.nrrd": NRRD + b"da\xffta file: %s\n\n",
    "list.nhdr": NRRD + b"data file: LIST\n%s\n",
    "pattern.nhdr": NRRD + b"data file: ../secret%%d 1 1 1 3\n",
    "link.nhdr": NRRD + b"data file: ./link.raw\n\n",
    "stdin.nhdr": NRRD + b"data file: -\n\n",
    # DICM at byte 128: DICOM to one reader, and not to another
    "dicom.nrrd": (NRRD + b"data file: ../secret\n#").ljust(128, b"#") + b"DICM\n\n",
}
TEXT = """<nifti_image
  nifti_type = 'NIFTI-1A' image_filename = '{secret}' image_offset = '0'
  ndim = '3' nx = '4' ny = '4' nz = '4' dx = '1' dy = '1' dz = '1' datatype = '2' nvox = '64' nbyper = '1'
  descrip = '"""


@pytest.fixture
def folder(tmp_path):
    """A folder as of an upload, with a secret beside it."""
    for name in ("secret", "secret1"):
        (tmp_path / name).write_bytes(SECRET)
    made = tmp_path / "upload"
    made.mkdir()
    (made / "link.raw").symlink_to(tmp_path / "secret")
    return made


def hostile(folder, name):
    secret = bytes(folder.parent / "secret")
    (folder / name).write_bytes(HOSTILE[name].replace(b"%%", b"%").replace(b"%s", secret))
    return folder / name


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_no_other_file_is_read(folder, name):
    path = hostile(folder, name)
    with pytest.raises(ValueError, match=r"voxels from|cannot be read"):
        read_volume(path)
    with pytest.raises(ValueError, match=r"voxels from|cannot be read"):
        read_segmentation(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".hdr"])
@pytest.mark.parametrize("magic", ["n+1\0", "ni1\0"])
def test_nifti_as_text_is_refused(folder, ending, magic):
    """The header is text for one part of the reader, and has the magic number of a binary one for another."""
    text = TEXT.format(secret=folder.parent / "secret")
    path = folder / f"text{ending}"
    content = (text.ljust(344, "x") + magic + "' />\n").encode()
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    with pytest.raises(ValueError, match="written as text"):
        read_volume(path)


def test_hdf5_is_not_read_under_any_name(folder):
    """It follows links to other files inside of it."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.zeros((4, 4, 4), np.uint8))
    sitk.WriteImage(image, str(folder / "image.h5"))
    (folder / "image.h5").rename(folder / "image.nrrd")
    with pytest.raises(ValueError, match="no format"):
        read_volume(folder / "image.nrrd")


@pytest.mark.parametrize(
    ("name", "header", "files"),
    [
        ("scan.mhd", META + b"ElementDataFile = my scan.raw\n", ["my scan.raw"]),
        ("scan.mhd", META + b"ElementDataFile = LIST\na0\na1\na2\na3\n", ["a0", "a1", "a2", "a3"]),
        ("scan.mhd", META + b"ElementDataFile = a%02d.raw 1 4 1\n", [f"a0{n}.raw" for n in (1, 2, 3, 4)]),
        ("scan.nhdr", NRRD + b"data file: scan.raw\n\n", ["scan.raw"]),
        ("scan.nhdr", NRRD + b"data file: ./scan.raw\n", ["scan.raw"]),
        ("scan.nhdr", NRRD + b"data file: LIST\na0\na1\na2\na3\n", ["a0", "a1", "a2", "a3"]),
        ("scan.nhdr", NRRD + b"data file: a%d.raw 1 4 1 2\n", [f"a{n}.raw" for n in (1, 2, 3, 4)]),
        ("scan.mha", META + b"ElementDataFile = LOCAL\n" + SECRET, []),
        ("scan.nrrd", NRRD + b"\n" + SECRET, []),
    ],
)
def test_files_beside_it_are_read(tmp_path, name, header, files):
    (tmp_path / name).write_bytes(header)
    size = len(SECRET) // max(1, len(files))
    for number, file in enumerate(files):
        (tmp_path / file).write_bytes(SECRET[number * size : (number + 1) * size])
    assert read_volume(tmp_path / name).array.tobytes() == SECRET


def test_the_size_of_a_scan_is_not_asked_of_another_file(folder):
    from EfficientMedSAM2Lib.cohort.worker.memory import volume_bytes

    assert volume_bytes(str(hostile(folder, "absolute.mha"))) == 0


@pytest.mark.parametrize("count", [b"2000000000", b"+2000000000", b"0000000000000000000000002000000000", b"-1"])
def test_a_header_with_billions_of_axes_is_refused_at_once(tmp_path, count):
    path = tmp_path / "axes.mha"
    path.write_bytes(META.replace(b"NDims = 3", b"NDims = " + count) + b"ElementDataFile = LOCAL\n" + SECRET)
    with pytest.raises(ValueError, match="number of axes"):
        read_volume(path)
