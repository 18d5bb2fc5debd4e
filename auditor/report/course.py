"""How the count grew over the steps: from intervals of many processes to one course that can be drawn."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from auditor.hardware.bound import once_for_each
from auditor.tally import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auditor.ledger.reading import Point, SegmentReading

_MOST_BINS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """``steps`` steps from ``first_step`` on, and what all processes counted in them, by phase."""

    first_step: int
    steps: int
    by_phase: Mapping[Phase, int]

    @property
    def total_ops(self) -> int:
        """All phases together."""
        return sum(self.by_phase.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The bins in order, the total reached after so many steps, and what no step followed that it could belong to."""

    steps: int
    bins: tuple[Bin, ...]
    reached: tuple[tuple[int, int], ...]  # (steps done, operations so far); the last is the run's total
    outside_ops: int


class _Span(NamedTuple):
    """What one interval counted: between ``start`` and ``start + steps`` steps of the run."""

    start: int
    steps: int
    by_phase: dict[str, int]


def course(segments: Iterable[SegmentReading], steps: int) -> Course:
    """The course of a run of ``steps`` steps: attempts of a rank one after another, ranks side by side.

    An interval of several steps is spread evenly over them, to the operation.
    """
    edges = _edges(steps)
    sums: list[Counter[str]] = [Counter() for _ in edges[1:]]
    outside: Counter[int] = Counter()
    for span in _spans(segments, steps):
        if span.steps and len(edges) > 1:
            _spread(span, edges, sums)
        else:
            outside[bisect_left(edges, span.start)] += sum(span.by_phase.values())
    bins = tuple(
        Bin(first_step=start + 1, steps=end - start, by_phase={phase: found[phase] for phase in Phase})
        for start, end, found in zip(edges, edges[1:], sums, strict=False)
    )
    return Course(steps=steps, bins=bins, reached=_reached(edges, bins, outside), outside_ops=outside.total())


def _edges(steps: int) -> list[int]:
    number = min(steps, _MOST_BINS)
    return [0, *(steps * (i + 1) // number for i in range(number))]


def _spans(segments: Iterable[SegmentReading], steps: int) -> Iterator[_Span]:
    done: Counter[tuple[str, int]] = Counter()
    for segment in sorted(segments, key=lambda s: (s.genesis.role, s.genesis.rank, s.genesis.attempt, s.name)):
        lane = (
            segment.genesis.role if segment.genesis.role == "rank" else segment.name,
            segment.genesis.rank,
        )
        for first_step, number, by_phase in _carried(segment.points):
            # Work of a process that takes no steps cannot be placed among them; it stands at the end.
            start = done[lane] + first_step - 1 if segment.steps else steps
            start = min(max(start, 0), steps)
            yield _Span(start, min(number, steps - start), by_phase)
        done[lane] += segment.steps


def _carried(points: Iterable[Point]) -> Iterator[tuple[int, int, dict[str, int]]]:
    """First step, steps and operations of intervals; where no step ended, they are those of the step that ends next."""
    carried: Counter[str] = Counter()
    first_step = 1
    by_phase = once_for_each(lambda operations: operations.by_phase)
    for point in points:
        first_step = point.first_step
        carried.update(by_phase(point.operations))
        if point.steps:
            yield first_step, point.steps, dict(carried)
            first_step += point.steps
            carried.clear()
    if carried:
        yield first_step, 0, dict(carried)


def _spread(span: _Span, edges: Sequence[int], sums: Sequence[Counter[str]]) -> None:
    """Add each step's part to the bin it falls in; the parts add up to the span exactly."""
    at = span.start
    end = span.start + span.steps
    number = bisect_right(edges, at) - 1
    while at < end:
        stop = min(edges[number + 1], end)
        for phase, ops in span.by_phase.items():
            so_far = ops * (at - span.start) // span.steps
            sums[number][phase] += ops * (stop - span.start) // span.steps - so_far
        at = stop
        number += 1


def _reached(edges: Sequence[int], bins: Sequence[Bin], outside: Counter[int]) -> tuple[tuple[int, int], ...]:
    total = outside[0]
    points = [(0, total)]
    for number, found in enumerate(bins, start=1):
        total += found.total_ops + outside[number]
        points.append((edges[number], total))
    return tuple(points)
