"""The one writer of a segment: each record is one `write` and survives the death of the process."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import time
import weakref
from typing import TYPE_CHECKING

from auditor.errors import LedgerUnwritable
from auditor.ledger import disk
from auditor.ledger.log import NO_HEAD, Draft
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Head, Signer
from auditor.ledger.places import next_attempt, segment_name, segments_of
from auditor.lines import read_record, write_record
from auditor.records import CLOCK_AHEAD, Body, Genesis, Record, Seal, Synced, Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.keys import SigningKey

_MOST_RACES = 2**20  # each lost to another process that has the name now; beyond, the file system is at fault
_TELL_SYNCED_EVERY = 16  # writes
_CLOCKS_DIFFER_S = 30  # less is a slow file system
_open_writers: weakref.WeakSet[SegmentWriter] = weakref.WeakSet()


class SegmentWriter:
    """Appends records to a new file and holds its lock while it lives; one failure, and it writes no more.

    Not for use by two threads at once. A forked child loses it: the file stays its parent's.
    """

    def __init__(self, path: Path, descriptor: int, genesis: Genesis, key: SigningKey) -> None:
        self.path = path
        self.genesis = genesis
        self.head = NO_HEAD  # of the last checkpoint
        self.note = ""  # that checkpoint as a signed note
        self._tree = Frontier()
        self._signer = Signer.of(genesis)
        self._key = key
        self._descriptor = descriptor
        self._identity = disk.identity(descriptor)
        self._failure = ""
        self._written = _Written()
        _open_writers.add(self)

    @classmethod
    def create(cls, directory: Path, genesis: Genesis, key: SigningKey) -> SegmentWriter:
        """A new segment whose first record is on the disk.

        ``genesis`` is written with the key's public half and with the first attempt number, from its own on,
        that is free: two processes never share a file.
        Raises: LedgerUnwritable: the directory or the file cannot be made or written.
        """
        genesis = dataclasses.replace(genesis, public_key=key.public_hex)
        _readable(genesis, now_us())
        with _unwritable(directory):
            disk.make_directory(segments_of(directory))
            descriptor, path, genesis = _claim(directory, genesis)
        writer = cls(path, descriptor, genesis, key)
        try:
            writer.append(genesis)
            writer.sync()  # before anything else is written, which readers rely on
            with _unwritable(path):
                disk.sync_directory(path.parent)
        except BaseException:
            writer.close()
            raise
        return writer

    def append(self, body: Body) -> Head:
        """The record is with the operating system: it survives the death of the process, not a loss of power.

        Raises: LedgerUnwritable: it was not, or not wholly, written; nothing can be appended from now on.
        """
        return self.append_all([body])

    def append_all(self, bodies: Sequence[Body]) -> Head:
        """As `append`, several records in one write that ends with a checkpoint, whose head this is.

        Raises: LedgerInvalid: a record is one that no reader would take; none is written.
        """
        self._check_alive()
        draft, time_us = Draft(self._tree, self._signer, self._key), now_us()
        for body in (*self._written.news(ends=any(isinstance(body, Seal) for body in bodies)), *bodies):
            draft.add(_readable(draft.place(body) if isinstance(body, Totals | Seal) else body, time_us))
        draft.sign()
        with self.fatal():
            self._check_own()
            written = disk.append(self._descriptor, draft.data)
            if written != len(draft.data):
                # The rest is not tried again: readers see a torn tail, the next start cuts it.
                raise LedgerUnwritable(f"{self.path}: the disk took {written} of {len(draft.data)} bytes")
            self._tree, self.head = draft.tree, draft.head
            self.note = self._signer.note(draft.head, draft.signature)
            self._written.append(written)
        return draft.head

    def take_key(self, key: SigningKey) -> None:
        """What comes next is signed by this key; the last record was a `Rotation` to it."""
        self._key = key
        self._signer = Signer(self._signer.origin, key.public_hex)

    def sync(self) -> None:
        """What was appended survives a loss of power.

        Raises: LedgerUnwritable: the disk failed. It is not asked again: the data may be gone.
        """
        self._check_alive()
        with self.fatal():
            self._check_own()
            disk.sync(self._descriptor)
            self._written.sync()

    def close(self) -> None:
        """The file is closed and its lock given back; to be called as often as one likes."""
        descriptor, self._descriptor = self._descriptor, -1
        self._failure = self._failure or "it was closed"
        if descriptor >= 0 and disk.identity(descriptor) == self._identity:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @property
    def public_hex(self) -> str:
        """The public half of the key that signs now."""
        return self._key.public_hex

    @property
    def alive(self) -> bool:
        """Whether records can be appended."""
        return not self._failure

    def _check_alive(self) -> None:
        if self._failure:
            raise LedgerUnwritable(f"{self.path}: nothing more is written: {self._failure}")

    def _check_own(self) -> None:
        """The descriptor is of our file still: what else stands in its place is the script's, and never written to."""
        if disk.identity(self._descriptor) != self._identity:
            raise LedgerUnwritable(
                f"{self.path}: the script has closed the ledger's file",
                remedy="A script that closes descriptors should close those alone that it has opened.",
            )

    @contextlib.contextmanager
    def fatal(self) -> Iterator[None]:
        """After anything raised inside, nothing more is written: writer and file may no longer agree.

        Raises: LedgerUnwritable: for an error of the operating system; others as they are (an interrupt).
        """
        try:
            with _unwritable(self.path):
                yield
        except BaseException as error:
            self._failure = self._failure or str(error) or type(error).__name__
            raise

    def abandon(self) -> None:
        """As `close`, in a forked child: the parent's lock and file stay as they are."""
        self._failure = "this process was forked from the one that writes it"
        self.close()


