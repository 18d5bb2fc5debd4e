"""`auditor verify --attestation`: what was attested, beside the weights and the ledger."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.attestation import Signer, check, digest_weights, open_envelope, read_file, read_statement
from auditor.cli.reading import outside, read_directory, recount, verdict_code
from auditor.errors import UsageError
from auditor.ledger import read_public_key
from auditor.ledger.outside import NOTHING
from auditor.report.words import clean, plural
from auditor.units import in_full

if TYPE_CHECKING:
    from auditor.attestation import Check, Opened, Predicate, Statement


def run(options: argparse.Namespace) -> int:
    """Check the signature, then the files, then the ledger, and say in words what agrees."""
    _check_complete(options)
    path, how = Path(options.attestation), recount()
    trusted = [read_public_key(options.key)] if options.key else []
    opened = open_envelope(read_file(path), trusted, str(path))
    statement = read_statement(opened.payload, str(path))
    weights = digest_weights(Path(options.weights))
    brought = outside(options, Path(options.directory or "."))
    reading = read_directory(Path(options.directory)) if options.directory else None
    # A revocation leaves lines out of a reading, so what is attested is held against one without what was brought.
    judged = read_directory(Path(options.directory), None, brought) if reading and brought != NOTHING else reading
    signer = Signer(opened.key, next(iter(trusted), None), brought.revocations)
    found = check(statement, signer, weights, reading, how, judged=judged)
    lines = [f"{path}: {found.verdict}", *(f"  - {reason}" for reason in found.reasons)]
    lines += _lines(statement, opened, found, trusted=bool(trusted))
    sys.stdout.write("\n".join(map(clean, lines)) + "\n")
    return int(verdict_code(found.verdict, options.require))


def _check_complete(options: argparse.Namespace) -> None:
    if options.attestation is None or options.weights is None:
        raise UsageError("verify: --attestation and --weights go together")
    if options.proof is not None:
        raise UsageError("verify: --attestation and --proof are checked one at a time")
    if options.directory is None and (options.head or options.witness_key):
        raise UsageError(
            "verify: --head and --witness-key are about a ledger, and none is named",
            remedy="Name its directory beside --attestation, or leave them out.",
        )


def _lines(statement: Statement, opened: Opened, found: Check, *, trusted: bool) -> list[str]:
    said = statement.predicate
    whose = "" if trusted else " (whose key that is, nobody said: --key)"
    lines = [
        f"  signed by   {opened.key}{whose}",
        f"  made        {said.made}, by auditor {said.versions.auditor}",
        f"  weights     {plural(len(statement.subjects), 'file')} attested",
        f"  run         {said.run.id} ({said.run.model or 'model not named'}, {said.run.purpose})",
        f"  operations  {_operations(said)}",
        f"  head        {said.ledger.head}",
    ]
    if found.grown:
        lines.append(f"  since then  {found.grown}")
    if opened.others:
        lines.append(f"  beside it   {plural(opened.others, 'signature')} that {_are(opened.others)} not needed")
    return lines


def _operations(said: Predicate) -> str:
    total = in_full(said.amounts().total)
    return total if said.operations.complete else f"at least {total}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
