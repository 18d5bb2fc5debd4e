"""The start after a crash: what follows the last checkpoint is kept aside, cut, and its cutting is told."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from typing import IO, TYPE_CHECKING

from auditor.errors import LedgerError, LedgerInvalid, LedgerUnwritable, MissingExtra
from auditor.ledger import disk
from auditor.ledger.log import LINE_LIMIT_BYTES, STRETCH_LIMIT_BYTES, Scanner, fault_of_tail, last_checkpoint
from auditor.ledger.packed import open_segment
from auditor.ledger.places import PACKED, cuttings_of, open_regular, segment_paths, segments_of
from auditor.lines import read_record
from auditor.records import Genesis, Recovered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK_TRIES = 5  # a reader holds the lock for an instant
_LOCK_PAUSE_S = 0.01
_SEAL = re.compile(rb'\[[0-9]+,"seal",')
_BLOCK_BYTES = 64 * 2**10
_TAIL_LIMIT_BYTES = STRETCH_LIMIT_BYTES + 2 * LINE_LIMIT_BYTES


def recover(directory: Path, rank: int | None = None) -> list[Recovered]:
    """Segments of dead writers end with a checkpoint; what was cut stands in ``cut/`` and in the answer.

    ``rank``: of that rank and the processes below it alone, so that many ranks that start look at few files each; a
    reader takes the torn end of a rank that does not come back for what it is.
    Only what a stopped write left is cut. Damage before it is left for `reading` to report, and so is a segment that
    cannot be read.
    Raises: LedgerUnwritable: a segment or the folder of cuttings cannot be written.
    """
    found = []
    for path in segment_paths(directory, rank):
        if path.name.endswith(PACKED):  # so it is sealed
            continue
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open_regular(path, writable=True))
                tail = _torn_tail(file) if _lock(file) else b""
            except OSError:
                continue  # whoever reads the ledger is told; what is to be written now does not depend on it
            if tail:
                found.append(_recovered(directory, path, file, tail))
    return found


def _recovered(directory: Path, path: Path, file: IO[bytes], tail: bytes) -> Recovered:
    try:
        return _cut(directory, path, file, tail)
    except OSError as error:
        raise LedgerUnwritable(f"{path}: cannot be recovered: {error.strerror or error}") from error


def first_genesis(directory: Path) -> Genesis | None:
    """The first record of the first segment that has one, so that a restart can join the same run.

    Raises: MissingExtra: those that may have one are compressed, and nothing here reads that.
    """
    missing: MissingExtra | None = None
    for path in segment_paths(directory):
        try:
            found = _genesis_of(path)
        except MissingExtra as error:
            missing = error
            continue
        if found is not None:
            return found
    if missing:
        raise missing
    return None


def _genesis_of(path: Path) -> Genesis | None:
    with contextlib.suppress(OSError, LedgerInvalid), open_segment(path) as file:
        for line in _first_lines(file):
            body = read_record(line).body
            return body if isinstance(body, Genesis) else None
    return None


def _first_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The first lines that a checkpoint vouches for."""
    scanner = Scanner()
    while data := file.read(_BLOCK_BYTES):
        for stretch in scanner.feed(data):
            yield from stretch.lines
            return


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
    """The bytes after the last checkpoint that is sound, if a crash left them; none after a seal."""
    end = file.seek(0, os.SEEK_END)
    size, lines, rest = 0, list[bytes](), b""
    while size < min(end, _TAIL_LIMIT_BYTES):
        size = min(max(_BLOCK_BYTES, 2 * size), end)
        file.seek(end - size)
        data = file.read(size)
        if b"\0" in data:
            return _by_reading(file)
        *lines, rest = data.split(b"\n")
        if size < end:  # nothing is known of a line whose beginning was not read
            lines = lines[1:]
        at = last_checkpoint(lines)
        if at is not None and (at or size == end):
            sealed = at > 0 and _SEAL.match(lines[at - 1])
            return b"" if sealed else _if_torn(lines[at + 1 :], rest)
    return _by_reading(file) if size == end else b""


def _if_torn(lines: list[bytes], rest: bytes) -> bytes:
    return b"" if fault_of_tail(lines, rest) else b"\n".join([*lines, rest])


def _by_reading(file: IO[bytes]) -> bytes:
    """As `_torn_tail`, by reading all of the segment: where zeros stand in it, or no checkpoint."""
    scanner = Scanner()
    file.seek(0)
    try:
        while data := file.read(_BLOCK_BYTES):
            for _ in scanner.feed(data):
                pass
        torn_bytes = scanner.finish().torn_bytes
    except LedgerError:
        return b""
    if torn_bytes > _TAIL_LIMIT_BYTES:
        return b""
    file.seek(-torn_bytes, os.SEEK_END)
    return file.read(torn_bytes)


def _cut(directory: Path, path: Path, file: IO[bytes], tail: bytes) -> Recovered:
    digest = hashlib.sha256(tail).hexdigest()
    name = f"{path.name}.{digest[:8]}"
    _keep(cuttings_of(directory), name, tail)
    disk.cut(file.fileno(), file.seek(0, os.SEEK_END) - len(tail))
    disk.sync_directory(segments_of(directory))
    return Recovered(segment=path.name, kept_as=f"cut/{name}", cut_bytes=len(tail), sha256=digest)


def _keep(folder: Path, name: str, tail: bytes) -> None:
    """The bytes are on the disk under this name before anything is cut."""
    disk.make_directory(folder)
    draft = folder / f".{name}.{os.getpid()}"
    draft.unlink(missing_ok=True)  # of a process that had our number, and was killed
    descriptor = disk.create(draft)
    try:
        view = memoryview(tail)
        while view:
            view = view[disk.append(descriptor, view) :]
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    disk.rename(draft, folder / name)
    disk.sync_directory(folder)
