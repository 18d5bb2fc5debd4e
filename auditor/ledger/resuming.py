"""Segments with what was abandoned in them kept apart, and held against the heads that checkpoints brought back."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from auditor.ledger.findings import Finding, Verdict
from auditor.ledger.inspection import SegmentReading, Unreadable, read_segment
from auditor.ledger.places import segments_of
from auditor.ledger.progress import WHOLE, Kept, held_notes, progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditor.ledger.prices import Recount

_NO_SIGNATURE = ""  # two heads of one length that differ: whatever stands there contradicts one of them


def settle(
    directory: Path, segments: Sequence[SegmentReading], recount: Recount | None
) -> tuple[list[SegmentReading], list[Finding]]:
    """The segments of a run, each with what of it was abandoned, and what is to be said.

    Those that a kept state came from are read a second time, as only the later ones say where they went on.
    """
    if not any(segment.resumed for segment in segments):
        return list(segments), []
    way = progress(segments)
    said = [Finding(Verdict.INCOMPLETE, f"{fault}: nothing counts as abandoned by that.") for fault in way.faults]
    heads: dict[str, dict[int, str]] = {}
    for segment, noted in held_notes(segments):
        known, line = heads.setdefault(segment.name, {}), noted.head.size + 1
        agrees = known.get(line, noted.signature) == noted.signature
        known[line] = noted.signature if agrees else _NO_SIGNATURE
    settled = []
    for segment in segments:
        spans = way.spans.get(segment.name, [WHOLE])
        kept = Kept(spans, heads.get(segment.name))
        read_again = segment.name in heads or spans not in ([], [WHOLE])
        again = _again(directory, segment, recount, kept) if read_again else segment
        if read_again and not segment.broken:  # where it is damaged, that is said already
            said += _contradictions(segment.name, kept)
        settled.append(_settled(segment, again, abandoned_whole=not spans))
    return settled, said


def _again(
    directory: Path, segment: SegmentReading, recount: Recount | None, kept: Kept
) -> SegmentReading | Unreadable:
    return read_segment(segments_of(directory) / segment.name, recount, kept, until=segment.head.size)


def _settled(segment: SegmentReading, again: SegmentReading | Unreadable, *, abandoned_whole: bool) -> SegmentReading:
    if abandoned_whole:
        return dataclasses.replace(segment, abandoned=segment.operations, abandoned_steps=segment.steps)
    if isinstance(again, Unreadable):
        return segment
    return dataclasses.replace(segment, abandoned=again.abandoned, abandoned_steps=again.abandoned_steps)


def _contradictions(name: str, kept: Kept) -> list[Finding]:
    if not kept.contradicted:
        return []
    text = (
        f"{name}: a checkpoint of the training kept its head over {kept.contradicted[0] - 1} lines, and that is"
        " not what stands there: it was cut, or written anew."
    )
    return [Finding(Verdict.DIVERGED, text)]
