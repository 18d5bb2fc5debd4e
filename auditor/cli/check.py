"""`auditor check`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

from auditor.cli import family, law
from auditor.cli.output import write_page
from auditor.errors import ExitCode
from auditor.hardware import catalogue
from auditor.report import asked, checked, html, plain
from auditor.rules.explaining import explain
from auditor.rules.model import RuleKind
from auditor.rules.verdict import Verdict
from auditor.warning import forecast


def run(options: argparse.Namespace) -> int:
    """Say what each rule makes of a record; 3 where a line that binds is reached, or a level passed."""
    books = law.read(options)
    found = family.read(options, books.answers.ledgers)
    named = [books.ruleset.find(options.explain)] if options.explain else list(books.ruleset.rules)
    answers, own = asked.with_record(
        books.answers.values, found.reading, books.ruleset, catalogue.load(), as_of=books.as_of, rules=named
    )
    subject = asked.subject_of(
        found,
        books.ruleset,
        as_of=books.as_of,
        answers=answers,
        mode=books.mode,
        generators=books.answers.generators,
    )
    judged = [subject.judge(rule) for rule in named if rule.kind is RuleKind.MODEL_THRESHOLD]
    explained = explain(subject, named[0], {**books.answers.origins, **own}) if options.explain else None
    cases = [] if options.explain else subject.cases()
    marks = forecast.marks_of(found.reading, subject, books.levels)
    page = checked.Checked(
        family=found,
        subject=subject,
        judged=judged,
        cases=cases,
        explained=explained,
        outlook=forecast.warn(found.reading, subject, books.plan, datetime.now(UTC)),
        marks=marks,
    )
    if options.json:
        sys.stdout.write(json.dumps(checked.to_plain(page), indent=2, ensure_ascii=True, allow_nan=False) + "\n")
    else:
        sys.stdout.write(plain.draw(checked.blocks(page)))
    if options.html is not None:
        write_page(options.html, html.draw(checked.blocks(page)), "--html")
    reached = any(one.finding.verdict == Verdict.REACHED and one.finding.binds for one in judged)
    code = family.code_of(found, options.require)
    passed = any(mark.passed for mark in marks)
    return int(ExitCode.THRESHOLD if code is ExitCode.PASS and (reached or passed) else code)
