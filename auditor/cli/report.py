"""`auditor report`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from auditor.cli import family, law
from auditor.cli.output import write_page
from auditor.errors import ExitCode
from auditor.hardware import catalogue
from auditor.report import html, json_text, terminal
from auditor.report.view import View, build


def run(options: argparse.Namespace) -> int:
    """Draw a run from its ledger; the code says what its verdict and its thresholds come to."""
    books = law.read(options)
    found = family.read(options, books.answers.ledgers)
    reading = found.reading
    now = datetime.now(UTC)
    view = build(
        reading,
        books.ruleset,
        catalogue.load(),
        as_of=books.as_of,
        generated=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        facts=books.answers.stated,
        mode=books.mode,
        generators=books.answers.generators,
        family=found,
        plan=books.plan,
        levels=books.levels,
        moment=now,
    )
    _write(view, options)
    code = family.code_of(found, options.require)
    reached = any(finding.binds for finding in view.reached) or any(mark.passed for mark in view.marks)
    return int(ExitCode.THRESHOLD if code is ExitCode.PASS and reached else code)


def _write(view: View, options: argparse.Namespace) -> None:
    if options.format == "terminal" and options.out is None:
        terminal.show(view, sys.stdout)
        return
    render = {"terminal": terminal.render, "json": json_text.to_json, "html": html.render}[options.format]
    text = render(view)
    if options.out is None:
        sys.stdout.write(text)
        return
    write_page(options.out, text, "--out")
