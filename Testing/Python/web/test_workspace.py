"""Bounds and checks of uploads, messages without paths, addresses that are local: without a browser."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from EfficientMedSAM2Lib.interaction import BoxPrompt, LinePrompt, Origin, PointPrompt
from EfficientMedSAM2Lib.web.session.uploads import check_upload
from EfficientMedSAM2Lib.web.session.workspace import MAX_FILES, TooLarge, Workspace, file_name

MEGABYTE = 2**20


@pytest.fixture
def workspace(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    return Workspace(folder, MEGABYTE)


def receive(inbox, name, content):
    path = inbox.create(name)
    inbox.count(len(content))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\scans\\a b.nii", "a b.nii"),
        ("..", "file"),
        ("x/ä;rm -rf.nii", "ä_rm -rf.nii"),
    ],
)
def test_names_never_leave_the_folder(workspace, sent, kept):
    path = workspace.inbox().create(sent)
    assert path.name == kept
    assert path.parent == workspace.folder / "upload"


def test_files_of_one_name_are_kept_apart(workspace):
    inbox = workspace.inbox()
    first, second = receive(inbox, "a/IM0", b"1"), receive(inbox, "b/IM0", b"2")
    assert first.read_bytes() == b"1"
    assert second.read_bytes() == b"2"


def test_an_upload_ends_at_its_limit(workspace):
    inbox = workspace.inbox()
    inbox.count(MEGABYTE)
    with pytest.raises(TooLarge, match="1 MB"):
        inbox.count(1)
    for n in range(MAX_FILES):
        inbox.create(f"{n}")
    with pytest.raises(TooLarge, match=str(MAX_FILES)):
        inbox.create("one more")


def test_an_archive_that_lies_about_its_size_is_refused(workspace, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.dcm", bytes(8 * MEGABYTE))
    inbox = workspace.inbox()
    receive(inbox, "a.zip", archive.read_bytes())
    with pytest.raises(TooLarge, match="unpacks to"):
        check_upload(inbox.workspace, inbox.files)
    content = archive.read_bytes().replace((8 * MEGABYTE).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    inbox = workspace.inbox()
    receive(inbox, "a.zip", content)
    with pytest.raises(ValueError, match=r"archive|not an image"):
        check_upload(inbox.workspace, inbox.files)
    assert sum(file.stat().st_size for file in workspace.folder.rglob("*.dcm")) <= 2 * MEGABYTE


def test_voxels_that_do_not_fit_into_memory_are_refused_by_the_header(workspace):
    inbox = workspace.inbox()
    header = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2000 2000 2000\nencoding: raw\nendian: little\n\n"
    receive(inbox, "a.nrrd", header)
    with pytest.raises(TooLarge, match="in memory"):
        check_upload(inbox.workspace, inbox.files)


def test_prompts_are_small_and_come_alone_or_beside_what_they_belong_to(workspace, tmp_path):
    inbox = workspace.inbox()
    receive(inbox, "a/heart.mrk.json", b"{}")
    receive(inbox, "b/heart.MRK.JSON", b"{}")
    upload = check_upload(inbox.workspace, inbox.files)
    assert [path.name.lower() for path in upload.markups] == ["heart.mrk.json", "heart.mrk.json"]
    assert upload.scan is None
    assert upload.segmentation is None
    archive = tmp_path / "prompts.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../liver.mrk.json", "{}")
    inbox = workspace.inbox()
    receive(inbox, "prompts.zip", archive.read_bytes())
    (path,) = check_upload(inbox.workspace, inbox.files).markups
    assert path.parent == workspace.folder / "unpacked"
    header = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: raw\nendian: little\n\n" + bytes(16)
    inbox = workspace.inbox()
    for name, content in (("a.nrrd", header), ("a.seg.nrrd", header), ("prompts.zip", archive.read_bytes())):
        receive(inbox, name, content)
    upload = check_upload(inbox.workspace, inbox.files)
    assert [upload.scan.name, upload.segmentation.name] == ["a.nrrd", "a.seg.nrrd"]
    assert [path.name for path in upload.markups] == ["liver.mrk.json"]
    inbox = Workspace(workspace.folder, 100 * MEGABYTE).inbox()
    receive(inbox, "a.mrk.json", bytes(9 * MEGABYTE))
    with pytest.raises(TooLarge, match="too large for prompts"):
        check_upload(inbox.workspace, inbox.files)


def test_messages_tell_no_path(workspace):
    text = workspace.without_paths(f"{workspace.folder}/upload/scan.nii cannot be read (see /usr/lib/python3/x.py).")
    assert text == "scan.nii cannot be read (see x.py)."
    assert workspace.without_paths("3 of 4 slices, 1.5 s/slice") == "3 of 4 slices, 1.5 s/slice"


def test_a_new_upload_removes_the_one_before(workspace):
    receive(workspace.inbox(), "a.nii", b"1")
    workspace.inbox()
    assert not list(workspace.folder.rglob("*.nii"))


def test_names_of_downloads_are_harmless():
    assert file_name('a/b"\r\n: c', ".nii.gz") == "a_b_ c.nii.gz"
    assert file_name("", ".nii.gz") == "volume.nii.gz"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.8.8.8", True),
        ("0.0.0.0", False),
        ("::", False),
        ("localhost.evil.example", False),
        ("192.168.0.2", False),
        ("", False),
    ],
)
def test_only_loopback_needs_no_token(host, local):
    access = pytest.importorskip("EfficientMedSAM2Lib.web.gateway.access", reason="needs aiohttp", exc_type=ImportError)
    assert access.is_loopback(host) is local
    access.check_host(host, "token")
    if not local:
        with pytest.raises(ValueError, match="--token"):
            access.check_host(host, None)


def test_prompts_become_markups_that_are_read_as_the_same(tmp_path):
    pytest.importorskip("slicer", reason="needs PyPI's slicer-core")
    from EfficientMedSAM2Lib.core.geometry import box_to_roi, roi_corners_ras
    from EfficientMedSAM2Lib.imaging.markups import read_markups, write_markups
    from EfficientMedSAM2Lib.web.session.exports import to_markups

    affine = np.diag([-1.0, -2.0, 3.0, 1.0])
    corners = roi_corners_ras(*box_to_roi([[2, 3], [4, 9], [5, 7]], affine))
    prompts = [
        PointPrompt((1, 1, 1), True, 0, Origin(((1.0, 2.0, 3.0),))),
        PointPrompt((1, 1, 1), False, 1, Origin(((4.0, 5.0, 6.0),))),
        BoxPrompt(((2, 3), (4, 9), (5, 7)), True, 0, Origin(tuple(map(tuple, corners)))),
        BoxPrompt(((2, 3), (4, 9), (5, 7)), False, 2, Origin(tuple(map(tuple, corners)))),
        LinePrompt((0, 0, 0), (0, 4, 3), 0, Origin(((0.0, 0.0, 0.0), (3.0, 4.0, 0.0)))),
    ]
    write_markups(tmp_path / "p.mrk.json", to_markups(prompts, affine))
    markups = read_markups(tmp_path / "p.mrk.json")
    said = [(markup.kind, markup.positive, markup.planes) for markup in markups]
    assert said == [
        ("box", (True,), ("axial",)),
        ("box", (False,), ("sagittal",)),
        ("line", (True, True), ("axial",)),
        ("point", (True, False), ("axial", "coronal")),
    ]
    kinds = {markup.kind: markup for markup in reversed(markups)}
    again = roi_corners_ras(kinds["box"].object_to_world, kinds["box"].size)
    assert np.allclose(np.sort(again, axis=0), np.sort(corners, axis=0), atol=1e-6)
