"""Ledgers are found, verified on several cores, and stored in batches."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import IndexUnusable
from auditor.formulas import TABLE, Pricer
from auditor.hardware import catalogue
from auditor.index.entry import Entry, Refused, take
from auditor.index.writing import Settled, write, write_anew
from auditor.ledger import Recount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from auditor.index.databases import Database

_BATCH = 200  # ledgers that are stored together: a killed import loses at most so many
_CHUNK = 8  # ledgers that a process is given at a time
_FEWEST = 64  # ledgers for which processes are started
_MOST_PROCESSES = 8


def add(database: Database, directories: Sequence[Path], processes: int | None = None) -> Iterator[Settled | Refused]:
    """Each ledger verified, recounted and stored; what became of it, in the order given.

    Raises: IndexUnusable: the database failed; what was told before is stored.
    """
    taken = _taken(directories, processes)
    while batch := list(islice(taken, _BATCH)):
        yield from _stored(database, batch, write)


def rebuild(database: Database, processes: int | None = None) -> Iterator[Settled | Refused]:
    """The index as it would be, had only the ledgers that it knows been added now; what became of each.

    Raises: IndexUnusable: the database failed; then the index is as it was.
    """
    paths = [Path(path) for (path,) in database.ask("SELECT path FROM auditor_runs ORDER BY path")]
    yield from _stored(database, list(_taken(paths, processes)), write_anew)


def _stored(
    database: Database, taken: Sequence[Entry | Refused], store: Callable[[Database, Sequence[Entry]], list[Settled]]
) -> Iterator[Settled | Refused]:
    settled = iter(store(database, [one for one in taken if isinstance(one, Entry)]))
    yield from (next(settled) if isinstance(one, Entry) else one for one in taken)


def _taken(directories: Sequence[Path], processes: int | None) -> Iterator[Entry | Refused]:
    verified = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = min(processes or len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    if wanted < 2 or len(directories) < _FEWEST:
        yield from map(_taker(verified), directories)
        return
    spawned = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(wanted, spawned, initializer=_begin, initargs=(verified,)) as pool:
            yield from pool.map(_take, directories, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise IndexUnusable(
            "a process that verified ledgers was killed, perhaps for want of memory",
            remedy="Run the command again: what was stored stays.",
        ) from error


def _taker(verified: str) -> Callable[[Path], Entry | Refused]:
    recount, chips = Recount(price=Pricer().price, digest=TABLE.digest), catalogue.load()
    return lambda directory: take(directory, recount, chips, verified)


_of_this_process: list[Callable[[Path], Entry | Refused]] = []


def _begin(verified: str) -> None:
    _of_this_process.append(_taker(verified))


def _take(directory: Path) -> Entry | Refused:
    return _of_this_process[0](directory)
