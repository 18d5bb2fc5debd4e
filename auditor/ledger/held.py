"""A ledger beside heads of it that are held elsewhere: what agrees, and what contradicts them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger.findings import Finding, Verdict
from auditor.ledger.inspection import SegmentReading, read_segment
from auditor.ledger.places import segment_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from auditor.ledger.notes import Head
    from auditor.ledger.prices import Recount
    from auditor.ledger.reading import Reading


class HeldHead(NamedTuple):
    """Where a segment stood when somebody noted it."""

    segment: str
    head: Head


class Comparison(NamedTuple):
    """What a ledger makes of heads held elsewhere."""

    contradictions: tuple[Finding, ...]
    at_heads: tuple[SegmentReading, ...]  # the segments that agree, each as it stood at its head
    grown: int  # of these, how many have gone on since
    added: int  # segments of which no head is held


def heads_of(reading: Reading) -> tuple[HeldHead, ...]:
    """What is to be noted of a ledger, so that it can be compared with itself later."""
    return tuple(HeldHead(segment.name, segment.head) for segment in reading.segments)


def compare(reading: Reading, held: Iterable[HeldHead], recount: Recount | None) -> Comparison:
    """The ledger beside the heads. One that has gone on agrees; one that ends earlier, or is another, does not."""
    present = {segment.name: segment for segment in reading.segments}
    contradictions, at_heads, grown = [], [], 0
    names = set()
    for name, head in held:
        names.add(name)
        now = present.get(name)
        then = now if now is None or now.head == head else read_at(reading.directory, name, head, recount)
        contradiction = _contradiction(name, head, now, then)
        if contradiction is not None:
            contradictions.append(contradiction)
        elif then is not None:
            at_heads.append(then)
            grown += then is not now
    return Comparison(tuple(contradictions), tuple(at_heads), grown, len(present.keys() - names))


def read_at(directory: Path, name: str, head: Head, recount: Recount | None) -> SegmentReading | None:
    """The segment as it stood at that head, whatever followed; None where nothing of it can be read.

    The checkpoint of a head is the line after those that it counts, so its signature is checked with it.
    """
    found = read_segment(segment_path(directory, name), recount, until=head.size)
    return found if isinstance(found, SegmentReading) else None


def _contradiction(name: str, head: Head, now: SegmentReading | None, then: SegmentReading | None) -> Finding | None:
    if now is None or then is None:
        text = f"{name}: a head over {head.size} lines is held elsewhere, and the segment is not here."
    elif then.head == head:
        return None
    elif now.head.size < head.size and not now.broken:
        text = f"{name}: it ends after {now.head.size} lines; a head over {head.size} is held elsewhere."
    else:
        text = f"{name}: its first {head.size} lines are not those of the head that is held elsewhere."
    return Finding(Verdict.DIVERGED, text)
