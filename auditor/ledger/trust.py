"""Whose signatures count: the trusted key and those that follow it, and no revoked one beyond what heads cover."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from auditor.ledger.findings import Finding, Verdict, capped
from auditor.ledger.outside import time_of_day
from auditor.ledger.rotation import Succession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from auditor.ledger.inspection import SegmentReading
    from auditor.ledger.outside import Covered
    from auditor.ledger.revocation import Revocation

_ONLY_THE_FIRST_RECORD = 1


class Keys:
    """The keys of a ledger's segments, how they follow each other, and which of them whoever verifies believes."""

    def __init__(
        self, segments: Sequence[SegmentReading], trusted: str | None, revocations: Sequence[Revocation]
    ) -> None:
        self._trusted = trusted
        self._succession = Succession(rotation for segment in segments for rotation in segment.rotations)
        self._foreign = [said for said in revocations if not self._may_revoke(said)]
        self._revoked: dict[str, Revocation] = {}
        for said in sorted(set(revocations) - set(self._foreign), key=lambda said: said.since_s):
            self._revoked.setdefault(said.key, said)
        self._believed = set(self._line_of_trust())

    def _may_revoke(self, said: Revocation) -> bool:
        """A key is revoked by itself, by one of its line, or by the one that is trusted."""
        return said.by == self._trusted or said.by in self._succession.line_through(said.key)

    def _line_of_trust(self) -> Iterator[str]:
        """The trusted key and those that follow it; a revoked one says nothing about its follower."""
        for key in self._succession.line_from(self._trusted) if self._trusted else ():
            yield key
            if key in self._revoked:
                return

    def limit(
        self,
        segments: Sequence[SegmentReading],
        covered: Mapping[str, Sequence[Covered]],
        read_again: Callable[[SegmentReading, int], SegmentReading],
    ) -> tuple[list[SegmentReading], list[Finding]]:
        """The segments, those of revoked keys as far as heads from before cover them, and what that leaves out."""
        kept, said = [], []
        for segment in segments:
            revocation = self._revocation_of(segment)
            lines = _from_before(covered.get(segment.name, ()), revocation) if revocation else segment.head.size
            if revocation is None or lines >= segment.head.size:
                kept.append(segment)
                continue
            kept.append(_shortened(segment, read_again(segment, max(lines, _ONLY_THE_FIRST_RECORD))))
            said.append(_left_out(segment, revocation, lines))
        return kept, list(capped(said))

    def _revocation_of(self, segment: SegmentReading) -> Revocation | None:
        """The revocation that makes the segment's signatures worthless; none where it ends in the trusted key."""
        if segment.keys[-1] == self._trusted and self._trusted not in self._revoked:
            return None
        return next((self._revoked[key] for key in segment.keys if key in self._revoked), None)

    def findings(self, segments: Sequence[SegmentReading]) -> Iterator[Finding]:
        """What is to be said of who signed."""
        yield from (Finding(Verdict.INVALID, f"{_capital(fault)}.") for fault in self._succession.faults)
        yield from capped(list(self._of_order(segments)))
        yield from (
            Finding(Verdict.WITNESSED, f"A revocation of {said.key} by {said.by} does not count: that key has no say.")
            for said in self._foreign
        )
        if self._trusted is None:
            yield from self._of_several(segments)
        else:
            yield from capped([found for found in map(self._of_stranger, segments) if found])

    def _of_several(self, segments: Sequence[SegmentReading]) -> Iterator[Finding]:
        lines = {self._succession.line_through(segment.genesis.public_key)[0] for segment in segments}
        if len(lines) > 1:
            yield Finding(Verdict.UNANCHORED, f"Its segments are signed by {len(lines)} different keys.")

    def _of_stranger(self, segment: SegmentReading) -> Finding | None:
        key = segment.genesis.public_key
        if key in self._believed:
            return None
        text = f"{segment.name} is signed by the key {key}, not by the trusted one"
        if key in self._succession.line_from(self._trusted or ""):
            return Finding(
                Verdict.INVALID, f"{text} but by one that followed a revoked one. Name it with --key itself."
            )
        return Finding(Verdict.INVALID, f"{text}.")

    def _of_order(self, segments: Sequence[SegmentReading]) -> Iterator[Finding]:
        """A later attempt is never signed by an earlier key."""
        latest: dict[tuple[str, int], str] = {}
        for segment in segments:
            genesis = segment.genesis
            before, key = latest.get((genesis.role, genesis.rank)), genesis.public_key
            line = self._succession.line_through(key)
            if genesis.role == "process":
                continue
            if before in line and line.index(before) > line.index(key):
                text = f"{segment.name} is signed by {key}, and an earlier attempt by {before}, which follows that key."
                yield Finding(Verdict.INVALID, text)
            latest[genesis.role, genesis.rank] = key


def _from_before(covered: Sequence[Covered], revocation: Revocation) -> int:
    """How many lines a head covers that is from before the revocation, as its witnesses say, or its holder."""
    before = (item.lines for item in covered if (item.evidence.since_s or 0) <= revocation.since_s)
    return max(before, default=0)


def _shortened(segment: SegmentReading, read: SegmentReading) -> SegmentReading:
    """What the part holds; how the whole file stands is as before."""
    return dataclasses.replace(
        read,
        head=segment.head,
        note=segment.note,
        sound_bytes=segment.sound_bytes,
        keys=segment.keys,
        broken=segment.broken,
        sealed=segment.sealed,
        live=segment.live,
        torn_bytes=segment.torn_bytes,
    )


def _left_out(segment: SegmentReading, revocation: Revocation, lines: int) -> Finding:
    return Finding(
        Verdict.INCOMPLETE,
        f"{segment.name}: the key {revocation.key} was revoked as of {time_of_day(revocation.since_s)}"
        f" ({revocation.reason}). Heads held elsewhere from before that cover {lines} of its {segment.head.size} lines;"
        " what follows them is not counted.",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
