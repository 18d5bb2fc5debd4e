"""`auditor attest`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from auditor import config, rules
from auditor.attestation import Statement, digest_weights, draw, seal, write_statement
from auditor.cli.reading import day, recount
from auditor.errors import ExitCode, UsageError, WeightsError
from auditor.hardware import catalogue
from auditor.ledger import SigningKey, load_or_create, read_ledger
from auditor.ledger.effort import SLIM
from auditor.ledger.heads import is_special


def run(options: argparse.Namespace) -> int:
    """Verify the ledger, digest the weights, and write what is attested of them."""
    weights, out = Path(options.weights), None if options.out is None else Path(options.out)
    _check_apart(weights, out)
    how, now = recount(), datetime.now(UTC)
    predicate = draw(
        read_ledger(Path(options.directory), recount=how, effort=SLIM),
        rules.load(),
        catalogue.load(),
        as_of=day(options.as_of) or now.date(),
        made=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        formulas=how.digest,
    )
    envelope = seal(write_statement(Statement(digest_weights(weights), predicate)), _key(options))
    if out is None:
        sys.stdout.write(envelope.decode())
    else:
        _write(out, envelope)
    return int(ExitCode.PASS)


def _key(options: argparse.Namespace) -> SigningKey:
    return load_or_create(config.load({"key": options.key}).key)


def _check_apart(weights: Path, out: Path | None) -> None:
    """An attestation that stood among the weights would itself be a file that is not attested."""
    if out is not None and weights.is_dir() and out.resolve().is_relative_to(weights.resolve()):
        raise WeightsError(f"{out}: it would stand among the weights", remedy="Name a file outside of them with --out.")


def _write(path: Path, data: bytes) -> None:
    """The file holds the data, whole, or is as it was."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        if is_special(path):
            path.write_bytes(data)
            return
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written: {error.strerror}", remedy="Name another file with --out"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
