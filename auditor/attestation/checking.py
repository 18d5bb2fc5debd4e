"""An attestation beside the weights that are there, and beside the ledger: what agrees, and what does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger import Verdict, compare
from auditor.ledger.findings import Finding, sorted_by_weight, worst
from auditor.ledger.outside import time_of_day
from auditor.ledger.rotation import Succession
from auditor.operations import add_up
from auditor.report.words import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.attestation.predicate import Predicate
    from auditor.attestation.statement import Statement
    from auditor.attestation.weights import Subject
    from auditor.ledger import Comparison, Reading, Recount, SegmentReading
    from auditor.ledger.revocation import Revocation

_MOST_NAMED = 20


class Signer(NamedTuple):
    """Who signed an attestation, whom its reader trusts, and what they know to be revoked."""

    key: str
    trusted: str | None = None
    revocations: tuple[Revocation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What an attestation is worth here; ``grown``: what the ledger has gained since, in words, or ""."""

    verdict: Verdict
    reasons: tuple[str, ...]  # the worst first
    grown: str


def check(
    statement: Statement,
    signer: Signer,
    weights: Sequence[Subject],
    reading: Reading | None,
    recount: Recount,
    *,
    judged: Reading | None,
) -> Check:
    """The attestation beside these files and, where there is one, the ledger.

    judged: the reading whose verdict counts: that of the ledger held against what the reader brought along.
    INVALID: a file is not one of those attested, or amounts are not those of the ledger. DIVERGED: the ledger is not
    the one that was attested, or was cut. Otherwise the verdict of the ledger: as it is now, or as it was attested.
    """
    predicate = statement.predicate
    said = list(_of_weights(statement.subjects, weights))
    said += _of_keys(signer.key, predicate)
    said += _of_revocations(signer, reading)
    grown = ""
    if reading is None or judged is None:
        said.append(_as_attested(predicate))
    else:
        comparison = compare(reading, predicate.heads(), recount)
        said += comparison.contradictions
        said += _of_run(predicate, reading)
        if not comparison.contradictions:
            said += _of_amounts(predicate, comparison.at_heads, recount)
        said += [Finding(judged.verdict, f"The ledger is {judged.verdict}: {judged.reasons[0]}")]
        grown = _grown(comparison)
    return Check(
        verdict=worst(said),
        reasons=tuple(dict.fromkeys(finding.text for finding in sorted_by_weight(said))),
        grown=grown,
    )


def _of_weights(attested: Sequence[Subject], found: Sequence[Subject]) -> Iterator[Finding]:
    """Files that are missing, additional or changed, by name."""
    expected, present = dict(attested), dict(found)
    yield from _named("is missing", [name for name in expected if name not in present])
    yield from _named("is not attested", [name for name in present if name not in expected])
    changed = [name for name in expected if name in present and present[name] != expected[name]]
    yield from _named("is not the file that was attested: its digest is another", changed)


def _named(what: str, names: Sequence[str]) -> Iterator[Finding]:
    for name in names[:_MOST_NAMED]:
        yield Finding(Verdict.INVALID, f"{name} {what}.")
    if len(names) > _MOST_NAMED:
        yield Finding(Verdict.INVALID, f"The same holds for {len(names) - _MOST_NAMED} more files.")


def _of_keys(key: str, predicate: Predicate) -> Iterator[Finding]:
    if any(segment.key != key for segment in predicate.ledger.segments):
        yield Finding(Verdict.UNANCHORED, "It is signed by another key than the ledger that it speaks of.")


def _of_revocations(signer: Signer, reading: Reading | None) -> Iterator[Finding]:
    """Who has a say is as in a ledger: the key itself, one of its line, or the key that is trusted."""
    segments = reading.segments if reading else ()
    line = Succession(rotation for segment in segments for rotation in segment.rotations).line_through(signer.key)
    for said in signer.revocations:
        if said.key == signer.key and (said.by == signer.trusted or said.by in line):
            yield Finding(
                Verdict.INCOMPLETE,
                f"The key that signed this was revoked as of {time_of_day(said.since_s)} ({said.reason}), and nothing"
                " shows that it was signed before.",
            )


def _as_attested(predicate: Predicate) -> Finding:
    ledger = predicate.ledger
    known = ledger.verdict in list(Verdict)
    verdict = Verdict(ledger.verdict) if known else Verdict.INCOMPLETE
    # What somebody says was witnessed is not seen here.
    verdict = Verdict.UNANCHORED if verdict is Verdict.WITNESSED else verdict
    return Finding(verdict, f"The ledger was {ledger.verdict} when this was signed, and was not looked at now.")


def _of_run(predicate: Predicate, reading: Reading) -> Iterator[Finding]:
    said = (predicate.run.id, predicate.run.model, predicate.run.purpose)
    if said != (reading.run_id, reading.model, reading.purpose):
        yield Finding(Verdict.DIVERGED, f"It speaks of the run {said[0]}; this ledger is of {reading.run_id}.")


def _of_amounts(predicate: Predicate, segments: Sequence[SegmentReading], recount: Recount) -> Iterator[Finding]:
    """Whether the ledger came to what is attested, at the heads that are attested."""
    table = predicate.versions.formulas
    if table == recount.digest:
        found = add_up([(segment.operations, 1) for segment in segments])
    elif all(segment.genesis.digests.get("formulas") == table for segment in segments):
        found = add_up([(segment.recorded, 1) for segment in segments])
    else:
        text = f"The amounts were counted under formula table {table[:12]}, which is not here: they were not compared."
        yield Finding(Verdict.UNANCHORED, text)
        return
    said = predicate.amounts()
    if found != said:
        text = f"The amounts are not those of the ledger: attested are {said.total} operations, it holds {found.total}."
        yield Finding(Verdict.INVALID, text)


def _grown(comparison: Comparison) -> str:
    words = (("grown", comparison.grown), ("added", comparison.added))
    return ", ".join(f"{plural(number, 'segment')} {what}" for what, number in words if number)
