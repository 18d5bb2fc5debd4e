"""`auditor report`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from auditor import hardware, rules
from auditor.cli.reading import read, verdict_code
from auditor.errors import ExitCode, UsageError
from auditor.report import html, json_text, terminal
from auditor.report.view import View, build


def run(options: argparse.Namespace) -> int:
    """Draw a run from its ledger; the code says what its verdict and its thresholds come to."""
    reading = read(options)
    now = datetime.now(UTC)
    view = build(
        reading,
        rules.load(),
        hardware.load(),
        as_of=_day(options.as_of) or now.date(),
        generated=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    _write(view, options)
    code = verdict_code(reading, options.require)
    return int(ExitCode.THRESHOLD if code is ExitCode.PASS and view.reached else code)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--as-of: expected a day such as 2026-11-22, got {text!r}") from error


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
