"""`efficient-medsam2 learn` in a process of its own: started, asked how far it is, ended. No Qt.

What it prints goes to a file, and no thread reads it: in Slicer a thread gets nowhere while the application waits.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from EfficientMedSAM2Lib.core.errors import UserError

from ..locate import make_engine_importable
from ..settings import EngineSettings

#: Added to the process's priority, where 0 is that of the application: it takes what nobody else wants.
NICENESS = 10
#: A process that was asked to end is given so long, in seconds, when the application closes.
LAST_S = 5.0
_PROGRESS = re.compile(r"(.+): (\d+) of (\d+)")
_SAYS, _VERDICT = "efficient-medsam2: ", "More cases "


class LearnProgress(NamedTuple):
    """How far the learning is.

    Attributes:
        what: What is being done, "" before it has begun.
        done: Steps of that.
        total: Of so many; 0 before it has begun.
    """

    what: str = ""
    done: int = 0
    total: int = 0


def learn_command(cases: Path, structure: str, output: Path, minutes: float, settings: EngineSettings) -> list[str]:
    """The command line, for Slicer's own Python; 0 minutes: as many as suit the number of cases."""
    weights = [f"--weights={settings.weights}"] if settings.weights else [f"--encoder={settings.encoder}"]
    return [
        shutil.which("PythonSlicer") or sys.executable,
        *("-m", "EfficientMedSAM2Lib.cli", "learn"),
        str(cases),
        f"--segment={structure}",
        f"--output={output}",
        *([f"--minutes={minutes:g}"] if minutes else []),
        "--progress=lines",
        *weights,
    ]


class LearnProcess:
    """One run.

    Args:
        command: From `learn_command`.
    """

    def __init__(self, command: list[str]) -> None:
        self.was_cancelled = False
        self._folder = Path(tempfile.mkdtemp(prefix="EfficientMedSAM2-learn-"))
        self._log = self._folder / "log.txt"
        flags = [getattr(subprocess, name, 0) for name in ("BELOW_NORMAL_PRIORITY_CLASS", "CREATE_NO_WINDOW")]
        try:
            with self._log.open("wb") as stream:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
                    cwd=str(make_engine_importable()),  # by which any Python, and Slicer's, finds the engine
                    creationflags=sum(flags),  # Windows only
                )
        except OSError as error:
            self.close()
            raise UserError(f"Python cannot be started ({error}); install the extension again.") from error
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    @property
    def progress(self) -> LearnProgress:
        """How far it is, by its last line that says so."""
        found = [match for match in map(_PROGRESS.fullmatch, self._lines()) if match]
        return LearnProgress(found[-1][1], int(found[-1][2]), int(found[-1][3])) if found else LearnProgress()

    @property
    def verdict(self) -> str:
        """Whether more cases help, as it has said at its end; "" for a first task."""
        return next((line for line in reversed(self._lines()) if line.startswith(_VERDICT)), "")

    def check(self) -> None:
        """UserError where a run that has ended was no success; says why."""
        code = self._process.poll()
        if code == 0:
            return
        lines = self._lines()
        said = [line[len(_SAYS) :] for line in lines if line.startswith(_SAYS)]
        reason = said[-1] if said else lines[-1] if lines else f"it ended with code {code}"
        raise UserError(reason)

    def cancel(self) -> None:
        """Ask it to end; what it has learnt until now is kept beside the output, and the same run goes on there."""
        self.was_cancelled = True
        if self.is_running:
            self._process.terminate()

    def close(self) -> None:
        """End it, and remove its files."""
        if hasattr(self, "_process"):
            self.cancel()
            try:
                self._process.wait(LAST_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _lines(self) -> list[str]:
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
        return [line.strip() for line in text.splitlines() if line.strip()]
