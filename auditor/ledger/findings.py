"""What is to be said of a ledger, in plain words, and what each thing makes of the verdict."""

from __future__ import annotations

import itertools
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger.places import segment_name
from auditor.operations import Operations, add_up
from auditor.units import scientific

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from auditor.ledger.ends import SegmentSum
    from auditor.ledger.inspection import SegmentReading, Unreadable

    Ended = SegmentReading | SegmentSum
_MOST_ALIKE = 20  # findings of one kind that are listed one by one
_MOST_NAMED = 5
STILL_WRITTEN = "is still being written"


class Verdict(StrEnum):
    """What a ledger is worth; the worst that holds is the verdict."""

    INVALID = "INVALID"  # a hash, a signature or an amount is false
    DIVERGED = "DIVERGED"  # contradicts a head that is held elsewhere
    INCOMPLETE = "INCOMPLETE"  # ranks, time or operators are missing; the total is a floor
    SUMMED = "SUMMED"  # only the signed ends of segments were read: nothing was recounted
    UNANCHORED = "UNANCHORED"  # whole and self-signed
    WITNESSED = "WITNESSED"  # whole, and agrees with heads that are held elsewhere


class Finding(NamedTuple):
    """One thing to be said; the verdict is at best ``verdict``."""

    verdict: Verdict
    text: str


UNANCHORED = Finding(
    Verdict.UNANCHORED,
    "Whole and self-signed. Nobody outside holds its head, so a rewrite with the same key would not show.",
)


SUMMED = Finding(
    Verdict.SUMMED,
    "Added up from the signed ends of its segments: what stands between was not read, and nothing was recounted."
    " `auditor verify` does both.",
)


def of_anchors(said: Sequence[Finding], coverage: Finding | None) -> list[Finding]:
    """What heads from outside make of it; without any it is unanchored, where nothing worse is to be said."""
    verdict = worst(said)
    if verdict in (Verdict.INVALID, Verdict.DIVERGED):
        return []
    if coverage is not None:
        return [coverage]
    return [UNANCHORED] if verdict is not Verdict.INCOMPLETE else []


def worst(findings: Iterable[Finding]) -> Verdict:
    """The verdict that these findings come to."""
    order = list(Verdict)
    return min((finding.verdict for finding in findings), key=order.index, default=Verdict.WITNESSED)


def sorted_by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first, otherwise as they came."""
    order = list(Verdict)
    return sorted(findings, key=lambda finding: order.index(finding.verdict))


def of_segments(segments: Sequence[SegmentReading]) -> Iterator[Finding]:
    """What is wrong inside of segments."""
    yield from of_endings(segments)
    yield from _gaps(segments)


def of_endings(segments: Sequence[Ended]) -> Iterator[Finding]:
    """Segments that are damaged, cut, not closed, or under another name."""
    for check in (_damage, _tail, _end, _name):
        yield from _capped(check, segments)


def _capped(check: Callable[[Ended], Finding | None], segments: Sequence[Ended]) -> Iterator[Finding]:
    yield from capped([finding for finding in map(check, segments) if finding])


def capped(found: Sequence[Finding]) -> Iterator[Finding]:
    """The worst findings of a kind, one by one, and how many more there are."""
    ranked = sorted_by_weight(found)
    yield from ranked[:_MOST_ALIKE]
    if len(ranked) > _MOST_ALIKE:
        yield ranked[-1]._replace(text=f"The same holds for {len(ranked) - _MOST_ALIKE} more segments.")


def _damage(segment: Ended) -> Finding | None:
    if not segment.broken:
        return None
    text = f"{segment.name}: {segment.broken}. What it says before that is counted, what follows is not."
    return Finding(Verdict.INVALID, text)


def _tail(segment: Ended) -> Finding | None:
    if not segment.torn_bytes:
        return None
    text = f"{segment.name}: its last {segment.torn_bytes} bytes are a record that was never finished."
    return Finding(Verdict.INCOMPLETE, text)


def _end(segment: Ended) -> Finding | None:
    if segment.sealed or segment.broken:
        return None
    if segment.live:
        text = f"{segment.name} {STILL_WRITTEN}: what it has done since {segment.ended} is not counted yet."
    else:
        text = (
            f"{segment.name} was never closed: its process was killed, the power was lost, or its disk took no more. "
            f"What it did after {segment.ended} is not counted."
        )
    return Finding(Verdict.INCOMPLETE, text)


def _name(segment: Ended) -> Finding | None:
    if segment.name == segment_name(segment.genesis):
        return None
    text = f"{segment.name}: by its first record it is {segment_name(segment.genesis)}: the file was renamed."
    return Finding(Verdict.INVALID, text)


def _gaps(segments: Iterable[SegmentReading]) -> Iterator[Finding]:
    times: Counter[str] = Counter()
    for gap in (gap for segment in segments for gap in segment.gaps if gap.lower_bound):
        times[gap.message] += gap.times
    for message, number in itertools.islice(times.items(), _MOST_ALIKE):
        often = f" (noted {number} times)" if number > 1 else ""
        yield Finding(Verdict.INCOMPLETE, f"Operations may be missing: {message}{often}")
    if len(times) > _MOST_ALIKE:
        yield Finding(Verdict.INCOMPLETE, f"There are {len(times) - _MOST_ALIKE} more gaps of other kinds.")


def of_other_runs(others: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Segments of other runs than this one, by run."""
    for run_id, names in itertools.islice(sorted(others.items()), _MOST_ALIKE):
        text = (
            f"{_listed(names[:_MOST_NAMED], len(names))} belong{'s' if len(names) == 1 else ''} to another run, "
            f"{run_id}, and nothing of it is counted here. Two jobs were given one directory at the same time, or it "
            "was copied in: move it to a directory of its own, with a folder segments, and verify it there."
        )
        yield Finding(Verdict.INVALID, text)
    if len(others) > _MOST_ALIKE:
        yield Finding(Verdict.INVALID, f"There are segments of {len(others) - _MOST_ALIKE} more runs.")


