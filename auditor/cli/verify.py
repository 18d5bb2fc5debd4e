"""`auditor verify`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auditor.cli import attested, proofs
from auditor.cli.reading import effort_of, read, verdict_code
from auditor.errors import UsageError
from auditor.ledger import Reading, Verdict
from auditor.report.words import clean, plural
from auditor.units import in_full


def run(options: argparse.Namespace) -> int:
    """Check a ledger, a proof, or an attestation, and say in words what is whole and what is not."""
    if options.attestation is not None or options.weights is not None:
        return attested.run(options)
    if (options.directory is None) == (options.proof is None):
        message = "verify: expected a directory, --proof FILE or --attestation FILE"
        raise UsageError(message, remedy="See: auditor verify --help")
    if options.proof:
        if options.require:
            message = f"verify --proof: --require {options.require} is asked of a ledger, and a proof has no verdict"
            raise UsageError(message, remedy="Ask for co-signatures of its head: --witness-key KEY, and --quorum N.")
        lines, code = proofs.check(options)
        sys.stdout.write("\n".join(map(clean, lines)) + "\n")
        return int(code)
    reading = _read(options)
    sys.stdout.write("\n".join(map(clean, _lines(reading, Path(options.directory)))) + "\n")
    return int(verdict_code(reading.verdict, options.require))


def _read(options: argparse.Namespace) -> Reading:
    """The ledger without its course, which nothing here shows."""
    with effort_of(options, course=False) as effort:
        return read(options, effort)


def _lines(reading: Reading, directory: Path) -> list[str]:
    lines = [f"{directory}: {reading.verdict}", *(f"  - {reason}" for reason in reading.reasons)]
    lines.append(f"  run         {reading.run_id} ({reading.model or 'model not named'}, {reading.purpose})")
    lines.append(f"  ranks       {reading.ranks_seen} of {reading.ranks_expected}")
    lines.append(f"  records     {reading.records} in {plural(len(reading.segments), 'segment')}, {_checked(reading)}")
    lines.append(f"  steps       {reading.steps}")
    lines.append(f"  operations  {in_full(reading.operations.total)}, recounted from the tallies")
    lines.extend(_abandoned(reading))
    lines.append(f"  head        {reading.head}")
    lines.extend(f"  signed by   {key}" for key in dict.fromkeys(key for part in reading.segments for key in part.keys))
    return lines


def _abandoned(reading: Reading) -> list[str]:
    """What is part of the total and was given up; nothing where nothing was."""
    if not (reading.abandoned_steps or reading.abandoned.total):
        return []
    amount = f"{in_full(reading.abandoned.total)} of them in {reading.abandoned_steps} steps beside these"
    return [f"  abandoned   {amount}, as the run went on from an earlier checkpoint"]


def _checked(reading: Reading) -> str:
    if reading.verdict is Verdict.INVALID:
        return "checked up to what is false in them"
    return "all hashes and signatures checked"
