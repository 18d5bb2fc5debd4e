"""`auditor check`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from auditor.cli import law
from auditor.cli.reading import read, verdict_code
from auditor.errors import ExitCode
from auditor.ledger import Reading
from auditor.report import checked, plain, recorded
from auditor.rules.cases import Subject
from auditor.rules.explaining import explain
from auditor.rules.expressions import Result, Values
from auditor.rules.model import RuleKind
from auditor.rules.verdict import Verdict
from auditor.warning import forecast


def run(options: argparse.Namespace) -> int:
    """Say what each rule makes of a record; 3 where a line that binds is reached, or a level passed."""
    reading = read(options)
    books = law.read(options)
    answers, origins = _with_record(books, reading, options.explain)
    subject = Subject(
        ruleset=books.ruleset,
        operations=reading.operations,
        as_of=books.as_of,
        answers=answers,
        mode=books.mode,
        lower_bound=not checked.is_whole(reading),
        generators=books.answers.generators,
        abandoned=reading.abandoned,
    )
    named = [books.ruleset.find(options.explain)] if options.explain else list(books.ruleset.rules)
    judged = [subject.judge(rule) for rule in named if rule.kind is RuleKind.MODEL_THRESHOLD]
    explained = explain(subject, named[0], origins) if options.explain else None
    cases = [] if options.explain else subject.cases()
    marks = forecast.marks_of(reading, subject, books.levels)
    page = checked.Checked(
        reading=reading,
        subject=subject,
        judged=judged,
        cases=cases,
        explained=explained,
        outlook=forecast.warn(reading, subject, books.plan, datetime.now(UTC)),
        marks=marks,
    )
    if options.json:
        sys.stdout.write(json.dumps(checked.to_plain(page), indent=2, ensure_ascii=True, allow_nan=False) + "\n")
    else:
        sys.stdout.write(plain.draw(checked.blocks(page)))
    reached = any(one.finding.verdict == Verdict.REACHED and one.finding.binds for one in judged)
    code = verdict_code(reading.verdict, options.require)
    passed = any(mark.passed for mark in marks)
    return int(ExitCode.THRESHOLD if code is ExitCode.PASS and (reached or passed) else code)


def _with_record(books: law.Law, reading: Reading, rule: str | None) -> tuple[Values, Mapping[str, str]]:
    """The answers, with what the record's hardware answers where nobody did and it is asked."""
    values, origins = books.answers.values, books.answers.origins
    rules = [books.ruleset.find(rule)] if rule else books.ruleset.rules
    asked = any(recorded.PLANT in expression.names for one in rules for expression in one.expressions)
    if not asked or recorded.PLANT in values:
        return values, origins
    found = recorded.plant_eccn(reading, books.ruleset, books.as_of)
    if found is None:
        return values, origins
    return {**values, recorded.PLANT: Result(found[0])}, {**origins, recorded.PLANT: found[1]}
