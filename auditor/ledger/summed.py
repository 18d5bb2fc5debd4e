"""A ledger as its signed ends have it: a `Reading` of what `merging` adds up, without what stands between them.

First record and end of a segment say who wrote it, on what devices, and what it came to. What only the lines between
say is not here: the course of the count, what devices did, second opinions, which gaps there were, which weights were
loaded, what was given up. How often weights and gaps came stands in the ends, so that is told, and no amount is taken
for more certain than it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.ledger import findings
from auditor.ledger.inspection import SegmentReading
from auditor.ledger.merging import collect, conclude
from auditor.ledger.notices import NotedGap
from auditor.ledger.reading import Reading, devices_of, head_of_all, order
from auditor.operations import Operations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.ends import SegmentSum

_WEIGHTS = "weights or states were loaded, or may have been: which ones, only what stands between the ends says"
_FLOORS = "operations may be missing, for reasons that stand between the ends of segments"
_OTHERS = "what the auditor noted between the ends of segments, and says to change no total"


def read_ends(directory: Path, *, workers: int = 1) -> Reading:
    """The reading of a ledger from the ends of its segments; its verdict is at best `Verdict.SUMMED`.

    Raises: NotALedger: there is none, or no segment can be read. SchemaFromFuture: a newer auditor wrote it.
    """
    collected = collect([directory], workers=workers, devices=True)
    merged = conclude(collected)
    (run,) = merged.runs
    segments = sorted((one.segment for one in collected.counted), key=order)
    launchers = [segment for segment in segments if segment.genesis.role == "launcher"]
    said = [findings.SUMMED, *merged.findings]
    return Reading(
        directory=directory,
        run_id=run.run_id,
        model=run.model,
        purpose=run.purpose,
        command=(launchers or segments[:1])[-1].genesis.command,
        started=run.started,
        ended=run.ended,
        steps=run.steps,
        operations=run.operations,
        abandoned=Operations.none(),
        abandoned_steps=0,
        verdict=findings.worst(said),
        reasons=tuple(finding.text for finding in findings.sorted_by_weight(said)),
        missing=merged.missing,
        records=run.lines,
        ranks_expected=run.ranks_expected,
        ranks_seen=run.ranks_seen,
        head=head_of_all(segments),
        gaps=tuple(_gaps(segments)),
        second_opinions=(),
        hardware=(),
        counters=tuple(sorted({segment.genesis.counter for segment in segments} - {""})),
        devices=devices_of(segments),
        weights=(),
        exit=next((segment.exit for segment in reversed(launchers) if segment.exit), None),
        segments=tuple(map(_segment, segments)),
        ends=run.sources,
    )


def _gaps(segments: Sequence[SegmentSum]) -> Iterator[NotedGap]:
    """What the ends say that was noted, as often as they say."""
    loaded = sum(segment.loaded + segment.resumed for segment in segments)
    floors = sum(segment.floors for segment in segments)
    others = sum(segment.gaps for segment in segments) - floors
    if loaded:
        yield NotedGap("weights", _WEIGHTS, lower_bound=False, times=loaded)
    if floors:
        yield NotedGap("ends", _FLOORS, lower_bound=True, times=floors)
    if others:
        yield NotedGap("ends", _OTHERS, lower_bound=False, times=others)


def _segment(one: SegmentSum) -> SegmentReading:
    """The segment without what stands between its ends."""
    return SegmentReading(
        name=one.name,
        genesis=one.genesis,
        records=one.head.size,
        head=one.head,
        note="",
        sound_bytes=0,
        broken=one.broken,
        sealed=one.sealed,
        live=one.live,
        torn_bytes=one.torn_bytes,
        started=one.started,
        ended=one.ended,
        steps=one.steps,
        elapsed_us=one.elapsed_us,
        operations=one.operations,
        recorded=one.operations,
        folded=Operations.none(),
        folded_intervals=0,
        points=(),
        gaps=(),
        second_opinions=(),
        updates=(),
        hardware=(),
        recovered=(),
        rotations=(),
        keys=tuple(dict.fromkeys((one.genesis.public_key, one.key))),
        noted=(),
        weights=(),
        resumed=(),
        abandoned=Operations.none(),
        abandoned_steps=0,
        alerts=(),
        exit=one.exit,
    )
