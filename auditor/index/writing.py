"""What becomes of a ledger that is imported: new, gone on, an older copy, or one that contradicts what is known.

An index holds the heads of what it has seen, so it is itself a place outside where heads are held: a ledger that was
cut or rewritten since is DIVERGED, and stays so until the index is made anew.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import AuditorError
from auditor.index.entry import FALSE, UNREADABLE
from auditor.index.schema import RUN_COLUMNS, TABLES
from auditor.ledger import Head, HeldHead, Verdict, compare, read_ledger

if TYPE_CHECKING:
    from auditor.index.databases import Database
    from auditor.index.entry import Entry


_AT_A_TIME = 500  # runs that are looked up together


class Outcome(StrEnum):
    """What an import changed."""

    ADDED = "added"
    UNCHANGED = "unchanged"
    GROWN = "grown"
    MOVED = "moved"
    OLDER = "older"  # an older copy of what is known: nothing was changed
    INVALID = "INVALID"
    DIVERGED = "DIVERGED"


class Settled(NamedTuple):
    """What became of a ledger."""

    path: str
    run_id: str
    outcome: Outcome
    told: str  # why, where it is not plain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the index holds of a run."""

    path: str
    verdict: str
    diverged: str
    heads: frozenset[HeldHead]


class _Row(NamedTuple):
    """An entry to be stored. ``diverged``: how it contradicts what was known; ``heads``: whether to hold its own."""

    entry: Entry
    diverged: str
    heads: bool

    @property
    def verdict(self) -> str:
        """The entry's own, or worse."""
        own = Verdict(self.entry.verdict)
        return str(Verdict.DIVERGED if self.diverged and own is not Verdict.INVALID else own)


def write(database: Database, entries: Sequence[Entry]) -> list[Settled]:
    """The entries are stored, all together; what became of each is the answer."""
    with database.writing():
        return _write(database, entries)


def write_anew(database: Database, entries: Sequence[Entry]) -> list[Settled]:
    """The entries, and nothing that was known before, are stored; until then all is as it was."""
    with database.writing():
        for table in TABLES:
            database.put(f"DELETE FROM {table}", [()])  # noqa: S608 - names of our own
        return _write(database, entries)


def _write(database: Database, entries: Sequence[Entry]) -> list[Settled]:
    settled: list[Settled] = []
    pending: dict[str, Entry] = {}
    for entry in (_named(database, entry) for entry in entries):
        if entry.run_id in pending or len(pending) >= _AT_A_TIME:
            settled += _write_all(database, pending)  # a second copy of a run is settled against the first
            pending = {}
        pending[entry.run_id] = entry
    return settled + _write_all(database, pending)


def _named(database: Database, entry: Entry) -> Entry:
    """An entry that names no run any more, as that of the run that was known from its path."""
    if not entry.run_id.startswith(UNREADABLE):
        return entry
    sql = "SELECT run_id, model, purpose, started, ended FROM auditor_runs WHERE path = ?"
    for run_id, model, purpose, started, ended in database.ask(sql, [entry.path]):
        known = {"model": model, "purpose": purpose, "started": started, "ended": ended}
        return replace(entry, run_id=run_id, **known)
    return entry


def _write_all(database: Database, pending: dict[str, Entry]) -> list[Settled]:
    known = _known(database, list(pending))
    rows, settled = [], []
    for entry in pending.values():
        outcome, row, told = _settle(entry, known.get(entry.run_id))
        settled.append(Settled(entry.path, entry.run_id, outcome, told))
        if row is not None:
            rows.append(row)
    _store(database, rows)
    return settled


def _known(database: Database, run_ids: Sequence[str]) -> dict[str, _Known]:
    if not run_ids:
        return {}
    among = ", ".join("?" * len(run_ids))
    heads: dict[str, set[HeldHead]] = {}
    sql = f"SELECT run_id, name, size, root FROM auditor_segments WHERE run_id IN ({among})"  # noqa: S608 - marks only
    for run_id, name, size, root in database.ask(sql, run_ids):
        heads.setdefault(run_id, set()).add(HeldHead(name, Head(database.number(size), root)))
    sql = f"SELECT run_id, path, verdict, diverged FROM auditor_runs WHERE run_id IN ({among})"  # noqa: S608
    return {
        run_id: _Known(path=path, verdict=verdict, diverged=diverged, heads=frozenset(heads.get(run_id, ())))
        for run_id, path, verdict, diverged in database.ask(sql, run_ids)
    }


