"""Segments with what was abandoned in them kept apart, and held against the heads that checkpoints brought back."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

from auditor.ledger.detail import NOTHING
from auditor.ledger.findings import Finding, Verdict
from auditor.ledger.inspection import SegmentReading, Unreadable, read_segment
from auditor.ledger.places import segment_path
from auditor.ledger.progress import WHOLE, Kept, Span, held_notes, progress
from auditor.ledger.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from auditor.ledger.prices import Recount

_NO_SIGNATURE = ""  # two heads of one length that differ: whatever stands there contradicts one of them


class _Task(NamedTuple):
    """A segment that is to be read a second time."""

    segment: SegmentReading
    spans: Sequence[Span]
    heads: Mapping[int, str]


class _Again(NamedTuple):
    """What the second reading found, and the lines in which another checkpoint stands than a state kept."""

    reading: SegmentReading | Unreadable
    contradicted: list[int]


def settle(
    directory: Path, segments: Sequence[SegmentReading], recount: Recount | None, workers: int = 1
) -> tuple[list[SegmentReading], list[Finding]]:
    """The segments of a run, each with what of it was abandoned, and what is to be said.

    Those that a kept state came from are read a second time, as only the later ones say where they went on.
    """
    if not any(segment.resumed for segment in segments):
        return list(segments), []
    way = progress(segments)
    said = [Finding(Verdict.INCOMPLETE, f"{fault}: nothing counts as abandoned by that.") for fault in way.faults]
    tasks = list(_tasks(segments, way.spans))
    found = spread(functools.partial(_again, directory, recount), tasks, workers=workers)
    again = {task.segment.name: one for task, one in zip(tasks, found, strict=True)}
    settled = []
    for segment in segments:
        one = again.get(segment.name)
        if one is not None and one.contradicted and not segment.broken:  # where it is damaged, that is said already
            said.append(_contradiction(segment.name, one.contradicted[0]))
        settled.append(_settled(segment, one, abandoned_whole=not way.spans.get(segment.name, [WHOLE])))
    return settled, said


def _tasks(segments: Sequence[SegmentReading], spans: Mapping[str, Sequence[Span]]) -> Iterator[_Task]:
    heads: dict[str, dict[int, str]] = {}
    for segment, noted in held_notes(segments):
        known, line = heads.setdefault(segment.name, {}), noted.head.size + 1
        agrees = known.get(line, noted.signature) == noted.signature
        known[line] = noted.signature if agrees else _NO_SIGNATURE
    for segment in segments:
        kept = spans.get(segment.name, [WHOLE])
        if segment.name in heads or kept not in ([], [WHOLE]):
            yield _Task(segment, kept, heads.get(segment.name, {}))


def _again(directory: Path, recount: Recount | None, task: _Task) -> _Again:
    kept = Kept(task.spans, task.heads)
    path = segment_path(directory, task.segment.name)
    reading = read_segment(path, recount, kept, until=task.segment.head.size, detail=NOTHING)
    return _Again(reading, kept.contradicted)


def _settled(segment: SegmentReading, again: _Again | None, *, abandoned_whole: bool) -> SegmentReading:
    if abandoned_whole:
        return dataclasses.replace(segment, abandoned=segment.operations, abandoned_steps=segment.steps)
    if again is None or isinstance(again.reading, Unreadable):
        return segment
    found = again.reading
    return dataclasses.replace(segment, abandoned=found.abandoned, abandoned_steps=found.abandoned_steps)


def _contradiction(name: str, line: int) -> Finding:
    text = (
        f"{name}: a checkpoint of the training kept its head over {line - 1} lines, and that is"
        " not what stands there: it was cut, or written anew."
    )
    return Finding(Verdict.DIVERGED, text)
