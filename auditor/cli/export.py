"""`auditor export`: ledgers as Parquet, and what all that is exported comes to."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.cli.reading import recount
from auditor.errors import ExitCode, UsageError
from auditor.hardware import catalogue
from auditor.index import Outcome, Refused, Settled
from auditor.index.exported import take
from auditor.index.parquet import Total, totals, write
from auditor.ledger.places import ledgers_below
from auditor.report import plain
from auditor.report.layout import Block, Paragraph, Table
from auditor.report.words import clean, plural
from auditor.units import scientific, wire

SCHEMA = "auditor.export/1"
_FALSE = (Outcome.INVALID, Outcome.DIVERGED)


def run(options: argparse.Namespace) -> int:
    """Write what has changed, and add up what is there."""
    if not options.directories and options.by is None:
        raise UsageError("export: expected ledgers to write (DIR...), or --by to add up what is there")
    place = Path(options.parquet)
    told = list(_export(options, place))
    sums = totals(place, options.by) if options.by is not None else None
    if options.json:
        _print_json(options.by, told, sums)
    else:
        _print(options, told, sums)
    return int(_code(told))


def _export(options: argparse.Namespace, place: Path) -> Iterator[Settled | Refused]:
    """What became of each ledger; what is not plain is said as soon as it is known."""
    how, chips = recount(), catalogue.load()
    for directory in (ledger for name in options.directories for ledger in ledgers_below(Path(name))):
        taken = take(directory, how, chips, options.site)
        settled = taken if isinstance(taken, Refused) else write(place, taken)
        if isinstance(settled, Refused):
            sys.stderr.write(f"auditor: {clean(settled.told)}\n")
        elif settled.outcome in _FALSE:
            sys.stderr.write(f"auditor: {clean(settled.path)}: {settled.outcome}: {clean(settled.told)}\n")
        yield settled


def _code(told: list[Settled | Refused]) -> ExitCode:
    if any(isinstance(one, Settled) and one.outcome in _FALSE for one in told):
        return ExitCode.INVALID
    return ExitCode.USAGE if any(isinstance(one, Refused) for one in told) else ExitCode.PASS


def _print(options: argparse.Namespace, told: list[Settled | Refused], sums: list[Total] | None) -> None:
    blocks: list[Block] = []
    if options.directories:
        counts = Counter(str(one.outcome) for one in told if isinstance(one, Settled))
        counts["refused"] = sum(isinstance(one, Refused) for one in told)
        words = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items() if number)
        blocks.append(Paragraph(f"{options.parquet}: {plural(len(told), 'ledger')} read: {words}"))
    if sums is not None:
        rows = tuple((one.key or "(not named)", f"{one.runs:,}", f"{one.left_out:,}", _amount(one)) for one in sums)
        blocks.append(Table((options.by, "runs", "left out", "operations"), rows, frozenset({1, 2, 3}), 0))
    sys.stdout.write(plain.draw(blocks))


def _amount(total: Total) -> str:
    return f"{'' if total.complete else 'at least '}{scientific(total.executed_ops)}"


def _print_json(by: str | None, told: list[Settled | Refused], sums: list[Total] | None) -> None:
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "exported": [_plain(one) for one in told],
        "by": by,
        "totals": None if sums is None else [_total_plain(one) for one in sums],
    }
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def _plain(one: Settled | Refused) -> dict[str, str | None]:
    if isinstance(one, Refused):
        return {"path": one.path, "run": None, "outcome": "refused", "told": one.told}
    return {"path": one.path, "run": one.run_id, "outcome": str(one.outcome), "told": one.told}


def _total_plain(total: Total) -> dict[str, Any]:
    return {
        "key": total.key,
        "runs": total.runs,
        "left_out": total.left_out,
        "complete": total.complete,
        "operations": wire(total.executed_ops),
        "algorithmic": wire(total.algorithmic_ops),
    }
