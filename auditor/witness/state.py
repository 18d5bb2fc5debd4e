"""What a witness remembers: of each log the latest head that it has co-signed, on the disk before it answers.

It is a SQLite database beside the witness's key, written with full synchronous durability. A key without its memory is
refused: whoever has forgotten what they co-signed could co-sign a second history.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import WitnessError, WitnessStateError
from auditor.ledger.keys import SigningKey, load_or_create
from auditor.ledger.places import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_KEY_FILE, _DATABASE, _LOCK = "key.pem", "memory.sqlite", "lock"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (public_key TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS logs (
    origin TEXT PRIMARY KEY, origin_hash TEXT NOT NULL UNIQUE, slot TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
    root TEXT NOT NULL, time_s INTEGER NOT NULL, note TEXT NOT NULL
) WITHOUT ROWID;
"""
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The latest head of a log that was co-signed, when, and as the note that was given out."""

    size: int
    root: str
    time_s: int
    note: str


class Memory:
    """The memory and the key of one witness. Any thread may use it; one at a time decides."""

    def __init__(self, database: sqlite3.Connection, lock: int, key: SigningKey, name: str) -> None:
        self.key = key
        self.name = name
        self._database = database
        self._lock_descriptor = lock
        self._deciding = threading.Lock()

    @classmethod
    def open(cls, directory: Path, name: str) -> Memory:
        """The witness that lives in the directory; a new one where that is empty.

        Raises: WitnessStateError: its memory or its key is gone, they are not each other's, or another process has it.
        WitnessError: the directory cannot be written.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _locked(directory)
        except OSError as error:
            raise _unusable(directory, error) from error
        try:
            return cls._open(directory, name, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _open(cls, directory: Path, name: str, lock: int) -> Memory:
        key_path, path = directory / _KEY_FILE, directory / _DATABASE
        if os.path.lexists(key_path) and not path.exists():
            raise WitnessStateError(f"{path} is gone, and {key_path} is there: this witness has lost its memory")
        try:
            database = _connected(path)
            sync_directory(directory)
            identity = database.execute("SELECT public_key, name FROM identity").fetchone()
            if identity is not None and not os.path.lexists(key_path):
                raise WitnessStateError(f"{key_path} is gone: the key of the witness {identity[1]}")
            key = load_or_create(key_path)
            _identify(database, identity, key, name, directory)
        except (sqlite3.Error, OSError) as error:
            raise _unusable(path, error) from error
        return cls(database, lock, key, name)

    def close(self) -> None:
        """The database is closed, and another process may have the witness."""
        with self._deciding:
            self._database.close()
            os.close(self._lock_descriptor)

    def latest(self, origin: str) -> Remembered | None:
        """The latest head of the log that was co-signed.

        Raises: WitnessStateError: the memory cannot be read.
        """
        return self.named(_hash(origin))

    def named(self, origin_hash: str) -> Remembered | None:
        """The same, of the log whose origin has this SHA-256, as hexadecimal digits."""
        with self._deciding, _readable():
            return self._latest(origin_hash)

    def decide(
        self, origin: str, slot: str, decision: Callable[[Remembered | None], Remembered | None]
    ) -> tuple[Remembered | None, bool]:
        """The latest head of the log, after a decision that no other comes between, and whether that changed it.

        decision: from the head until now to the one that is to be remembered, or None to leave it. It is on the disk
        when this returns. slot: what only one log may have.
        Raises: SlotTaken: another log has the slot. WitnessStateError: the disk failed; nothing was decided.
        """
        with self._deciding, _readable(), self._transaction():
            before = self._latest(_hash(origin))
            if before is None and self._database.execute("SELECT 1 FROM logs WHERE slot = ?", (slot,)).fetchone():
                raise SlotTaken
            after = decision(before)
            if after is None:
                return before, False
            row = (origin, _hash(origin), slot, after.size, after.root, after.time_s, after.note)
            self._database.execute("INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return after, True

    def _latest(self, origin_hash: str) -> Remembered | None:
        query = "SELECT size, root, time_s, note FROM logs WHERE origin_hash = ?"
        row = self._database.execute(query, (origin_hash,)).fetchone()
        return Remembered(size=row[0], root=row[1], time_s=row[2], note=row[3]) if row else None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise


class SlotTaken(Exception):
    """Another log has the slot."""


def _hash(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _locked(directory: Path) -> int:
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise WitnessStateError(
            f"{directory}: another process is this witness now",
            remedy="End that process first, or begin another witness in a directory of its own.",
        ) from error
    return descriptor


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    # What was committed must survive a loss of power: the journal is synced, and so is its removal.
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("PRAGMA synchronous = EXTRA")
    database.executescript(_SCHEMA)
    return database


def _identify(
    database: sqlite3.Connection, identity: tuple[str, str] | None, key: SigningKey, name: str, directory: Path
) -> None:
    if identity is None:
        database.execute("INSERT INTO identity VALUES (?, ?)", (key.public_hex, name))
    elif identity[0] != key.public_hex:
        raise WitnessStateError(f"{directory}: the memory is that of the key {identity[0]}, not of {key.public_hex}")
    elif identity[1] != name:
        raise WitnessStateError(
            f"{directory}: this witness is called {identity[1]!r}, not {name!r}",
            remedy=f"Start it with --name {identity[1]}.",
        )


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise WitnessStateError(
            f"the memory of the witness failed: {error}",
            remedy="Make room, or have the disk looked at; nothing is lost.",
        ) from error


def _unusable(path: Path, error: Exception) -> WitnessError:
    reason = getattr(error, "strerror", None) or error
    return WitnessError(f"{path}: cannot be used: {reason}", remedy="Name a directory that you can write to.")
