"""What verbs have in common: a ledger is read, recounted and judged; a day is read."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from auditor.errors import ExitCode, UsageError
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Reading, Recount, Verdict, read_ledger, read_public_key

_ORDER = (Verdict.INVALID, Verdict.DIVERGED, Verdict.INCOMPLETE, Verdict.UNANCHORED, Verdict.WITNESSED)


def read(options: argparse.Namespace) -> Reading:
    """The ledger that the command line names, every total recounted."""
    trusted = read_public_key(options.key) if options.key else None
    recount = Recount(price=Pricer().price, digest=TABLE.digest)
    return read_ledger(Path(options.directory), recount=recount, trusted_key=trusted)


def verdict_code(reading: Reading, require: str | None) -> ExitCode:
    """4 for a ledger that is false, 5 for one that is worth less than required (which is said), else 0."""
    if reading.verdict in (Verdict.INVALID, Verdict.DIVERGED):
        return ExitCode.INVALID
    if require is not None and _ORDER.index(reading.verdict) < _ORDER.index(Verdict(require)):
        sys.stdout.flush()
        sys.stderr.write(f"auditor: the ledger is {reading.verdict}; --require asks for {require}\n")
        return ExitCode.INCOMPLETE
    return ExitCode.PASS


def day(text: str | None) -> date | None:
    """The day that `--as-of` names; None where it is left out."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--as-of: expected a day such as 2026-11-22, got {text!r}") from error
