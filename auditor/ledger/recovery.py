"""The start after a crash: an unfinished last line is kept aside, cut, and its cutting is told."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from typing import IO, TYPE_CHECKING

from auditor.errors import LedgerInvalid, LedgerUnwritable
from auditor.ledger.chain import LINE_LIMIT_BYTES, Scanner, is_torn
from auditor.ledger.places import cuttings_of, open_regular, segment_paths, segments_of, sync_directory
from auditor.records import Genesis, Recovered

if TYPE_CHECKING:
    from pathlib import Path

_LOCK_TRIES = 5  # a reader holds the lock for an instant
_LOCK_PAUSE_S = 0.01
_SEAL_MARK = b'"kind":"seal"'
_BLOCK_BYTES = 64 * 2**10


def recover(directory: Path) -> list[Recovered]:
    """Segments of dead writers end with a whole record; what was cut stands in ``cut/`` and in the answer.

    Only an unfinished last line is cut. Damage before it is left for `reading` to report.
    Raises: LedgerUnwritable: a segment or the folder of cuttings cannot be written.
    """
    found = []
    for path in segment_paths(directory):
        try:
            with open_regular(path, writable=True) as file:
                if _lock(file) and (tail := _torn_tail(file)):
                    found.append(_cut(directory, path, file, tail))
        except OSError as error:
            raise LedgerUnwritable(f"{path}: cannot be recovered: {error.strerror or error}") from error
    return found


def first_genesis(directory: Path) -> Genesis | None:
    """The first record of the first segment that has one, so that a restart can join the same run."""
    for path in segment_paths(directory):
        with contextlib.suppress(OSError, LedgerInvalid), open_regular(path) as file:
            line = file.readline(LINE_LIMIT_BYTES)
            for link in Scanner().feed(line):
                if isinstance(link.record.body, Genesis):
                    return link.record.body
    return None


def run_id_of(directory: Path) -> str | None:
    """The id of the run whose ledger is in the directory, or None where there is none."""
    genesis = first_genesis(directory)
    return genesis.run_id if genesis else None


def _lock(file: IO[bytes]) -> bool:
    """Whether the writer is dead; not, where the file system has no locks to tell."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        except OSError:
            return False
        else:
            return True
    return False


def _torn_tail(file: IO[bytes]) -> bytes:
    """The bytes after the last newline, if a stopped write left them."""
    end = file.seek(0, os.SEEK_END)
    start, read = end, b""
    while start > 0 and read.count(b"\n") < 2 and len(read) <= 2 * LINE_LIMIT_BYTES:
        size = min(max(_BLOCK_BYTES, len(read)), start)
        start -= size
        file.seek(start)
        read = file.read(size) + read
    whole, newline, tail = read.rpartition(b"\n")
    if (not newline and start > 0) or not tail or not is_torn(tail):
        return b""
    sealed = _SEAL_MARK in whole.rpartition(b"\n")[2]
    return b"" if sealed else tail


def _cut(directory: Path, path: Path, file: IO[bytes], tail: bytes) -> Recovered:
    digest = hashlib.sha256(tail).hexdigest()
    name = f"{path.name}.{digest[:8]}"
    _keep(cuttings_of(directory), name, tail)
    file.truncate(file.seek(0, os.SEEK_END) - len(tail))
    os.fsync(file.fileno())
    sync_directory(segments_of(directory))
    return Recovered(segment=path.name, kept_as=f"cut/{name}", cut_bytes=len(tail), sha256=digest)


def _keep(folder: Path, name: str, tail: bytes) -> None:
    """The bytes are on the disk under this name before anything is cut."""
    folder.mkdir(exist_ok=True)
    draft = folder / f".{name}.{os.getpid()}"
    with draft.open("wb") as file:
        file.write(tail)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / name)
    sync_directory(folder)
    sync_directory(folder.parent)