def of_unreadable(unreadable: Sequence[Unreadable]) -> Iterator[Finding]:
    """Segments of which nothing can be read."""
    for segment in unreadable[:_MOST_ALIKE]:
        verdict = Verdict.INVALID if segment.false else Verdict.INCOMPLETE
        remedy = "" if segment.false else " Let whoever reads have it as it was written, and look again."
        yield Finding(verdict, f"{segment.name}: {segment.cause}. Nothing of it is counted.{remedy}")
    if len(unreadable) > _MOST_ALIKE:
        verdict = Verdict.INVALID if any(segment.false for segment in unreadable) else Verdict.INCOMPLETE
        yield Finding(verdict, f"There are {len(unreadable) - _MOST_ALIKE} more segments that cannot be read.")


def of_ranks(segments: Iterable[Ended], expected: int, seen: set[int]) -> Iterator[Finding]:
    """Ranks and attempts of which there should be a segment."""
    missing = expected - len({rank for rank in seen if rank < expected})
    if missing > 0:
        absent = (rank for rank in itertools.count() if rank not in seen)
        names = _listed(list(itertools.islice(absent, min(missing, _MOST_NAMED))), missing)
        text = f"{missing} of {expected} ranks left no segment: {names}. What they did is not counted."
        yield Finding(Verdict.INCOMPLETE, text)
    attempts: dict[int, set[int]] = {}
    for segment in segments:
        if segment.genesis.role == "rank":
            attempts.setdefault(segment.genesis.rank, set()).add(segment.genesis.attempt)
    yield from capped([_lost(rank, there) for rank, there in sorted(attempts.items()) if len(there) <= max(there)])


def _lost(rank: int, attempts: set[int]) -> Finding:
    of, lost = max(attempts) + 1, max(attempts) + 1 - len(attempts)
    text = f"Of {of} attempts of rank {rank}, {lost} left no segment: what they did is missing."
    return Finding(Verdict.INCOMPLETE, text)


def _listed(names: Sequence[object], number: int) -> str:
    more = f" and {number - len(names)} more" if number > len(names) else ""
    return ", ".join(map(str, names)) + more


def of_launchers(segments: Sequence[Ended], present: int) -> Iterator[Finding]:
    """Processes that a launcher saw and that have no segment. ``present``: segments other than launchers'."""
    launchers = [segment for segment in segments if segment.genesis.role == "launcher"]
    begun = sum(segment.exit.processes for segment in launchers if segment.exit)
    if launchers and all(segment.exit for segment in launchers) and begun > present:
        text = f"Of {begun} segments that the launcher saw begin, {begun - present} are missing here."
        yield Finding(Verdict.INCOMPLETE, text)
    orphans = [segment.name for segment in segments if "launcher" in segment.genesis.host]
    if orphans and not launchers:
        text = f"{_listed(orphans[:_MOST_NAMED], len(orphans))} began under a launcher whose segment is missing here."
        yield Finding(Verdict.INCOMPLETE, text)


def of_operations(operations: Operations) -> Iterator[Finding]:
    """Operators that were seen and have no price."""
    if operations.complete:
        return
    ranked = sorted(operations.unpriced.items(), key=lambda part: (-part[1], part[0]))
    names = _listed([f"{op} ({calls} calls)" for op, calls in ranked[:_MOST_NAMED]], len(ranked))
    yield Finding(Verdict.INCOMPLETE, f"Operators without a formula are not in the total: {names}.")


def of_recount(segments: Iterable[SegmentReading], digest: str) -> Iterator[Finding]:
    """Segments recorded under other formulas than those of the recount, where that changes the total."""
    tables: dict[str, list[SegmentReading]] = {}
    for segment in segments:
        table = segment.genesis.digests.get("formulas", "")
        if table != digest and segment.operations != segment.recorded:
            tables.setdefault(table, []).append(segment)
    for table, changed in sorted(tables.items()):
        was = add_up([(segment.recorded, 1) for segment in changed]).total
        now = add_up([(segment.operations, 1) for segment in changed]).total
        yield Finding(
            Verdict.WITNESSED,
            f"Recorded under formula table {table[:12] or 'unnamed'}, recounted under {digest[:12]}: "
            f"the total was {was}, is {now}.",
        )


def of_folded(segments: Iterable[SegmentReading]) -> Iterator[Finding]:
    """Intervals that hold amounts without tallies."""
    folded = [segment for segment in segments if segment.folded_intervals]
    if folded:
        number = sum(segment.folded_intervals for segment in folded)
        total = scientific(add_up([(segment.folded, 1) for segment in folded]).total)
        yield Finding(
            Verdict.WITNESSED,
            f"Shapes never came to rest, so {number} intervals hold amounts and no tallies: their {total} operations "
            "are part of the total, exactly as recorded, and cannot be counted again.",
        )


def missing(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Why operations may be missing up to the last records, in words: that more will be written is no reason."""
    incomplete = (finding.text for finding in findings if finding.verdict is Verdict.INCOMPLETE)
    return tuple(text for text in incomplete if STILL_WRITTEN not in text)


def floor(findings: Iterable[Finding], operations: Operations) -> Iterator[Finding]:
    """The floor, in words, where something is missing."""
    if any(finding.verdict is Verdict.INCOMPLETE for finding in findings):
        text = f"So the total is a floor: at least {scientific(operations.total)} operations."
        yield Finding(Verdict.INCOMPLETE, text)
