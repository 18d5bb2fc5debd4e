"""`auditor index`: many ledgers in one database, and what they come to together."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from auditor import rules
from auditor.cli.reading import day
from auditor.errors import ExitCode, UsageError
from auditor.formulas import TABLE
from auditor.index import (
    Access,
    Database,
    Filters,
    Group,
    Outcome,
    Refused,
    RunDetails,
    Settled,
    add,
    counted_otherwise,
    details,
    find_run,
    groups,
    open_index,
    rebuild,
)
from auditor.ledger.places import ledgers_below
from auditor.report import plain
from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph, Table
from auditor.report.words import clean, listing, percent, plain_decimal, plural, status_words
from auditor.rules.verdict import Finding
from auditor.units import in_full, parse_exact, scientific, threshold, wire

SCHEMA = "auditor.index/1"
_MOST = 100
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_FALSE = (Outcome.INVALID, Outcome.DIVERGED)
_QUIET = (Outcome.ADDED, Outcome.UNCHANGED, Outcome.GROWN, Outcome.MOVED)
NOTICE = (
    "A sum is over the runs that the index knows, each once; what a model's ancestors came to is not in it. Amounts"
    " held against published texts of law are not legal advice."
)


def run(options: argparse.Namespace) -> int:
    """Take ledgers in, or answer from those that were."""
    if options.action in ("add", "rebuild"):
        return _add(options)
    as_of = day(options.as_of) or datetime.now(UTC).date()
    with open_index(options.to) as database:
        answer = _list if options.action == "list" else _show
        blocks, document = answer(database, options, as_of)
    if options.json:
        _print_json({"as_of": as_of.isoformat(), **document, "notice": NOTICE})
    else:
        sys.stdout.write(plain.draw([*blocks, Paragraph(NOTICE, "quiet")]))
    return int(ExitCode.PASS)


def _add(options: argparse.Namespace) -> int:
    told: list[Settled | Refused] = []
    anew = options.action == "rebuild"
    with open_index(options.to, Access.WRITE if anew else Access.MAKE) as database:
        for one in rebuild(database) if anew else add(database, _ledgers(options.directories)):
            told.append(one)
            _tell(one)
        place = database.place
    counts = Counter(str(one.outcome) for one in told if isinstance(one, Settled))
    counts["refused"] = sum(isinstance(one, Refused) for one in told)
    if options.json:
        _print_json({"imported": [_settled_plain(one) for one in told]})
    else:
        words = [f"{number:,} {outcome}" for outcome, number in counts.items() if number]
        sys.stdout.write(f"{clean(place)}: {plural(len(told), 'ledger')} read: {', '.join(words)}\n")
    return int(_code(told))


def _ledgers(directories: Sequence[str]) -> list[Path]:
    return [ledger for name in directories for ledger in ledgers_below(Path(name))]


def _tell(one: Settled | Refused) -> None:
    """What is not plain is said as soon as it is known."""
    if isinstance(one, Refused):
        sys.stderr.write(f"auditor: {clean(one.told)}\n")
    elif one.outcome not in _QUIET:
        sys.stderr.write(f"auditor: {clean(one.path)}: {one.outcome}: {clean(one.told)}\n")


def _code(told: Sequence[Settled | Refused]) -> ExitCode:
    if any(isinstance(one, Settled) and one.outcome in _FALSE for one in told):
        return ExitCode.INVALID
    return ExitCode.USAGE if any(isinstance(one, Refused) for one in told) else ExitCode.PASS


def _settled_plain(one: Settled | Refused) -> dict[str, Any]:
    if isinstance(one, Refused):
        return {"path": one.path, "run": None, "outcome": "refused", "told": one.told}
    return {"path": one.path, "run": one.run_id, "outcome": str(one.outcome), "told": one.told}


_Answer = tuple[list[Block], dict[str, Any]]


def _list(database: Database, options: argparse.Namespace, as_of: date) -> _Answer:
    filters = _filters(options)
    most, over = _number(options.most), _percent(options.over)
    found = groups(
        database, rules.load(), by=options.by, filters=filters, as_of=as_of, over_percent=over, most=most + 1
    )
    more, found = len(found) > most, found[:most]
    runs = details(database, [group.key for group in found]) if options.by == "run" else {}
    asked = [f"{name} {value}" for name, value in filters.given().items()]
    asked += [f"over {plain_decimal(over)} % of a line"] if over is not None else []
    head = f"{plural(len(found), options.by)}{', ' if asked else ''}{', '.join(asked)}. Law as of {as_of.isoformat()}."
    blocks: list[Block] = [Paragraph(head)]
    if found:
        blocks.append(_table(options.by, found, runs))
    if more:
        blocks.append(Paragraph(f"There are more than these {most:,}: --most N shows so many.", "open"))
    others = counted_otherwise(database, TABLE.digest)
    if others:
        words = f"Counted under another table of formulas than that of this auditor: {plural(others, 'run')}"
        blocks.append(Paragraph(f"{words}. `auditor index rebuild` recounts them.", "open"))
    document = {
        "by": options.by,
        "filters": filters.given(),
        "over_percent": None if over is None else plain_decimal(over),
        "more": more,
        "other_formulas": others,
        "groups": [_group_plain(group, runs.get(group.key)) for group in found],
    }
    return blocks, document


def _table(by: str, found: Sequence[Group], runs: Mapping[str, RunDetails]) -> Table:
    """The line that is nearest to the count stands in the last columns."""
    if by == "run":
        names = ("run", "model", "began", "verdict", "operations", "nearest line", "counted")
        return Table(names, tuple(_run_row(one, runs[one.key]) for one in found), frozenset({4, 6}), 5)
    columns = (by, "runs", "left out", "operations", "nearest line", "counted")
    return Table(columns, tuple(map(_group_row, found)), frozenset({1, 2, 3, 5}), 4)


def _group_row(group: Group) -> tuple[str, ...]:
    return (group.key or "(not named)", f"{group.runs:,}", f"{group.left_out:,}", _amount(group), *_nearest(group))


def _run_row(group: Group, one: RunDetails) -> tuple[str, ...]:
    counted = (_amount(group), *_nearest(group)) if not group.left_out else ("not summed", "", "")
    return (group.key, one.model or "(not named)", one.started[:10], one.verdict, *counted)


def _amount(group: Group) -> str:
    return f"{'' if group.complete else 'at least '}{scientific(group.operations.total)}"


def _nearest(group: Group) -> tuple[str, str]:
    nearest = group.nearest
    return (nearest.title.partition(",")[0], percent(nearest.fraction)) if nearest else ("", "")


def _show(database: Database, options: argparse.Namespace, as_of: date) -> _Answer:
    given = Path(options.run)
    run_id = find_run(database, str(given.resolve()) if given.is_dir() else options.run)
    one = details(database, [run_id])[run_id]
    # A run is a group of its own: its id is a value that no other has.
    (group,) = groups(database, rules.load(), by="run", filters=Filters(run_id=run_id), as_of=as_of)
    blocks: list[Block] = [
        Heading(f"{run_id}: {one.verdict}"),
        Bullets(one.reasons),
        Pairs(tuple(_run_pairs(one, group))),
    ]
    blocks += [Heading(f"Lines, as of {as_of.isoformat()}"), _findings(group.findings)]
    rows = tuple((part.name, f"{part.size:,}", part.root) for part in one.segments)
    blocks += [Heading("Heads held"), Table(("segment", "lines", "root"), rows, frozenset({1}), 0)]
    return blocks, {"run": _group_plain(group, one) | {"held": [_part_plain(part) for part in one.segments]}}


def _run_pairs(one: RunDetails, group: Group) -> Iterator[tuple[str, str]]:
    yield "ledger", one.path
    yield "model", f"{one.model or '(not named)'}, {one.purpose}"
    yield "began", f"{one.started}, ended {one.ended or '(going on)'}"
    yield "ranks", f"{one.ranks_seen:,} of {one.ranks_expected:,}, {plural(one.steps, 'step')}"
    yield "hosts", listing(one.hosts) or "(not named)"
    for device in one.devices:
        yield "device", f"{device.number:,} x {device.name or device.kind}{f' ({device.chip})' * bool(device.chip)}"
    total = in_full(group.operations.total)
    yield "operations", "not summed" if group.left_out else f"{'' if group.complete else 'at least '}{total}"
    for op, calls in group.operations.unpriced.items():
        yield "no formula", f"{op}, {plural(calls, 'call')}"
    yield "head", one.head
    yield "verified", f"{one.verified} by auditor {one.auditor}, formulas {one.formulas[:12]}"


def _findings(findings: Sequence[Finding]) -> Table:
    rows = tuple(
        (one.title, status_words(one.status), threshold(one.threshold_ops), percent(one.fraction), one.verdict)
        for one in findings
    )
    return Table(("rule", "standing", "line", "counted", "verdict"), rows, frozenset({2, 3}), 0)


def _filters(options: argparse.Namespace) -> Filters:
    if options.month is not None and not _MONTH.fullmatch(options.month):
        raise UsageError(f"index list: --month: expected a month such as 2026-11, got {options.month!r}")
    names = ("model", "chip", "host", "month", "verdict")
    return Filters(**{name: getattr(options, name) for name in names})


def _number(text: str | None) -> int:
    if text is None:
        return _MOST
    if not text.isascii() or not text.isdigit() or not int(text[:9]) > 0 or len(text) > 9:
        raise UsageError(f"index list: --most: expected a whole number from 1 on, got {text!r}")
    return int(text)


def _percent(text: str | None) -> Decimal | None:
    value = None if text is None else parse_exact(text)
    if value is not None and value < 0:
        raise UsageError(f"index list: --over: expected a percentage that is not negative, got {text!r}")
    return value


def _group_plain(group: Group, one: RunDetails | None) -> dict[str, Any]:
    amounts = group.operations
    document: dict[str, Any] = {
        "key": group.key,
        "runs": group.runs,
        "left_out": group.left_out,
        "complete": group.complete,
        "operations": wire(amounts.total),
        "by_phase": {name: wire(ops) for name, ops in amounts.by_phase.items()},
        "by_purpose": {name: wire(ops) for name, ops in amounts.by_purpose.items()},
        "unpriced": [{"op": op, "calls": wire(calls)} for op, calls in sorted(amounts.unpriced.items())],
        "lines": [_line_plain(finding) for finding in group.findings],
    }
    return document if one is None else document | {"run": _run_plain(one)}


def _line_plain(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "title": finding.title,
        "status": finding.status,
        "enforced": finding.enforced,
        "counted": wire(finding.counted_ops),
        "threshold": wire(finding.threshold_ops),
        "fraction": plain_decimal(finding.fraction),
        "lower_bound": finding.lower_bound,
        "verdict": finding.verdict,
    }


def _run_plain(one: RunDetails) -> dict[str, Any]:
    return {
        "id": one.run_id,
        "path": one.path,
        "model": one.model,
        "purpose": one.purpose,
        "started": one.started,
        "ended": one.ended or None,
        "verdict": one.verdict,
        "reasons": list(one.reasons),
        "steps": wire(one.steps),
        "ranks_expected": wire(one.ranks_expected),
        "ranks_seen": wire(one.ranks_seen),
        "hosts": list(one.hosts),
        "devices": [
            {"chip": device.chip or None, "name": device.name, "kind": device.kind, "number": wire(device.number)}
            for device in one.devices
        ],
        "head": one.head,
        "verified": one.verified,
        "auditor": one.auditor,
        "formulas": one.formulas,
    }


def _part_plain(part: Any) -> dict[str, str]:
    return {name: str(value) for name, value in part._asdict().items()}


def _print_json(document: Mapping[str, Any]) -> None:
    whole = {"schema": SCHEMA, **document}
    sys.stdout.write(json.dumps(whole, indent=2, ensure_ascii=True, allow_nan=False) + "\n")
