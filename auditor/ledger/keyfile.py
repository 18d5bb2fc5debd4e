"""The signing key's file and what stands beside it: the rotations that led to it, and the key that is to follow.

A rotation is written in three steps, each on the disk before the next: the new key as ``<file>.next``, the statement of
the old key in ``<file>.rotations``, and the new key under the file's own name, which destroys the old one. A rotation
that was stopped between two of them is carried on by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from auditor.errors import KeyFileError, LedgerInvalid, LedgerUnwritable, NoteError
from auditor.ledger.heads import write_synced
from auditor.ledger.keys import SigningKey, load, load_or_create
from auditor.ledger.places import sync_directory
from auditor.ledger.rotation import Succession, check_rotation, make_rotation
from auditor.ledger.signed import read_text
from auditor.lines import read_record, write_record
from auditor.records import Record, Rotation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LIMIT_BYTES = 2**20


def rotations_to(path: Path, public_hex: str) -> list[Rotation]:
    """The rotations that led to this key, in their order; none where there were none.

    Raises: KeyFileError: what stands beside the key is not what the auditor wrote.
    """
    by_follower = {rotation.following: rotation for rotation in _read(path)}
    led: list[Rotation] = []
    while (rotation := by_follower.pop(public_hex, None)) is not None:
        led.insert(0, rotation)
        public_hex = rotation.previous
    return led


def follower_of(path: Path, public_hex: str) -> list[tuple[Rotation, SigningKey]]:
    """The one step from this key to the one that is in the file now, where it leads there; else none.

    Raises: KeyFileError: the file, or what stands beside it, cannot be used.
    """
    key = load(path)
    return [(step, key) for step in _read(path) if (step.previous, step.following) == (public_hex, key.public_hex)]


def rotate(path: Path) -> Rotation:
    """Another key is in the file, named as its follower by the one before, which is gone.

    Raises: KeyFileError: there is no key, it cannot be used, or the disk failed; the one that is there stays.
    """
    with _alone(path):
        old = load(path)
        steps = _read(path)
        begun = next((step for step in steps if step.previous == old.public_hex), None)
        new = load_or_create(_next(path))
        if begun is not None and begun.following != new.public_hex:
            raise KeyFileError(
                f"{path}: its key has named a follower, {begun.following}, whose file {_next(path).name} is gone",
                remedy="Put that file back. If it is lost, revoke this key and begin a new line of keys with another.",
            )
        rotation = begun or _state(path, steps, old, new)
        try:
            _next(path).replace(path)
            sync_directory(path.absolute().parent)
        except OSError as error:
            raise KeyFileError(f"{path}: cannot be replaced: {error.strerror or error}") from error
        return rotation


def _state(path: Path, steps: Sequence[Rotation], old: SigningKey, new: SigningKey) -> Rotation:
    """The old key's statement is on the disk."""
    number = 1 + max((step.number for step in steps if step.following == old.public_hex), default=0)
    rotation = make_rotation(old, new.public_hex, number=number, made_us=time.time_ns() // 1000)
    lines = [write_record(Record(time_us=step.made_us, body=step)) for step in (*steps, rotation)]
    try:
        write_synced(_beside(path), b"".join(line + b"\n" for line in lines))
    except LedgerUnwritable as error:
        raise KeyFileError(str(error), remedy="Make room, and rotate again; the key that is there stays.") from error
    return rotation


def _read(path: Path) -> list[Rotation]:
    beside = _beside(path)
    if not os.path.lexists(beside):
        return []
    try:
        bodies = [read_record(line.encode()).body for line in read_text(beside, _LIMIT_BYTES).splitlines()]
        steps = [body for body in bodies if isinstance(body, Rotation)]
        for step in steps:
            check_rotation(step)
    except (NoteError, LedgerInvalid, ValueError) as error:
        raise KeyFileError(f"{beside}: cannot be read: {error}", remedy=_RESTORE) from error
    faults = ["holds something else"] if len(steps) < len(bodies) else Succession(steps).faults
    if faults:
        raise KeyFileError(f"{beside}: {faults[0]}", remedy=_RESTORE)
    return steps


_RESTORE = "Put back the copy that was written with the key: without it nobody can follow from an earlier key to it."


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.rotations")


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process rotates the key meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileError(f"{path}: there is no key to rotate: {error.strerror or error}") from error
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
