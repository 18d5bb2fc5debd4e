"""`auditor report`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from auditor.cli import law
from auditor.cli.reading import read, verdict_code
from auditor.errors import ExitCode, UsageError
from auditor.hardware import catalogue
from auditor.lineage import declared
from auditor.report import html, json_text, terminal
from auditor.report.view import View, build


def run(options: argparse.Namespace) -> int:
    """Draw a run from its ledger; the code says what its verdict and its thresholds come to."""
    reading = read(options)
    books = law.read(options)
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
        declared=declared.read(Path(options.declared)) if options.declared else declared.NOTHING,
        plan=books.plan,
        levels=books.levels,
        asked=now,
    )
    _write(view, options)
    code = verdict_code(reading.verdict, options.require)
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
    try:
        Path(options.out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{options.out}: cannot be written: {error.strerror}", remedy="Name another file with --out"
        ) from error
