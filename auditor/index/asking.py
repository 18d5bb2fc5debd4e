"""Answers from an index: runs, or sums over those of a model, a chip, a host or a month, held against the law.

Sums are made of buckets, exactly, by the database; each rule's counter is applied to the sum of a group, as the law
stands on the day of the question. What is INVALID or DIVERGED is listed and never summed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.index.entry import storable
from auditor.operations import Operations
from auditor.rules import evaluate
from auditor.units import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from decimal import Decimal

    from auditor.index.databases import Database
    from auditor.rules.model import RuleSet
    from auditor.rules.verdict import Finding

_AT_A_TIME = 500  # groups whose buckets are asked for together
# By what runs are grouped: the column, and the table that it takes beside the runs.
GROUPINGS = {
    "run": ("r.run_id", ""),
    "model": ("r.model", ""),
    "chip": ("CASE WHEN d.chip = '' THEN d.name ELSE d.chip END", "devices d"),
    "host": ("h.host", "hosts h"),
    "month": ("r.month", ""),
    "verdict": ("r.verdict", ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which runs are asked for; None takes all. ``chip``: an id of the catalogue, or the name that a device gave."""

    model: str | None = None
    chip: str | None = None
    host: str | None = None
    month: str | None = None
    verdict: str | None = None
    run_id: str | None = None

    def given(self) -> dict[str, str]:
        """Those that are not None."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Runs that belong together and what they come to; a floor, where it is not ``complete``."""

    key: str
    runs: int
    left_out: int  # of these, INVALID or DIVERGED
    complete: bool
    operations: Operations
    findings: tuple[Finding, ...]

    @property
    def nearest(self) -> Finding | None:
        """The line that the count is nearest to, or furthest beyond."""
        return max(self.findings, key=lambda finding: finding.fraction, default=None)


def groups(
    database: Database,
    ruleset: RuleSet,
    *,
    by: str,
    filters: Filters,
    as_of: date,
    over_percent: Decimal | None = None,
    most: int | None = None,
) -> list[Group]:
    """The groups that hold such runs, the largest first, each under the rules of that day.

    over_percent: those alone whose count is over so many percent of any rule's line. most: not more than so many.
    """
    question = _Question(database, by, filters)
    share = None if over_percent is None else Fraction(over_percent) / 100
    found: list[Group] = []
    for group in question.groups(ruleset, as_of, _least(ruleset, share, as_of)):
        if share is None or any(one.counted_ops > share * one.threshold_ops for one in group.findings):
            found.append(group)
        if most is not None and len(found) == most:
            break
    return found


def _least(ruleset: RuleSet, share: Fraction | None, as_of: date) -> int:
    """No count of fewer operations is over this share of any line."""
    if share is None:
        return 0
    lines = [finding.threshold_ops for finding in evaluate(ruleset, Operations.none(), as_of=as_of)]
    return math.floor(min(lines, default=0) * share)


class _Question:
    """Runs, filtered and grouped, as SQL."""

    def __init__(self, database: Database, by: str, filters: Filters) -> None:
        self._database = database
        self._key, table = GROUPINGS[by]
        alias = table.partition(" ")[2]
        join = f" JOIN auditor_{table} ON {alias}.run_id = r.run_id" if table else ""
        conditions, self._values = _conditions(filters)
        self._from = f"auditor_runs r{join}"
        self._where = " AND ".join(["1 = 1", *conditions])

    def groups(self, ruleset: RuleSet, as_of: date, least: int) -> Iterator[Group]:
        """The groups that come to at least so much, the largest first."""
        heads = self._heads(least)
        for start in range(0, len(heads), _AT_A_TIME):
            some = heads[start : start + _AT_A_TIME]
            keys = [key for key, *_ in some]
            amounts, unpriced = self._buckets(keys), self._unpriced(keys)
            for key, runs, counted, complete in some:
                operations = Operations.from_rows(amounts.get(key, []), unpriced.get(key, {}))
                yield Group(
                    key=key,
                    runs=runs,
                    left_out=runs - counted,
                    complete=bool(complete) and operations.complete,
                    operations=operations,
                    findings=tuple(evaluate(ruleset, operations, as_of=as_of, lower_bound=not complete)),
                )

    def _heads(self, least: int) -> list[tuple[str, int, int, int]]:
        """Key, runs, those that are counted, and whether these are complete: a run is in a group once."""
        database = self._database
        total = f"{database.exact_sum}(CASE WHEN counted = 1 THEN total_ops ELSE ? END)"
        nothing = database.amount(0)
        sql = (
            f"SELECT k, COUNT(*), SUM(counted), MIN(CASE WHEN counted = 1 THEN complete ELSE 1 END), {total}"  # noqa: S608
            f" FROM (SELECT DISTINCT {self._key} AS k, r.run_id, counted, complete, total_ops FROM {self._from}"
            f" WHERE {self._where}) AS g GROUP BY k HAVING {total} >= ? ORDER BY 5 DESC, k"
        )
        rows = database.ask(sql, [nothing, *self._values, nothing, database.amount(least)])
        return [(key, int(runs), int(counted), int(complete)) for key, runs, counted, complete, _ in rows]

    def _buckets(self, keys: Sequence[str]) -> dict[str, list[list[str]]]:
        database = self._database
        parts = ("algorithmic_ops", "repeated_ops", "skippable_ops")
        sums = ", ".join(f"{database.exact_sum}(b.{part})" for part in parts)
        bucket = "b.phase, b.family, b.element, b.purpose"
        rows = database.ask(
            f"SELECT g.k, {bucket}, {sums} {self._joined('buckets b', keys)}, {bucket}", self._all(keys)
        )
        found: dict[str, list[list[str]]] = {}
        for key, phase, family, element, purpose, *numbers in rows:
            amounts = [wire(database.number(number)) for number in numbers]
            found.setdefault(key, []).append([phase, family, element, purpose, *amounts])
        return found

    def _unpriced(self, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        database = self._database
        sums = f"{database.exact_sum}(b.calls)"
        sql = f"SELECT g.k, b.operator, {sums} {self._joined('unpriced b', keys)}, b.operator"
        found: dict[str, dict[str, int]] = {}
        for key, operator, calls in database.ask(sql, self._all(keys)):
            found.setdefault(key, {})[operator] = database.number(calls)
        return found

    def _joined(self, table: str, keys: Sequence[str]) -> str:
        """What hangs on the counted runs of these groups, by group."""
        among = ", ".join("?" * len(keys))
        return (
            f"FROM (SELECT DISTINCT {self._key} AS k, r.run_id FROM {self._from}"  # noqa: S608 - names of our own
            f" WHERE {self._where} AND r.counted = 1 AND {self._key} IN ({among})) AS g"
            f" JOIN auditor_{table} ON b.run_id = g.run_id GROUP BY g.k"
        )

    def _all(self, keys: Sequence[str]) -> list[object]:
        return [*self._values, *keys]


def _conditions(filters: Filters) -> tuple[list[str], list[object]]:
    conditions: list[str] = []
    values: list[object] = []
    for name, given in filters.given().items():
        value = storable(given)
        if name == "chip":
            conditions.append("r.run_id IN (SELECT run_id FROM auditor_devices WHERE chip = ? OR name = ?)")
            values += [value, value]
        elif name == "host":
            conditions.append("r.run_id IN (SELECT run_id FROM auditor_hosts WHERE host = ?)")
            values.append(value)
        else:
            conditions.append(f"r.{name} = ?")
            values.append(value)
    return conditions, values
