"""The one writer of a segment: each record is one `write` and survives the death of the process."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import os
import weakref
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerUnwritable
from auditor.ledger.chain import NO_HEAD, frame
from auditor.ledger.places import next_attempt, segment_name, segments_of, sync_directory
from auditor.records import SIGNED_KINDS, Body, Genesis, Record, read_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.keys import SigningKey

_MOST_RACES = 1000
_open_writers: weakref.WeakSet[SegmentWriter] = weakref.WeakSet()


class Head(NamedTuple):
    """Where a segment stands after a record."""

    seq: int
    hash: str


class SegmentWriter:
    """Appends records to a new file and holds its lock while it lives; one failure, and it writes no more.

    Not for use by two threads at once. A forked child loses it: the file stays its parent's.
    """

    def __init__(self, path: Path, descriptor: int, genesis: Genesis, key: SigningKey) -> None:
        self.path = path
        self.genesis = genesis
        self.head = Head(-1, NO_HEAD)
        self._key = key
        self._descriptor = descriptor
        self._failure = ""
        _open_writers.add(self)

    @classmethod
    def create(cls, directory: Path, genesis: Genesis, key: SigningKey) -> SegmentWriter:
        """A new segment whose first record is on the disk.

        ``genesis`` is written with the key's public half and with the first attempt number, from its own on,
        that is free: two processes never share a file.
        Raises: LedgerUnwritable: the directory or the file cannot be made or written.
        """
        genesis = dataclasses.replace(genesis, public_key=key.public_hex)
        _readable(Record(seq=0, prev=NO_HEAD, time=now(), body=genesis))
        with _unwritable(directory):
            _make_directory(directory)
            descriptor, path, genesis = _claim(directory, genesis)
        writer = cls(path, descriptor, genesis, key)
        try:
            writer.append(genesis)
            writer.sync()
            with _unwritable(path):
                sync_directory(path.parent)
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
        """As `append`, several records in one write; the head after the last.

        Raises: LedgerInvalid: a record is one that no reader would take; none is written.
        """
        self._check_alive()
        lines, head = [], self.head
        for body in bodies:
            record = Record(seq=head.seq + 1, prev=head.hash, time=now(), body=body)
            line, link = frame(_readable(record), self._key if body.kind in SIGNED_KINDS else None)
            lines.append(line)
            head = Head(record.seq, link)
        with self.fatal():
            data = b"".join(lines)
            written = os.write(self._descriptor, data)
            if written != len(data):
                # The rest is not tried again: readers see a torn tail, the next start cuts it.
                raise LedgerUnwritable(f"{self.path}: the disk took {written} of {len(data)} bytes")
            self.head = head
        return head

    def sync(self) -> None:
        """What was appended survives a loss of power.

        Raises: LedgerUnwritable: the disk failed. It is not asked again: the data may be gone.
        """
        self._check_alive()
        with self.fatal():
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """The file is closed and its lock given back; to be called as often as one likes."""
        descriptor, self._descriptor = self._descriptor, -1
        self._failure = self._failure or "it was closed"
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    @property
    def alive(self) -> bool:
        """Whether records can be appended."""
        return not self._failure

    def _check_alive(self) -> None:
        if self._failure:
            raise LedgerUnwritable(f"{self.path}: nothing more is written: {self._failure}")

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


def _readable(record: Record) -> bytes:
    """The record's bytes, which a reader will take.

    Raises: LedgerInvalid: it will not: a field is of another type.
    """
    data = record.canonical()
    read_record(data)
    return data


def now() -> str:
    """The time of day in UTC, as records write it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _claim(directory: Path, genesis: Genesis) -> tuple[int, Path, Genesis]:
    """A file of our own, locked, and the genesis with the attempt that its name carries."""
    free = next_attempt(directory, genesis.rank, genesis.role)
    if genesis.role != "process":
        genesis = dataclasses.replace(genesis, attempt=max(genesis.attempt, free))
    for _ in range(_MOST_RACES):
        path = segments_of(directory) / segment_name(genesis)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            genesis = dataclasses.replace(genesis, attempt=genesis.attempt + 1)
            continue
        with contextlib.suppress(OSError):  # a file system without locks: readers cannot tell that we live
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor, path, genesis
    raise LedgerUnwritable(f"{segments_of(directory)}: no free name for a segment after {_MOST_RACES} tries")


def _make_directory(directory: Path) -> None:
    folder = segments_of(directory)
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_directory(directory)
        sync_directory(directory.absolute().parent)


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
