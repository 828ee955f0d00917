"""Files written whole or not at all, under names that are what they seem; and the hash of a file."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from EfficientMedSAM2Lib.core.errors import UserError

_CHUNK = 1 << 22
#: Longest name of a file or folder on the file systems in use (ext4, APFS, NTFS), in bytes of UTF-8.
MAX_NAME_BYTES = 255
#: A temporary name ends as the final one does, by which writers tell the format; more would be too long.
_KEPT_ENDING = 24

#: Characters that mean something in a path, or that some file system refuses; and names that Windows keeps for itself.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_COMPONENT = 100  # temporary names are longer

#: Checks a file that was written, under its temporary name, and raises UserError unless it is what was meant.
Check = Callable[[Path], None]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def replacing(path: str | Path, check: Check | None = None) -> Iterator[Path]:
    """Give a temporary name in the folder of ``path``; what was written there becomes ``path`` when the block succeeds.

    The temporary name ends as ``path`` does, in lower case, since writers tell the format from it and some know no
    ``.NII.GZ``. It is removed when the block fails, and what was at ``path`` before is then still there. The bytes are
    on the disk before the name is theirs: not every library says when a disk is full.

    Args:
        path: The file.
        check: Reads the file back before it gets its name.

    Raises:
        UserError: the folder does not exist or cannot be written to, the writer failed, nothing was written, or the
            check found something else in the file.
    """
    target = Path(path)
    check_place(target)
    temporary = target.with_name(f".partial-{uuid.uuid4().hex[:8]}-{target.name[-_KEPT_ENDING:].lower()}")
    try:
        yield temporary
        _flush(temporary)
        if check is not None:
            check(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(f"Cannot write {target}: {error.strerror or error}; choose another place.") from error
    except RuntimeError as error:  # SimpleITK's only kind
        raise UserError(f"Cannot write {target}: {last_line(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Refuse a path that no file can be written to, whatever its contents.

    Raises:
        UserError: the name is too long, it is a folder, or there is no folder to put it in.
    """
    length = len(os.fsencode(path.name))
    if length > MAX_NAME_BYTES:
        raise UserError(
            f"Cannot write {path.name[:40]}...: the name has {length} bytes, and {MAX_NAME_BYTES} is the most; "
            "give a shorter one."
        )
    if path.is_dir():
        raise UserError(f"Cannot write {path}: it is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise UserError(f"Cannot write {path}: there is no folder {path.parent}; create it first.")


def output_folder(path: Path) -> Path:
    """A folder for results: made if it is not there, and found to take files, before any work is done for them.

    Raises:
        UserError: It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"Cannot write to {path}: {error.strerror or error}; choose another output folder.") from error
    return path


def _flush(path: Path) -> None:
    """Bring a file to the disk, where the last of it may not fit; OSError says so."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    if path.stat().st_size == 0:
        raise OSError("nothing was written (is the disk full?)")


def last_line(error: BaseException) -> str:
    """The last line of an exception's text: ITK puts the source position first and the reason last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def check_component(name: str) -> str:
    """A name that is to be that of a folder: one component of a path, on any file system, in Unicode's form NFC.

    Raises:
        UserError: it would mean another folder (``..``), is hidden, or is no name on some system.
    """
    name = normal_name(name)
    if (
        not name
        or name != name.strip(" .")
        or _FORBIDDEN.search(name)
        or _RESERVED.fullmatch(name)
        or len(name) > _MAX_COMPONENT
        or len(name.encode(errors="surrogatepass")) > 2 * _MAX_COMPONENT
        or readable_name(name) != name
    ):
        raise UserError(
            f"{readable_name(name)!r} cannot be the name of a folder; use at most {_MAX_COMPONENT} letters, digits, "
            "space, - _ . ( ) + = @, without a dot or space at either end"
        )
    return name


def existing(path: Path) -> Path:
    """The path itself, or the same name in another Unicode form where only that exists.

    macOS writes letters with accents as two characters (NFD), other systems and most programs as one (NFC); a list made
    on one system then names files that the other has under a name that looks the same.
    """
    if os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        forms = dict.fromkeys((part, unicodedata.normalize("NFC", part), unicodedata.normalize("NFD", part)))
        found = next((found / form for form in forms if os.path.lexists(found / form)), found / part)
    return found if os.path.lexists(found) else path


def normal_name(name: str) -> str:
    """A name in Unicode's form NFC, in which names that look the same are the same."""
    return unicodedata.normalize("NFC", name)


def readable_name(name: str) -> str:
    """A name for messages: bytes that are no UTF-8, which neither a terminal nor a file can hold, as ``\\xfc``."""
    return _SURROGATE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", name)


def walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Folders below one, itself first, each with its files, all sorted; what is hidden is left out.

    Links are followed, and keep their own names: data sets of DataLad (git-annex) consist of links. A
    folder that is there twice is entered once, as itself rather than by a link to it.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        state = current.stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        entries = sorted(path for path in current.iterdir() if not path.name.startswith("."))
        folders = [path for path in entries if path.is_dir()]
        # the last is the next: links to folders wait until all that are no links have been entered
        waiting[:0] = [path for path in reversed(folders) if path.is_symlink()]
        waiting += [path for path in reversed(folders) if not path.is_symlink()]
        yield current, [path for path in entries if not path.is_dir()]
