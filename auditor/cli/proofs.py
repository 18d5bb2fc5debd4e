"""`auditor verify --proof`: a proof is checked without the ledger that it is of."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from auditor.cli.reading import outside
from auditor.errors import ExitCode, LedgerDiverged
from auditor.ledger import read_public_key
from auditor.ledger.outside import Outside, time_of_day
from auditor.ledger.proving import Extension, Inclusion, Signed, read_proof
from auditor.ledger.rotation import Succession
from auditor.ledger.signed import SignedHead, read_text


def check(options: argparse.Namespace) -> tuple[list[str], ExitCode]:
    """What the proof shows, in words; 5 where too few witnesses have co-signed its head, or its key was revoked.

    Raises: LedgerInvalid: it does not hold. NoteError: it is no proof. LedgerDiverged: it is of another head than the
    one that was kept.
    """
    path = Path(options.proof)
    proof = read_proof(read_text(path))
    trusted = read_public_key(options.key) if options.key else None
    proof.check(trusted)
    brought = outside(options, path.parent)
    said = _inclusion(proof) if isinstance(proof, Inclusion) else _extension(proof, brought)
    head = proof.head if isinstance(proof, Inclusion) else proof.after
    times = {witness.name: witness.time_of(head) for witness in brought.witnesses}
    said += [f"  witness     {name}: {_cosigned(time_s)}" for name, time_s in times.items()]
    said.append(f"  signed by   {proof.signed.key}{'' if trusted else _UNKNOWN}")
    revoked = [f"  revoked     {text}" for text in _revoked(proof.signed, trusted, head, brought, times.values())]
    enough = sum(time_s is not None for time_s in times.values()) >= brought.quorum and not revoked
    found = "holds, by a key that was revoked" if revoked else "holds"
    return [f"{path}: {found}", *said, *revoked], ExitCode.PASS if enough else ExitCode.INCOMPLETE


_UNKNOWN = " (as the proof says; whose key that is, it cannot say: --key)"


def _revoked(
    signed: Signed, trusted: str | None, head: SignedHead, brought: Outside, times: Iterable[int | None]
) -> list[str]:
    """Revocations by who has a say, where neither enough witnesses nor whoever verifies had the head before."""
    line = Succession(signed.rotations).line_through(signed.key)
    seen = sorted(time_s for time_s in times if time_s is not None)
    since_s = seen[brought.quorum - 1] if 0 < brought.quorum <= len(seen) else None
    if any(held.head.text == head.text for held in brought.held):
        since_s = 0
    return [
        f"as of {time_of_day(said.since_s)} ({said.reason}); nothing shows that this head is from before"
        for said in brought.revocations
        if said.key == signed.key
        and (said.by == trusted or said.by in line)
        and (since_s is None or since_s > said.since_s)
    ]


def _inclusion(proof: Inclusion) -> list[str]:
    record = proof.line.decode("ascii", "replace")
    return [
        f"  record      {record if len(record) <= 2000 else record[:2000] + ' ...'}",
        f"  stands in   line {proof.index + 1} of {proof.head.head.size} of {proof.head.origin}",
    ]


def _extension(proof: Extension, brought: Outside) -> list[str]:
    kept = [held.head for held in brought.held if held.head.origin == proof.before.origin]
    if kept and proof.before.text not in [head.text for head in kept]:
        raise LedgerDiverged(f"the proof begins with another head of {proof.before.origin} than the one that was kept")
    said = " (the one that you kept)" if kept else ""
    return [
        f"  log         {proof.after.origin}",
        f"  extends     its head of {proof.before.head.size} lines{said}, by a head of {proof.after.head.size} lines",
    ]


def _cosigned(time_s: int | None) -> str:
    return "did not co-sign this head" if time_s is None else f"co-signed at {time_of_day(time_s)}"
