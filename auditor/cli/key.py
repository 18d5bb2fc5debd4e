"""`auditor key`."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from auditor import config
from auditor.errors import UsageError
from auditor.ledger import read_public_key
from auditor.ledger.heads import write_synced
from auditor.ledger.keyfile import rotate, rotations_to
from auditor.ledger.keys import load
from auditor.ledger.revocation import revoke
from auditor.records import time_text


def run(options: argparse.Namespace) -> int:
    """Show, replace or revoke the key that signs ledgers."""
    path = config.load({"key": options.key}).key
    _ACTIONS[options.action](path, options)
    return 0


def _show(path: Path, _: argparse.Namespace) -> None:
    public_hex = load(path).public_hex
    lines = [f"{path}", f"  key      {public_hex}"]
    lines += [
        f"  follows  {step.previous} since {time_text(step.made_us)} (rotation {step.number})"
        for step in rotations_to(path, public_hex)
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _rotate(path: Path, _: argparse.Namespace) -> None:
    step = rotate(path)
    sys.stdout.write(
        f"{path}: the key {step.previous} is gone, and has named as its follower\n{step.following}\n"
        "Ledgers written from now on bear that statement, so --key with the old key accepts them. A training that runs"
        " takes the new key at its next interval.\n"
    )


def _revoke(path: Path, options: argparse.Namespace) -> None:
    signer = load(path)
    key = read_public_key(options.revoked) if options.revoked else signer.public_hex
    note = revoke(key, signer, since_s=_seconds(options.since), reason=options.reason)
    if options.out:
        write_synced(Path(options.out), note.encode())
    else:
        sys.stdout.write(note)
    if key == signer.public_hex:
        # On stderr: on stdout the statement may stand.
        sys.stderr.write(
            f"auditor: {path} holds this key and goes on signing with it: move it aside, so that the next run makes"
            " another, and give that one's public key to whoever verifies.\n"
        )


def _seconds(text: str | None) -> int:
    if text is None:
        return int(time.time())
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--since: expected a time such as 2026-11-22T08:00:00Z, got {text!r}") from error


_ACTIONS = {"show": _show, "rotate": _rotate, "revoke": _revoke}
