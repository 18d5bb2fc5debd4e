"""Runs as Parquet files, one for each, replaced whole or not at all; and sums over them by DuckDB."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from auditor.errors import AuditorError, MissingExtra, SchemaFromFuture, UsageError
from auditor.index.entry import FALSE
from auditor.index.exported import COLUMNS, SCHEMA, SCHEMA_NUMBER, Exported, held_text, read_held
from auditor.index.writing import Outcome, Settled
from auditor.ledger import compare

if TYPE_CHECKING:
    from pathlib import Path

    from auditor.ledger import HeldHead

GROUPINGS = ("model", "site", "chip", "month", "host", "run_id", "verdict")


class _Standing(NamedTuple):
    """What an export holds of a run already."""

    state: str
    held: tuple[HeldHead, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What the runs of a group come to; a floor, where it is not ``complete``. ``left_out``: INVALID or DIVERGED."""

    key: str
    runs: int
    left_out: int
    complete: bool
    executed_ops: int
    algorithmic_ops: int


def write(directory: Path, run: Exported) -> Settled:
    """The run's rows stand in the directory, those of before replaced; what has changed is the answer.

    A ledger that contradicts what was exported of it changes nothing: its rows were sound when they were written.
    Raises: UsageError: the directory holds something else or cannot be written. SchemaFromFuture: a newer auditor
    wrote there. MissingExtra: pyarrow is not installed.
    """
    path = directory / f"{hashlib.sha256(run.run_id.encode()).hexdigest()[:32]}.parquet"
    standing = _standing(path)
    if standing is not None and standing.state == run.state:
        return Settled(run.path, run.run_id, _judged(run, Outcome.UNCHANGED), _told(run))
    if standing is not None and run.reading is not None and run.verdict not in FALSE:
        contradictions = compare(run.reading, standing.held, None).contradictions
        if contradictions:
            told = f"{contradictions[0].text} What was exported of it was left as it is."
            return Settled(run.path, run.run_id, Outcome.DIVERGED, told)
    _replace(path, run)
    return Settled(run.path, run.run_id, _judged(run, Outcome.GROWN if standing else Outcome.ADDED), _told(run))


def _judged(run: Exported, otherwise: Outcome) -> Outcome:
    return Outcome(run.verdict) if run.verdict in FALSE else otherwise


def _told(run: Exported) -> str:
    return "its rows hold no amounts" if run.verdict in FALSE else ""


def _standing(path: Path) -> _Standing | None:
    pq = _pyarrow("parquet")
    if not path.exists():
        return None
    try:
        metadata = pq.read_schema(path).metadata or {}
        schema = metadata[b"auditor.schema"].decode()
        if int(schema.rpartition("/")[2]) > SCHEMA_NUMBER:
            raise SchemaFromFuture(f"{path}: the export has the schema {schema!r}, from a newer auditor")
        return _Standing(metadata[b"auditor.state"].decode(), read_held(metadata[b"auditor.heads"].decode()))
    except AuditorError:
        raise
    except (KeyError, ValueError, OSError, _pyarrow("lib").ArrowException) as error:
        raise UsageError(
            f"{path}: not a whole file of an export: {error}", remedy="Take it away; it is written anew."
        ) from error


def _replace(path: Path, run: Exported) -> None:
    pa, pq = _pyarrow(), _pyarrow("parquet")
    metadata = {"auditor.schema": SCHEMA, "auditor.state": run.state, "auditor.heads": held_text(run.held)}
    schema = pa.schema(
        [
            pa.field(name, _types(pa)[kind], nullable=kind in ("amount", "moment", "whole"))
            for name, kind in COLUMNS.items()
        ],
        metadata={**metadata, "auditor.run": run.run_id},
    )
    columns = zip(*(row.values for row in run.rows), strict=True)
    arrays = [
        pa.array([_as_stored(kind, value) for value in values], _types(pa)[kind])
        for kind, values in zip(COLUMNS.values(), columns, strict=True)
    ]
    unfinished = path.with_name(f".{path.name}.unfinished-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            pq.write_table(pa.Table.from_arrays(arrays, schema=schema), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {error.strerror or error}", remedy="Name another directory with --parquet."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _types(pa: Any) -> dict[str, Any]:
    return {
        "text": pa.string(),
        "whole": pa.int64(),
        "yes": pa.bool_(),
        "moment": pa.timestamp("us", tz="UTC"),
        "amount": pa.decimal128(38, 0),
    }


def _as_stored(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "moment":
        return datetime.fromisoformat(value)
    return Decimal(value) if kind == "amount" else value


def query(by: str, rows: str) -> str:
    """The totals of each group as SQL that DuckDB and Spark understand alike; ``rows``: what stands after FROM."""
    return (
        f"SELECT {by}, COUNT(DISTINCT run_id) AS runs,"  # noqa: S608 - names of our own
        " COUNT(DISTINCT CASE WHEN NOT counted THEN run_id END) AS left_out,"
        " MIN(CASE WHEN counted AND NOT complete THEN 0 ELSE 1 END) AS complete,"
        " COALESCE(SUM(executed_ops), 0) AS executed_ops, COALESCE(SUM(algorithmic_ops), 0) AS algorithmic_ops"
        f" FROM {rows} GROUP BY {by} ORDER BY executed_ops DESC, {by}"
    )


def totals(directory: Path, by: str) -> list[Total]:
    """What the exported runs come to, the largest first, added up by DuckDB.

    Raises: MissingExtra: DuckDB is not installed. UsageError: there is no export, or DuckDB cannot read it.
    """
    try:
        import duckdb  # noqa: PLC0415 - the door of an optional dependency
    except ImportError as error:
        raise MissingExtra("duckdb", "duckdb") from error
    files = sorted(map(str, directory.glob("*.parquet")))
    if not files:
        raise UsageError(f"{directory}: holds no export", remedy="Make one: auditor export DIR... --parquet DIR")
    with duckdb.connect() as connection:
        try:
            rows = connection.execute(query(by, "read_parquet(?)"), [files]).fetchall()
        except duckdb.Error as error:
            raise UsageError(f"{directory}: DuckDB cannot add it up: {error}") from error
    return [_total(row) for row in rows]


def _total(row: tuple[Any, ...]) -> Total:
    key, runs, left_out, complete, executed, algorithmic = row
    return Total(
        key=key,
        runs=int(runs),
        left_out=int(left_out),
        complete=bool(complete),
        executed_ops=int(executed),
        algorithmic_ops=int(algorithmic),
    )


def _pyarrow(part: str = "") -> Any:
    """Pyarrow, or a part of it."""
    try:
        return importlib.import_module(f"pyarrow.{part}" if part else "pyarrow")
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet") from error