class _Written:
    """How much was written and synced, and what of that the segment says itself: now and then, and at its end."""

    def __init__(self) -> None:
        self._size_bytes = self._synced_bytes = self._told_bytes = 0
        self._since_told = 0

    def append(self, size_bytes: int) -> None:
        """One write more of so many bytes."""
        self._size_bytes += size_bytes
        self._since_told += 1

    def sync(self) -> None:
        """All of it is on the disk."""
        self._synced_bytes = self._size_bytes
        if not self._told_bytes:
            self._told_bytes = self._size_bytes  # that the first record is on the disk need not be said

    def news(self, *, ends: bool) -> list[Synced]:
        """What is to be said before the next records, the last ones where the segment ``ends``."""
        if self._synced_bytes == self._told_bytes or not (ends or self._since_told >= _TELL_SYNCED_EVERY):
            return []
        self._told_bytes, self._since_told = self._synced_bytes, 0
        return [Synced(size_bytes=self._synced_bytes)]


def _readable(body: Body, time_us: int) -> bytes:
    """The record's line, which a reader will take.

    Raises: LedgerInvalid: it will not: a field is of another type.
    """
    line = write_record(Record(time_us=time_us, body=body))
    read_record(line)
    return line


def now_us() -> int:
    """The time of day in UTC, as records write it."""
    return time.time_ns() // 1000


def _claim(directory: Path, genesis: Genesis) -> tuple[int, Path, Genesis]:
    """A file of our own, locked, and the genesis with the attempt that its name carries."""
    free = next_attempt(directory, genesis.rank, genesis.role)
    if genesis.role != "process":
        genesis = dataclasses.replace(genesis, attempt=max(genesis.attempt, free))
    for _ in range(_MOST_RACES):
        path = segments_of(directory) / segment_name(genesis)
        try:
            descriptor = disk.create(path)
        except FileExistsError:
            genesis = dataclasses.replace(genesis, attempt=genesis.attempt + 1)
            continue
        with contextlib.suppress(OSError):  # a file system without locks: readers cannot tell that we live
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor, path, _with_clock(genesis, descriptor)
    raise LedgerUnwritable(f"{segments_of(directory)}: no free name for a segment after {_MOST_RACES} tries")


def _with_clock(genesis: Genesis, descriptor: int) -> Genesis:
    """The genesis with how far our clock is from that of the file that was just made, where they differ."""
    ahead_s = round(time.time() - disk.clock(descriptor))
    if abs(ahead_s) < _CLOCKS_DIFFER_S:
        return genesis
    return dataclasses.replace(genesis, host=dict(genesis.host) | {CLOCK_AHEAD: str(ahead_s)})


@contextlib.contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerUnwritable(f"{path}: cannot be written: {error.strerror or error}") from error


def _abandon_all() -> None:
    for writer in list(_open_writers):
        writer.abandon()


os.register_at_fork(after_in_child=_abandon_all)
