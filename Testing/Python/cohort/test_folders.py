"""The folder of a case: nothing outside it is ever touched, and nothing that somebody put into it is lost."""

from __future__ import annotations

import hashlib
import json

import pytest

from EfficientMedSAM2Lib.cohort.records.folders import RECORD, case_folder, changed_by_hand, finished_record


def write_case(output, name, text="result"):
    with case_folder(output, name) as folder:
        (folder / "a.txt").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        (folder / RECORD).write_text(json.dumps({"key": "k", "files": {"a.txt": digest}}))


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/../b", "/tmp"])
def test_a_name_that_leads_elsewhere_touches_nothing(tmp_path, name):
    write_case(tmp_path, "one")
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        write_case(tmp_path, name)
    with pytest.raises(ValueError, match="cannot be the name of a folder"):
        finished_record(tmp_path, name, "k")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_run_again_replaces_its_own_files(tmp_path):
    write_case(tmp_path, "one")
    write_case(tmp_path, "one", "better")
    assert (tmp_path / "cases" / "one" / "a.txt").read_text() == "better"
    assert not (tmp_path / "corrected").exists()


@pytest.mark.parametrize("file", ["notes.txt", "a.txt", RECORD])
def test_what_a_reader_put_or_changed_there_is_kept(tmp_path, file):
    """A note beside the results, a result that was changed, and a folder whose record nobody here wrote."""
    write_case(tmp_path, "one")
    (tmp_path / "cases" / "one" / file).write_text("mine")
    assert changed_by_hand(tmp_path / "cases" / "one")
    write_case(tmp_path, "one", "better")
    (kept,) = (tmp_path / "corrected").iterdir()
    assert (kept / file).read_text() == "mine"
    assert (tmp_path / "cases" / "one" / "a.txt").read_text() == "better"


def test_a_folder_without_a_record_is_kept(tmp_path):
    (tmp_path / "cases" / "one").mkdir(parents=True)
    (tmp_path / "cases" / "one" / "theirs.txt").write_text("mine")
    write_case(tmp_path, "one")
    (kept,) = (tmp_path / "corrected").iterdir()
    assert (kept / "theirs.txt").read_text() == "mine"
