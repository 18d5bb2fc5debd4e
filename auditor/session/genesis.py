"""The first record of a segment: everything that says who counts, with what, on what."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import auditor
from auditor import rules
from auditor.config import Settings
from auditor.console import say
from auditor.distributed import Place, find_job
from auditor.formulas import TABLE
from auditor.hardware import catalogue, doors
from auditor.ledger import SegmentBook, SegmentWriter, load_or_create, recover
from auditor.ledger.keyfile import follower_of, rotations_to
from auditor.ledger.places import live_attempts
from auditor.records import LEDGER_SCHEMA, Genesis

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def open_book(
    directory: Path,
    settings: Settings,
    place: Place,
    *,
    run_id: str,
    command: tuple[str, ...],
    counter: str,
    devices: tuple[Mapping[str, str], ...] | None = None,
) -> SegmentBook:
    """A new segment of the run in ``directory``; what an earlier, killed writer left behind is recovered first.

    Raises: LedgerUnwritable: the directory takes no file. KeyFileError: the signing key cannot be used.
    """
    key = load_or_create(settings.key)
    line_of_key = rotations_to(settings.key, key.public_hex)
    tails = recover(directory, None if place.role == "launcher" else place.rank)
    genesis = Genesis(
        schema=LEDGER_SCHEMA,
        run_id=run_id,
        nonce=secrets.token_hex(16),
        role=place.role,
        rank=place.rank,
        attempt=0,  # the ledger takes the next that is free
        expected_ranks=place.expected_ranks,
        model=settings.model,
        purpose=settings.purpose,
        command=command,
        public_key=key.public_hex,
        counter=counter,
        versions=_versions(settings),
        digests=_digests(settings),
        host=_host(),
        devices=doors.observe() if devices is None else devices,
        settings=settings.recorded(),
    )
    book = SegmentBook(SegmentWriter.create(directory, genesis, key), tails, line_of_key)
    if place.role == "rank":
        _note_twins(book)
    return book


def _note_twins(book: SegmentBook) -> None:
    """Where another process is this rank now, that is said and written: two jobs may have been given one directory."""
    writer = book.writer
    for name in live_attempts(writer.path, writer.genesis):
        message = f"another process is rank {writer.genesis.rank} in this directory now and writes {name}"
        say(f"{message}; both are counted. If that is another job, --out names a directory for each")
        book.gap("rank", message, lower_bound=False)


class KeyWatch:
    """Looks now and then whether the key's file holds the follower of the key that signs, and hands that over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._state()

    def check(self, book: SegmentBook) -> None:
        """Where the key was rotated since, the book says so and goes on with the new one.

        Raises: KeyFileError: the file cannot be used now; the book goes on with the key that it has.
        """
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        for rotation, key in follower_of(self._path, book.writer.public_hex):
            book.rotate(rotation, key)

    def _state(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


def _versions(settings: Settings) -> dict[str, str]:
    torch = sys.modules.get("torch")
    versions = {
        "auditor": auditor.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    own = {f"rules/{pack.name}": pack.version for pack in map(rules.outline, settings.rules)}
    return versions | own | ({"torch": str(torch.__version__)} if torch else {})


def _digests(settings: Settings) -> dict[str, str]:
    return {
        "formulas": TABLE.digest,
        "rules": rules.digest([*rules.shipped(), *settings.rules]),
        **{f"rules/{pack.name}": pack.digest for pack in map(rules.outline, settings.rules)},
        "catalogue": catalogue.digest(),
        "configuration": settings.digest,
    }


def _host() -> dict[str, str]:
    launcher = os.environ.get("AUDITOR_LAUNCHER_PID")
    host = {"launcher": launcher} if launcher else {}
    job = find_job()
    if job is not None:
        host |= {"job": f"{job.name}-{job.digest()[:8]}"}
    if restart := os.environ.get("TORCHELASTIC_RESTART_COUNT"):
        host |= {"restart": restart}
    host |= {"hostname": platform.node(), "pid": str(os.getpid())}
    with contextlib.suppress(OSError):
        host["boot_id"] = _BOOT_ID.read_text(encoding="ascii").strip()
    return host
