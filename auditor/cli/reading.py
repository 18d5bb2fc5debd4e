"""What verbs have in common: a ledger is read, recounted and judged; a day is read."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

from auditor.console import say
from auditor.errors import ExitCode, UsageError
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Reading, Recount, Verdict, read_ledger, read_public_key
from auditor.ledger.cosigning import Witness, read_witness
from auditor.ledger.earlier import open_earlier
from auditor.ledger.effort import Effort
from auditor.ledger.heads import find_heads
from auditor.ledger.outside import NOTHING, Held, Outside
from auditor.ledger.revocation import read_revocation
from auditor.ledger.signed import SignedHead, read_heads, read_text
from auditor.ledger.workers import usable_cores

_ORDER = tuple(Verdict)


def read(options: argparse.Namespace, effort: Effort | None = None) -> Reading:
    """The ledger that the command line names, every total recounted."""
    trusted = read_public_key(options.key) if options.key else None
    directory = Path(options.directory)
    return read_directory(directory, trusted, outside(options, directory), effort)


def read_directory(
    directory: Path, trusted_key: str | None = None, held_outside: Outside = NOTHING, effort: Effort | None = None
) -> Reading:
    """The ledger in a directory, every total recounted, by as many processes as there are cores."""
    effort = effort or Effort(workers=usable_cores())
    return read_ledger(directory, recount=recount(), trusted_key=trusted_key, outside=held_outside, effort=effort)


@contextlib.contextmanager
def effort_of(options: argparse.Namespace, *, course: bool) -> Iterator[Effort]:
    """How the command line has ledgers read; what an earlier, interrupted call has read stays."""
    jobs = options.jobs or usable_cores()
    if not options.resume:
        yield Effort(workers=jobs, course=course)
        return
    with open_earlier(Path(options.resume), TABLE.digest) as earlier:
        if len(earlier):
            say(
                f"{len(earlier)} segments were read before ({options.resume}); one that is unchanged, and was read for"
                " the same verb, is not read again"
            )
        yield Effort(workers=jobs, course=course, earlier=earlier)


def outside(options: argparse.Namespace, directory: Path) -> Outside:
    """What the command line brings along to hold a ledger against."""
    witnesses = witnesses_of(options.witness_key)
    quorum = len(witnesses) if options.quorum is None else options.quorum
    if quorum > len(witnesses):
        raise UsageError(f"--quorum {quorum}: there are {len(witnesses)} witnesses given with --witness-key")
    found = {source: _heads(source, directory) for source in options.head}
    return Outside(
        held=tuple(Held(_name(source), head) for source, heads in found.items() for head in heads or ()),
        lost=tuple(source for source, heads in found.items() if heads is None),
        witnesses=witnesses,
        quorum=quorum,
        revocations=tuple(read_revocation(read_text(Path(source))) for source in options.revocation),
    )


def witnesses_of(keys: Iterable[str]) -> tuple[Witness, ...]:
    """The witnesses that these keys name, each once.

    Raises: UsageError: two of them share a key: they would be one witness that counts twice.
    """
    witnesses = tuple(dict.fromkeys(map(read_witness, keys)))
    if len({witness.public_hex for witness in witnesses}) < len(witnesses):
        raise UsageError("--witness-key: two of the witnesses have one and the same key")
    return witnesses


def _heads(source: str, directory: Path) -> list[SignedHead] | None:
    return read_heads(read_text(Path(source))) if Path(source).is_file() else find_heads(directory, source)


def _name(source: str) -> str:
    return source if Path(source).is_file() else "the short text"


def recount() -> Recount:
    """How this installation prices tallies."""
    return Recount(price=Pricer().price, digest=TABLE.digest)


def verdict_code(verdict: Verdict, require: str | None) -> ExitCode:
    """4 for a ledger that is false, 5 for one that is worth less than required (which is said), else 0."""
    if verdict in (Verdict.INVALID, Verdict.DIVERGED):
        return ExitCode.INVALID
    if require is not None and _ORDER.index(verdict) < _ORDER.index(Verdict(require)):
        sys.stdout.flush()
        sys.stderr.write(f"auditor: the ledger is {verdict}; --require asks for {require}\n")
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
