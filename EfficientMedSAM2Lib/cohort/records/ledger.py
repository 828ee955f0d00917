"""The ledger of a cohort: which cases are done, which failed and why. SQLite, written by the run alone.

It survives the end of the process at any moment: each outcome is one transaction. A case is known by its name, its
result by the key that is made of all contents it depends on (see `hashing`).
"""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from EfficientMedSAM2Lib.cohort.records.outcome import CaseOutcome
from EfficientMedSAM2Lib.core.errors import UserError

FILE_NAME = "ledger.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cases (
    name TEXT PRIMARY KEY, key TEXT NOT NULL, status TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
    seconds REAL NOT NULL, finished REAL NOT NULL, computed INTEGER NOT NULL, record TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, sha256 TEXT NOT NULL);
"""


_UPSERT = """
INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
    key=excluded.key, status=excluded.status, kind=excluded.kind, reason=excluded.reason, seconds=excluded.seconds,
    finished=excluded.finished, computed=cases.computed + excluded.computed, record=excluded.record
"""


class Ledger:
    """The ledger in an output folder. Use it as a context manager.

    Args:
        folder: The output folder of a cohort; it must exist.

    Raises:
        UserError: The file is not a ledger, is of a later version, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._connection = _open(self.path, 30.0)
        try:
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise UserError(f"{self.path} was written by a later version of this program; update it.")
            # No wait for the disk after each case, which was 14 ms of 14.4. A power cut may take the last lines, never
            # the ledger; the cases that they were about are recognised by their folders.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.OperationalError as error:
            self._connection.close()
            _check_writable(self.path, error)
            raise  # locked, or the disk is full: not a matter of what is in the file
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise UserError(f"{self.path} is not a readable ledger ({error}); remove it to start anew.") from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def record(self, outcome: CaseOutcome) -> None:
        """Write down what became of a case, and the hashes of its files."""
        row = (
            outcome.name,
            outcome.key,
            outcome.status,
            outcome.kind,
            outcome.reason,
            outcome.seconds,
            time.time(),
            0 if outcome.again else 1,
            json.dumps(outcome.record, sort_keys=True),
        )
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(_UPSERT, row)
            self._connection.executemany(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?)",
                [(path, stamp, digest) for path, (stamp, digest) in outcome.hashes.items() if stamp],
            )

    def outcomes(self) -> list[CaseOutcome]:
        """All cases, by name."""
        rows = self._connection.execute(
            "SELECT name, key, status, kind, reason, seconds, record FROM cases ORDER BY name"
        )
        return [_outcome(row) for row in rows]

    def outcome(self, name: str) -> CaseOutcome | None:
        """What became of a case, None when it was never finished."""
        row = self._connection.execute(
            "SELECT name, key, status, kind, reason, seconds, record FROM cases WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else _outcome(row)

    def hashes(self, stamps: dict[str, str]) -> dict[str, str] | None:
        """Hashes of files that have not changed since they were read, or None if one of them has.

        Args:
            stamps: Path to what `stamp_of` says of it now.
        """
        known = {}
        for path, stamp in stamps.items():
            row = self._connection.execute("SELECT stamp, sha256 FROM files WHERE path = ?", (path,)).fetchone()
            if row is None or not stamp or row[0] != stamp:
                return None
            known[path] = row[1]
        return known


def _outcome(row: Any) -> CaseOutcome:
    name, key, status, kind, reason, seconds, record = row
    return CaseOutcome(name, key, status, kind, reason, seconds, json.loads(record))


class RunLock:
    """Keeps a second run out of an output folder; the system lifts it when the process ends, however it ends.

    Raises:
        UserError: Another run is at work there, or the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._connection = _open(folder / ".lock.sqlite", 0.5)
        try:
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._connection.close()
            _check_writable(folder / ".lock.sqlite", error)
            if "locked" not in str(error):
                raise
            raise UserError(f"Another run is at work in {folder}; wait for it, or give another --output.") from error

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def _open(path: Path, timeout_s: float) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, isolation_level=None, timeout=timeout_s)
    except sqlite3.OperationalError as error:
        _check_writable(path, error)
        raise


def _check_writable(path: Path, error: sqlite3.OperationalError) -> None:
    """UserError where SQLite has found that a file, or its folder, cannot be written."""
    if any(text in str(error) for text in ("readonly", "unable to open")):
        raise UserError(
            f"Cannot write {path} ({error}); change the rights of its folder, or copy it to where you may write."
        ) from error
