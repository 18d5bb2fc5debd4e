"""The tables of an index. ``{amount}`` is what a database holds exact amounts in."""

from __future__ import annotations

SCHEMA_NUMBER = 1
SCHEMA = f"auditor.index/{SCHEMA_NUMBER}"

RUN_COLUMNS = {
    "run_id": "TEXT PRIMARY KEY",
    "path": "TEXT NOT NULL",  # of the ledger, when it was imported last
    "model": "TEXT NOT NULL",
    "purpose": "TEXT NOT NULL",
    "started": "TEXT NOT NULL",
    "ended": "TEXT NOT NULL",  # "" while it is going on
    "month": "TEXT NOT NULL",
    "verdict": "TEXT NOT NULL",
    "reasons": "TEXT NOT NULL",  # a list, in JSON
    "diverged": "TEXT NOT NULL",  # how an import contradicted what was known; "" where none did
    "counted": "SMALLINT NOT NULL",  # 0 where it is INVALID or DIVERGED: part of no sum
    "complete": "SMALLINT NOT NULL",  # 0 where the amounts are a floor
    "steps": "{amount} NOT NULL",
    "records": "{amount} NOT NULL",
    "ranks_expected": "{amount} NOT NULL",
    "ranks_seen": "{amount} NOT NULL",
    "total_ops": "{amount} NOT NULL",
    "head": "TEXT NOT NULL",
    "formulas": "TEXT NOT NULL",  # digest of the table that it was recounted by
    "auditor": "TEXT NOT NULL",  # version that verified it
    "verified": "TEXT NOT NULL",  # when
}
# What hangs on a run, by its id; heads are held longest.
TABLES = {
    "auditor_runs": RUN_COLUMNS,
    "auditor_segments": {
        "run_id": "TEXT NOT NULL",
        "name": "TEXT NOT NULL",
        "size": "{amount} NOT NULL",
        "root": "TEXT NOT NULL",
        "signer": "TEXT NOT NULL",
        "formulas": "TEXT NOT NULL",  # this and the next two: digests that the segment names
        "rules": "TEXT NOT NULL",
        "catalogue": "TEXT NOT NULL",
        "PRIMARY KEY": "(run_id, name)",
    },
    "auditor_buckets": {
        "run_id": "TEXT NOT NULL",
        "phase": "TEXT NOT NULL",
        "family": "TEXT NOT NULL",
        "element": "TEXT NOT NULL",  # type of the operands: PRECISION is a word of SQL
        "purpose": "TEXT NOT NULL",
        "algorithmic_ops": "{amount} NOT NULL",
        "repeated_ops": "{amount} NOT NULL",
        "skippable_ops": "{amount} NOT NULL",
        "PRIMARY KEY": "(run_id, phase, family, element, purpose)",
    },
    "auditor_unpriced": {
        "run_id": "TEXT NOT NULL",
        "operator": "TEXT NOT NULL",
        "calls": "{amount} NOT NULL",
        "PRIMARY KEY": "(run_id, operator)",
    },
    "auditor_devices": {
        "run_id": "TEXT NOT NULL",
        "chip": "TEXT NOT NULL",  # its id in the catalogue, "" where no one part is identified
        "name": "TEXT NOT NULL",
        "kind": "TEXT NOT NULL",
        "number": "{amount} NOT NULL",
        "PRIMARY KEY": "(run_id, chip, name, kind)",
    },
    "auditor_hosts": {"run_id": "TEXT NOT NULL", "host": "TEXT NOT NULL", "PRIMARY KEY": "(run_id, host)"},
}
_LOOKED_UP = ("runs (model)", "runs (month)", "runs (path)", "devices (chip)", "devices (name)", "hosts (host)")


def statements(amount: str) -> list[str]:
    """What makes the tables in a database that holds amounts in columns of this kind."""
    tables = {"auditor_index": {"name": "TEXT PRIMARY KEY", "value": "TEXT NOT NULL"}, **TABLES}
    made = [
        f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, kind in columns.items())})"
        for name, columns in tables.items()
    ]
    made += [f"CREATE INDEX auditor_look_up_{n} ON auditor_{column}" for n, column in enumerate(_LOOKED_UP)]
    return [statement.replace("{amount}", amount) for statement in made]
