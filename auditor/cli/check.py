"""`auditor check`."""

from __future__ import annotations

import argparse
import json
import sys

from auditor.cli import law
from auditor.cli.reading import read, verdict_code
from auditor.errors import ExitCode
from auditor.report import checked, plain
from auditor.rules.cases import Subject
from auditor.rules.explaining import explain
from auditor.rules.model import RuleKind
from auditor.rules.verdict import Verdict


def run(options: argparse.Namespace) -> int:
    """Say what each rule makes of a record; 3 where a line that binds is reached."""
    reading = read(options)
    books = law.read(options)
    subject = Subject(
        ruleset=books.ruleset,
        operations=reading.operations,
        as_of=books.as_of,
        answers=books.answers.values,
        mode=books.mode,
        lower_bound=not checked.is_whole(reading),
        generators=books.answers.generators,
    )
    named = [books.ruleset.find(options.explain)] if options.explain else list(books.ruleset.rules)
    judged = [subject.judge(rule) for rule in named if rule.kind is RuleKind.MODEL_THRESHOLD]
    explained = explain(subject, named[0], books.answers.origins) if options.explain else None
    cases = [] if options.explain else subject.cases()
    page = checked.Checked(reading=reading, subject=subject, judged=judged, cases=cases, explained=explained)
    if options.json:
        sys.stdout.write(json.dumps(checked.to_plain(page), indent=2, ensure_ascii=True, allow_nan=False) + "\n")
    else:
        sys.stdout.write(plain.draw(checked.blocks(page)))
    reached = any(one.finding.verdict == Verdict.REACHED and one.finding.binds for one in judged)
    code = verdict_code(reading, options.require)
    return int(ExitCode.THRESHOLD if code is ExitCode.PASS and reached else code)
