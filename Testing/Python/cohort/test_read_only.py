"""Folders that may be read only: one line that says so, before any work; nothing is left there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
#: Root may write anywhere by these capabilities; util-linux's setpriv starts a command without them.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def run(*arguments):
    """The command for somebody who may not write everywhere."""
    if os.geteuid() == 0 and shutil.which(AS_ANYBODY[0]) is None:
        pytest.skip("root may write anywhere, and there is no setpriv here")
    plain = AS_ANYBODY if os.geteuid() == 0 else []
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [*plain, sys.executable, "-m", "EfficientMedSAM2Lib.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="rights of folders are others there")
def test_a_folder_that_may_only_be_read(tmp_path, cohort):
    place = tmp_path / "read-only"
    place.mkdir()
    cohort.add("a")
    cohort.run()
    shutil.copytree(cohort.output, place / "done")
    shutil.copy(cohort.folder / "a.nrrd", place / "a.nrrd")
    (place / "m.csv").write_text('case,image,segment,points_ijk\na,a.nrrd,block,"3,3,2"\n')
    for path in (place, *place.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(place.rglob("*"))
    for command, unwritable in (
        (("cohort", "run", place / "m.csv", "--output", place / "new", "--quiet"), place / "new"),
        (("cohort", "run", place / "m.csv", "--output", place / "done", "--quiet"), place / "done"),
        (("cohort", "review", place / "done"), place / "done" / "ledger.sqlite"),
        (("cohort", "accept", place / "done"), place / "done" / "ledger.sqlite"),
    ):
        ended = run(*command)
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"efficient-medsam2: Cannot write {'to ' if 'run' in command else ''}{unwritable}"), line
        assert (ended.returncode, ended.stdout) == (2, "")
    assert sorted(place.rglob("*")) == before
    for path in (place, *(path for path in before if path.is_dir())):
        path.chmod(0o755)
