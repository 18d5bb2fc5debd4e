"""One run of an index: everything that is kept of it beside its amounts."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from auditor.errors import UsageError
from auditor.index.entry import Chip, Part, storable
from auditor.index.schema import RUN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.index.databases import Database

_AT_A_TIME = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """All that is kept of a run beside its amounts; the columns of the same names, and what hangs on it."""

    run_id: str
    path: str
    model: str
    purpose: str
    started: str
    ended: str
    verdict: str
    reasons: tuple[str, ...]
    steps: int
    records: int
    ranks_expected: int
    ranks_seen: int
    head: str
    formulas: str
    auditor: str
    verified: str
    segments: tuple[Part, ...]
    devices: tuple[Chip, ...]
    hosts: tuple[str, ...]


def details(database: Database, run_ids: Sequence[str]) -> dict[str, RunDetails]:
    """What is kept of each run, by its id."""
    found: dict[str, RunDetails] = {}
    for start in range(0, len(run_ids), _AT_A_TIME):
        found |= _details(database, run_ids[start : start + _AT_A_TIME])
    return found


def _details(database: Database, run_ids: Sequence[str]) -> dict[str, RunDetails]:
    number = database.number
    columns = [field.name for field in fields(RunDetails) if field.name in RUN_COLUMNS]
    parts = _hanging(database, "auditor_segments", Part._fields, run_ids)
    devices = _hanging(database, "auditor_devices", Chip._fields, run_ids)
    hosts = _hanging(database, "auditor_hosts", ("host",), run_ids)
    found = {}
    for run_id, rows in _hanging(database, "auditor_runs", columns, run_ids).items():
        for values in (dict(zip(columns, row, strict=True)) for row in rows):
            amounts = {name: number(values[name]) for name in columns if "{amount}" in RUN_COLUMNS[name]}
            found[run_id] = RunDetails(
                **(values | amounts | {"reasons": tuple(json.loads(values["reasons"]))}),
                segments=tuple(Part(name, number(size), *more) for name, size, *more in parts[run_id]),
                devices=tuple(Chip(chip, name, kind, number(many)) for chip, name, kind, many in devices[run_id]),
                hosts=tuple(host for (host,) in hosts[run_id]),
            )
    return found


def _hanging(
    database: Database, table: str, columns: Sequence[str], run_ids: Sequence[str]
) -> dict[str, list[list[Any]]]:
    """The rows of each run, in order."""
    rows: dict[str, list[list[Any]]] = {run_id: [] for run_id in run_ids}
    sql = (
        f"SELECT run_id, {', '.join(columns)} FROM {table}"  # noqa: S608 - names of our own
        f" WHERE run_id IN ({', '.join('?' * len(run_ids))}) ORDER BY 1, 2"
    )
    for run_id, *values in database.ask(sql, run_ids):
        rows[run_id].append(values)
    return rows


def counted_otherwise(database: Database, formulas: str) -> int:
    """How many runs came to their amounts by another table of formulas than that of this digest."""
    ((number,),) = database.ask("SELECT COUNT(*) FROM auditor_runs WHERE formulas <> ?", [formulas])
    return int(number)


def find_run(database: Database, written: str) -> str:
    """The id of the run that the text names: an id, the beginning of one, or the path of a ledger.

    Raises: UsageError: no run, or several.
    """
    written = storable(written)
    pattern = written.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    sql = "SELECT run_id FROM auditor_runs WHERE run_id = ? OR path = ? OR run_id LIKE ? ESCAPE '\\' ORDER BY run_id"
    found = [run_id for (run_id,) in database.ask(sql, [written, written.rstrip("/"), pattern])]
    if written in found:
        return written
    if len(found) != 1:
        told = "no run of that id is in the index" if not found else f"{len(found)} runs begin like that"
        remedy = "`auditor index list` names them." if not found else f"They are: {', '.join(found[:8])}."
        raise UsageError(f"index show: {written!r}: {told}", remedy=remedy)
    return str(found[0])