def _settle(entry: Entry, known: _Known | None) -> tuple[Outcome, _Row | None, str]:
    if entry.verdict in FALSE:
        return _settle_false(entry, known)
    if known is None:
        return Outcome.ADDED, _Row(entry, "", heads=True), ""
    heads = {HeldHead(part.name, Head(part.size, part.root)) for part in entry.segments}
    if not known.heads <= heads and (contradiction := _contradiction(entry.path, known.heads)):
        if entry.path != known.path and not _contradiction(known.path, heads):
            return Outcome.OLDER, None, f"an older copy of what is known from {known.path}"
        told = known.diverged or f"{entry.path} contradicts what was known from {known.path}: {contradiction}"
        return Outcome.DIVERGED, _Row(entry, told, heads=False), told
    if known.diverged:
        return Outcome.DIVERGED, _Row(entry, known.diverged, heads=True), known.diverged
    return _change(entry, known, heads), _Row(entry, "", heads=True), ""


def _settle_false(entry: Entry, known: _Known | None) -> tuple[Outcome, _Row | None, str]:
    """A false ledger takes the place of what was known, unless that is still there, and this a copy of it."""
    outcome, why = Outcome(entry.verdict), entry.reasons[0]
    if known is None:
        return outcome, _Row(entry, "", heads=False), why
    if entry.path != known.path and known.verdict not in FALSE and not _contradiction(known.path, known.heads):
        return outcome, None, f"{why} What is known from {known.path} is sound, and stays."
    return outcome, _Row(entry, known.diverged, heads=False), why


def _change(entry: Entry, known: _Known, heads: set[HeldHead]) -> Outcome:
    if heads != known.heads:
        return Outcome.GROWN
    return Outcome.MOVED if entry.path != known.path else Outcome.UNCHANGED


def _contradiction(path: str, heads: frozenset[HeldHead] | set[HeldHead]) -> str:
    """How the ledger at that path contradicts the heads; "" where it does not."""
    with contextlib.suppress(AuditorError):
        found = compare(read_ledger(Path(path), recount=None), sorted(heads), None).contradictions
        return found[0].text if found else ""
    return "it cannot be read"


def _store(database: Database, rows: Sequence[_Row]) -> None:
    again = [(row.entry.run_id,) for row in rows]
    again += [(f"{UNREADABLE}{row.entry.path}",) for row in rows]
    for table in TABLES:
        if table != "auditor_segments":
            database.put(f"DELETE FROM {table} WHERE run_id = ?", again)  # noqa: S608 - names of our own
    marks = ", ".join("?" * len(RUN_COLUMNS))
    database.put(
        f"INSERT INTO auditor_runs ({', '.join(RUN_COLUMNS)}) VALUES ({marks})",  # noqa: S608 - names of our own
        [_run_values(database, row) for row in rows],
    )
    entries = [row.entry for row in rows]
    _store_parts(database, entries)
    _store_heads(database, [row.entry for row in rows if row.heads])


def _run_values(database: Database, row: _Row) -> tuple[object, ...]:
    entry, verdict = row.entry, row.verdict
    reasons = [row.diverged, *entry.reasons] if row.diverged else list(entry.reasons)
    texts = (entry.run_id, entry.path, entry.model, entry.purpose, entry.started, entry.ended, entry.started[:7])
    judged = (verdict, json.dumps(reasons), row.diverged, int(verdict not in FALSE), int(entry.complete))
    numbers = (entry.steps, entry.records, entry.ranks_expected, entry.ranks_seen, entry.total_ops)
    with_what = (entry.head, entry.formulas, entry.auditor, entry.verified)
    return (*texts, *judged, *map(database.amount, numbers), *with_what)


def _store_parts(database: Database, entries: Sequence[Entry]) -> None:
    amount = database.amount
    buckets = [(entry.run_id, *bucket, *map(amount, numbers)) for entry in entries for bucket, numbers in entry.buckets]
    database.put("INSERT INTO auditor_buckets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", buckets)
    unpriced = [(entry.run_id, op, amount(calls)) for entry in entries for op, calls in entry.unpriced]
    database.put("INSERT INTO auditor_unpriced VALUES (?, ?, ?)", unpriced)
    devices = [
        (entry.run_id, one.chip, one.name, one.kind, amount(one.number)) for entry in entries for one in entry.devices
    ]
    database.put("INSERT INTO auditor_devices VALUES (?, ?, ?, ?, ?)", devices)
    database.put(
        "INSERT INTO auditor_hosts VALUES (?, ?)", [(one.run_id, host) for one in entries for host in one.hosts]
    )


def _store_heads(database: Database, entries: Sequence[Entry]) -> None:
    database.put("DELETE FROM auditor_segments WHERE run_id = ?", [(entry.run_id,) for entry in entries])
    parts = [
        (entry.run_id, part.name, database.amount(part.size), *part[2:]) for entry in entries for part in entry.segments
    ]
    database.put("INSERT INTO auditor_segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", parts)
