"""A command that a batch system ends: as by Ctrl+C, with a word and without leftovers."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from EfficientMedSAM2Lib import cli

SLEEPER = """
import sys, tempfile, time
from EfficientMedSAM2Lib import cli
def sleep(arguments):
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        print("asleep", flush=True)
        time.sleep(100)
cli._run = sleep
sys.exit(cli.main(["info"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
def test_sigterm_is_a_line_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-c", SLEEPER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "asleep\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines() == ["efficient-medsam2: cancelled; nothing was written."]
    assert list(tmp_path.iterdir()) == []


def test_the_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert signal.getsignal(signal.SIGTERM) is before
