"""What a command prints never costs its result: encodings, closed pipes, closed and full streams."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells and file descriptors")

#: Prints more than a pipe holds, and at last says on file that it came to its end.
COMMAND = """
import sys
from pathlib import Path
from EfficientMedSAM2Lib.core.streams import prepare_streams
prepare_streams()
for number in range(int(sys.argv[2])):
    print("肝臓", number)
print("done", file=sys.stderr)
sys.stdout.flush()
Path(sys.argv[1]).write_text("written", encoding="utf-8")
"""


def run(shell: str, path, lines: int = 30000, **environment: str):
    command = f"'{sys.executable}' -c '{COMMAND}' '{path}' {lines}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell.format(command)}"], capture_output=True, env=environment, timeout=60
    )


@pytest.mark.parametrize(
    "shell",
    ["{} | head -1", "{} | true", "{} >&-", "{} 2>&-", "{} >&- 2>&-", "{} 0<&- >/dev/null", "{} 2>&1 | head -1"],
)
def test_a_stream_that_is_closed_does_not_end_the_work(tmp_path, shell):
    done = run(shell, tmp_path / "result")
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    assert (tmp_path / "result").read_text() == "written"


def test_a_name_that_the_terminal_cannot_show_is_printed_in_numbers(tmp_path):
    done = run("{}", tmp_path / "result", lines=1, PYTHONIOENCODING="cp1252")
    assert done.returncode == 0
    assert done.stdout == b"\\u809d\\u81d3 0\n"
    assert (tmp_path / "result").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_a_full_disk_behind_stdout_is_one_line():
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m EfficientMedSAM2Lib.cli --help > /dev/full"], capture_output=True
    )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left" in done.stderr
