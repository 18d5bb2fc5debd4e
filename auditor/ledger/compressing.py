"""Sealed segments are replaced by compressed ones; at no moment is there less than one whole copy on the disk."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
from typing import IO, TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerError, LedgerInvalid, LedgerUnwritable
from auditor.ledger import disk
from auditor.ledger.ends import read_sum
from auditor.ledger.inspection import Unreadable
from auditor.ledger.packed import FRAME_BYTES, MOST_TIMES, Likeness, Unpacked, likeness, pack, zstd
from auditor.ledger.places import PACKED, name_of, open_regular, segment_paths, sync_directory
from auditor.ledger.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Compressed(NamedTuple):
    """What became of a segment; ``left``: why it stays as it is, or ""."""

    name: str
    size_bytes: int
    packed_bytes: int
    left: str


def compress(directory: Path, *, workers: int = 1) -> Iterator[Compressed]:
    """Each sealed segment is compressed; those that are already are not told.

    Raises: MissingExtra: nothing here compresses. LedgerUnwritable: the disk took no more; the segment stays as it was.
    """
    zstd()
    paths = [path for path in segment_paths(directory) if not path.name.endswith(PACKED)]
    return spread(functools.partial(compress_segment), paths, workers=workers)


def compress_segment(path: Path) -> Compressed:
    """The segment is compressed, or left as it is.

    What is written stands under a name of its own until it is on the disk and was read back; only when its name is on
    the disk as well is the other taken away. A crash before that leaves both, and a reader takes the plain one.
    Raises: LedgerUnwritable: the disk took no more.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path))
            size_bytes = os.fstat(file.fileno()).st_size
            left = _obstacle(path, file)
        except OSError as error:
            return Compressed(name_of(path), 0, 0, f"it cannot be read: {error.strerror or error}")
        if left:
            return Compressed(name_of(path), size_bytes, size_bytes, left)
        try:
            packed_bytes = _replace(path, file)
        except OSError as error:
            raise LedgerUnwritable(f"{path}: cannot be compressed: {error.strerror or error}") from error
    left = "" if packed_bytes else f"it would shrink more than {MOST_TIMES} times, which readers refuse"
    return Compressed(name_of(path), size_bytes, packed_bytes or size_bytes, left)


def _obstacle(path: Path, file: IO[bytes]) -> str:
    """Why the segment cannot be compressed; its lock is held from here on, until the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "it is still being written"
    except OSError:
        pass  # a file system without locks: a seal says that nobody writes
    try:
        found = read_sum(path)
    except LedgerError as error:
        return str(error)
    if isinstance(found, Unreadable):
        return found.cause
    if found.broken or not found.sealed:
        return found.broken or "it was never sealed"
    packed = path.with_name(path.name + PACKED)
    if os.path.lexists(packed) and likeness(path, packed) is not Likeness.SAME:
        return f"{packed.name} stands there, and holds something else"
    return ""


def _replace(path: Path, file: IO[bytes]) -> int:
    """How many bytes the compressed segment has that stands in its place; 0 where none does."""
    draft = path.with_name(f".{path.name}{PACKED}.draft")
    try:
        packed_bytes = _write(draft, file)
        if packed_bytes * MOST_TIMES < file.seek(0, os.SEEK_END):
            return 0
        _compare(path, draft, file)
        disk.rename(draft, path.with_name(path.name + PACKED))
        sync_directory(path.parent)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    path.unlink()
    sync_directory(path.parent)
    return packed_bytes


def _write(draft: Path, file: IO[bytes]) -> int:
    draft.unlink(missing_ok=True)  # of a process that was killed
    descriptor = disk.create(draft)
    size_bytes = 0
    try:
        for data in pack(_blocks(file)):
            view = memoryview(data)
            while view:
                view = view[disk.append(descriptor, view) :]
            size_bytes += len(data)
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    return size_bytes


def _compare(path: Path, draft: Path, file: IO[bytes]) -> None:
    """What was written unpacks to the segment's bytes.

    Raises: LedgerUnwritable: it does not.
    """
    try:
        with open_regular(draft) as written:
            packed = Unpacked(written)
            same = all(packed.read(FRAME_BYTES) == data for data in _blocks(file)) and not packed.read(1)
    except LedgerInvalid:
        same = False
    if not same:
        raise LedgerUnwritable(f"{path}: what was compressed does not come to the same when it is read back")


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while data := file.read(FRAME_BYTES):
        yield data
