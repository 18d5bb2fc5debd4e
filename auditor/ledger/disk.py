"""Every call by which a segment is made, written or cut: here and nowhere else, so that each can be made to fail.

What a write, a sync and a new name promise, and in which order they are asked for, decides what a crash can cost.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NEW_FILE = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def create(path: Path) -> int:
    """A new file, open to be appended to; nobody else has made it.

    Raises: FileExistsError: somebody has.
    """
    return os.open(path, _NEW_FILE, 0o644)


def clock(descriptor: int) -> float:
    """When the file was last changed, by the clock of its file system: where many hosts share it, of its server."""
    return os.fstat(descriptor).st_mtime


def identity(descriptor: int) -> tuple[int, int] | None:
    """Which file the descriptor is of; None where it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def append(descriptor: int, data: bytes | bytearray | memoryview) -> int:
    """How many of the bytes stand at the file's end: with the operating system, not yet on the disk."""
    return os.write(descriptor, data)


def sync(descriptor: int) -> None:
    """What was appended is on the disk."""
    os.fdatasync(descriptor)


def cut(descriptor: int, size: int) -> None:
    """The file has this size, on the disk."""
    os.ftruncate(descriptor, size)
    os.fsync(descriptor)


def rename(draft: Path, path: Path) -> None:
    """The draft has the name, which a sync of its directory makes last; done once, even where it is told as failed.

    A server of a network file system that answers too late is asked twice, and finds no draft at the second time.
    """
    inode = draft.stat().st_ino
    try:
        draft.replace(path)
    except FileNotFoundError:
        if path.stat().st_ino != inode:
            raise


def make_directory(path: Path) -> None:
    """The directory and those above it are there, and their names are on the disk."""
    path = path.absolute()
    made = [above for above in (path, *path.parents) if not above.exists()]
    for above in reversed(made):
        make_one_directory(above)
    for above in made:
        sync_directory(above.parent)
    # What another process has just made may not be on the disk yet: a ledger is two directories of ours.
    for above in {path.parent, path.parent.parent} - {above.parent for above in made}:
        with contextlib.suppress(PermissionError):
            sync_directory(above)


def make_one_directory(path: Path) -> None:
    """The directory is there, made by us or by another process."""
    with contextlib.suppress(FileExistsError):
        path.mkdir()


def sync_directory(path: Path) -> None:
    """The names in the directory are on the disk, where its file system can promise that.

    Raises: OSError: the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
