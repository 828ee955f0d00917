"""Files appear whole under the name that was asked for, or what was there before stays."""

from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import pytest

from EfficientMedSAM2Lib.core.files import check_component, existing, readable_name, replacing, walk


def test_what_was_written_gets_the_name(tmp_path):
    with replacing(tmp_path / "a.csv") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.csv").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(lambda path: None, id="nothing written"),
        pytest.param(lambda path: path.touch(), id="an empty file, as of a library that overlooks a full disk"),
        pytest.param(lambda path: (path.write_text("half"), os.close(-1)), id="a system error"),
    ],
)
def test_the_older_file_stays_when_writing_fails(tmp_path, fail):
    (tmp_path / "a.nrrd").write_text("old")
    with pytest.raises(ValueError, match=r"Cannot write .*a\.nrrd"), replacing(tmp_path / "a.nrrd") as temporary:
        fail(temporary)
    assert (tmp_path / "a.nrrd").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]


def test_a_disk_that_is_full_only_at_the_end_is_noticed(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "a.nrrd").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="No space left"), replacing(tmp_path / "a.nrrd") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.nrrd").read_text() == "old"


def test_a_file_that_reads_back_as_something_else_does_not_get_the_name(tmp_path):
    def check(path: Path) -> None:
        if path.read_text() != "meant":
            raise ValueError("it is not what was meant")

    (tmp_path / "a.nrrd").write_text("old")
    with pytest.raises(ValueError, match="not what was meant"), replacing(tmp_path / "a.nrrd", check) as temporary:
        temporary.write_text("other")
    assert (tmp_path / "a.nrrd").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nrrd"]


def test_the_longest_names_are_written_and_longer_ones_refused_in_one_line(tmp_path):
    for stem in ("o" * 246, "肝" * 82):
        with replacing(tmp_path / f"{stem}.seg.nrrd") as temporary:
            temporary.write_text("x")
            assert temporary.name.endswith(".seg.nrrd")
        assert (tmp_path / f"{stem}.seg.nrrd").exists()
    with (
        pytest.raises(ValueError, match="256 bytes, and 255 is the most"),
        replacing(tmp_path / f"{'o' * 247}.seg.nrrd") as temporary,
    ):
        temporary.write_text("x")


def test_the_temporary_name_ends_in_lower_case_for_writers_that_know_no_other(tmp_path):
    with replacing(tmp_path / "O.NII.GZ") as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("x")
    assert (tmp_path / "O.NII.GZ").exists()


def test_a_name_is_found_in_either_unicode_form(tmp_path):
    (tmp_path / unicodedata.normalize("NFD", "Müller")).mkdir()
    written = tmp_path / unicodedata.normalize("NFD", "Müller") / unicodedata.normalize("NFC", "é.nii")
    written.touch()
    asked = tmp_path / unicodedata.normalize("NFC", "Müller") / unicodedata.normalize("NFD", "é.nii")
    assert existing(asked).samefile(written)
    assert existing(tmp_path / "none.nii") == tmp_path / "none.nii"


def test_a_name_that_is_no_text_can_be_said():
    assert readable_name(os.fsdecode(b"M\xfcller.nii")) == "M\\xfcller.nii"
    assert readable_name("Müller.nii") == "Müller.nii"


@pytest.mark.parametrize(
    "name",
    [
        *[
            "",
            ".",
            "..",
            "...",
            ".hidden",
            "a/b",
            "a\\b",
            "a:b",
            "dot.",
            "end ",
            " begin",
            "tab\there",
            "con",
            "NUL.nii",
            "*",
        ],
        "x" * 101,
        "肝" * 70,
        "M\udcfcr",
    ],
)
def test_names_that_would_leave_their_folder_or_be_none_are_refused(name):
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        check_component(name)


def test_a_component_is_the_same_in_both_unicode_forms():
    assert check_component(unicodedata.normalize("NFD", "Müller 1")) == unicodedata.normalize("NFC", "Müller 1")


def test_links_are_followed_once_and_keep_their_names(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "key").touch()
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "b" / "scan.nii").symlink_to(tmp_path / "outside" / "key")
    (root / "a").symlink_to(root / "b")  # a second way to b
    (root / "b" / "up").symlink_to(root)  # a circle
    (root / "c").symlink_to(tmp_path / "outside")
    (root / ".git").mkdir()
    (root / ".git" / "x").touch()
    found = {str(here.relative_to(root)): [path.name for path in files] for here, files in walk(root)}
    assert found == {".": [], "b": ["scan.nii"], "c": ["key"]}
