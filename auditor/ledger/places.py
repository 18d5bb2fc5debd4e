"""Where ledgers are, and what stands where in one: names of segments, and how they are opened."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import re
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from auditor.ledger.disk import sync_directory as sync_directory  # noqa: PLC0414 - a name of this module too

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.records import Genesis

_NAME = re.compile(
    r"(?:launcher|rank-(?P<rank>\d{5,}))\.attempt-(?P<attempt>\d{3,})(?P<process>\.pid-\d+-[0-9a-f]{8})?\.jsonl"
)


SUFFIX = ".jsonl"
PACKED = ".zst"  # behind it, where the segment is compressed
_LAUNCHER = -1
_MOST_ATTEMPTS = 8  # that are looked at


class Place(NamedTuple):
    """What the name of a segment says; the launcher has no rank, which is -1."""

    rank: int
    attempt: int
    process: bool


def segments_of(directory: Path) -> Path:
    """The folder that holds the segments."""
    return directory / "segments"


def cuttings_of(directory: Path) -> Path:
    """The folder that holds what recoveries have cut."""
    return directory / "cut"


def anchors_of(directory: Path) -> Path:
    """The folder that holds copies of the heads that were given away."""
    return directory / "anchors"


def witnessed_of(directory: Path) -> Path:
    """The folder that holds heads with the cosignatures of witnesses."""
    return directory / "witnessed"


def segment_name(genesis: Genesis) -> str:
    """The file name of the segment that begins with this record."""
    attempt = f"attempt-{genesis.attempt:03d}"
    if genesis.role == "launcher":
        return f"launcher.{attempt}.jsonl"
    stem = f"rank-{genesis.rank:05d}.{attempt}"
    if genesis.role == "rank":
        return f"{stem}.jsonl"
    return f"{stem}.pid-{genesis.host.get('pid', '0')}-{genesis.nonce[:8]}.jsonl"


def read_name(name: str) -> Place | None:
    """What a file name says, or None where it is not a segment's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Place(int(match["rank"] or _LAUNCHER), int(match["attempt"]), match["process"] is not None)


def segment_paths(directory: Path, rank: int | None = None) -> list[Path]:
    """The files that end like a segment, in the order of their names; none where there is no such folder.

    Where one stands there compressed as well, which a crash while it was compressed leaves, the plain one.
    ``rank``: those of that rank and of the processes below it.
    """
    folder = segments_of(directory)
    try:
        names = set(os.listdir(folder))  # noqa: PTH208 - thousands
    except (FileNotFoundError, NotADirectoryError):
        return []
    own = "" if rank is None else f"rank-{rank:05d}."
    found = (name for name in names if name.startswith(own) and name.removesuffix(PACKED).endswith(SUFFIX))
    return [folder / name for name in sorted(found) if not (name.endswith(PACKED) and name_of(name) in names)]


def name_of(file: Path | str) -> str:
    """The name of the segment that a file holds, compressed or not."""
    return (file if isinstance(file, str) else file.name).removesuffix(PACKED)


def segment_path(directory: Path, name: str) -> Path:
    """The file that holds the segment of this name."""
    plain, packed = segments_of(directory) / name, segments_of(directory) / f"{name}{PACKED}"
    return packed if not os.path.lexists(plain) and os.path.lexists(packed) else plain


def next_attempt(directory: Path, rank: int, role: str = "rank") -> int:
    """One more than the highest attempt of the rank or the launcher; another process joins the highest."""
    own = None if role == "launcher" else rank
    places = (read_name(name_of(path)) for path in segment_paths(directory, own))
    rank = _LAUNCHER if role == "launcher" else rank
    taken = [place.attempt for place in places if place and place.rank == rank and not place.process]
    return max(taken, default=0) if role == "process" else max(taken, default=-1) + 1


def live_attempts(path: Path, genesis: Genesis) -> list[str]:
    """The names of earlier attempts of the segment's rank that are being written now, the latest of them."""
    earlier = range(max(genesis.attempt - _MOST_ATTEMPTS, 0), genesis.attempt)
    names = [segment_name(dataclasses.replace(genesis, attempt=attempt)) for attempt in earlier]
    return [name for name in names if _is_written(path.with_name(name))]


def _is_written(path: Path) -> bool:
    with contextlib.suppress(OSError), open_regular(path) as file:
        return is_held(file)
    return False


@contextlib.contextmanager
def open_regular(path: Path, *, writable: bool = False) -> Iterator[IO[bytes]]:
    """The file, open and unbuffered; never a pipe that blocks or a link that leads elsewhere.

    Raises: OSError: it cannot be opened or is not a regular file.
    """
    mode = os.O_RDWR if writable else os.O_RDONLY
    descriptor = os.open(path, mode | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "r+b" if writable else "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield file


def is_held(file: IO[bytes]) -> bool:
    """Whether a living process writes the file; no where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def real_path(path: Path) -> Path:
    """Where the path leads, so that a directory with two names is one; itself, where its links lead in a circle."""
    return Path(os.path.realpath(path))


def ledgers_below(path: Path) -> Iterator[Path]:
    """The directory itself, where it is a ledger or holds none; else every ledger below it, in order.

    What cannot be looked into is named like a ledger, so that it is told and not passed over.
    """
    found, closed = False, []
    for folder, names, _ in os.walk(path, onerror=lambda error: closed.append(Path(error.filename))):
        names.sort()
        if "segments" in names:
            names.clear()
            found = True
            yield Path(folder)
    yield from closed
    if not found and not closed:
        yield path
