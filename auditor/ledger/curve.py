"""How often each tally came, over the course of a segment: few points, however many intervals there were."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from auditor.lines import read_tallies
from auditor.operations import Operations
from auditor.records import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from auditor.records import Folded

_MOST_TEXTS = 4096


class Point(NamedTuple):
    """One interval, or neighbours joined where there are too many to draw."""

    first_step: int
    steps: int
    elapsed_us: int
    time: str
    operations: Operations


@dataclass(slots=True)
class _Span:
    """Intervals that follow one another; times of tallies by number, and amounts that have no tallies."""

    first_step: int
    steps: int = 0
    elapsed_us: int = 0
    time_us: int = 0
    times: dict[int, int] = field(default_factory=dict)
    folded: Operations = field(default_factory=Operations.none)

    def join(self, later: _Span) -> _Span:
        """One span of the two, of which the other follows this one."""
        times = self.times.copy()
        for number, often in later.times.items():
            times[number] = times.get(number, 0) + often
        steps = self.steps + later.steps
        folded = self.folded + later.folded
        return _Span(self.first_step, steps, later.elapsed_us, later.time_us, times, folded)


class Curve:
    """A curve of at most so many points and the one that grows; together they hold every interval."""

    def __init__(self, most_points: int) -> None:
        """``most_points``: an even number, above 0."""
        self._most_points = most_points
        self._closed: list[_Span] = []
        self._open = _Span(1)
        self._texts: Counter[bytes] = Counter()  # tallies of the open span, as they are written
        self._held = 0  # intervals of the open span
        self._each = 1  # intervals that a span holds

    def extend(
        self,
        times_us: Sequence[bytes],
        first_steps: Sequence[int],
        ends: Sequence[int],
        elapsed_us: Sequence[int],
        tallies: Sequence[bytes],
    ) -> None:
        """The curve holds these intervals more: by field, tallies as records write them.

        ``ends``: the steps done before each, and after the last.
        """
        at = 0
        while at < len(tallies):
            self._make_room(first_steps[at])
            until = min(at + self._each - self._held, len(tallies))
            self._texts.update(tallies[at:until])
            self._grow(until - at, ends[until] - ends[at], elapsed_us[until - 1], int(times_us[until - 1]))
            at = until
        if len(self._texts) > _MOST_TEXTS:
            self._settle()

    def add_folded(self, body: Folded, operations: Operations, time_us: int) -> None:
        """The curve holds one interval more, which has amounts and no tallies."""
        self._make_room(body.first_step)
        self._grow(1, body.steps, body.elapsed_us, time_us)
        self._open.folded = self._open.folded + operations

    def times(self) -> dict[int, int]:
        """How often each tally came, by number."""
        whole: Counter[int] = Counter()
        for span in self._spans():
            whole.update(span.times)
        return dict(whole)

    def points(self, price: Callable[[Mapping[int, int]], Operations]) -> tuple[Point, ...]:
        """The points in their order; ``price``: what so many of each tally come to."""
        priced: dict[tuple[tuple[int, int], ...], Operations] = {}
        points = []
        for span in self._spans():
            key = tuple(span.times.items())
            if key not in priced:
                priced[key] = price(span.times)
            # Where nothing was folded, points alike share their amounts.
            operations = priced[key] if span.folded == Operations.none() else priced[key] + span.folded
            points.append(Point(span.first_step, span.steps, span.elapsed_us, time_text(span.time_us), operations))
        return tuple(points)

    def _spans(self) -> Iterator[_Span]:
        self._settle()
        yield from self._closed
        if self._held:
            yield self._open

    def _grow(self, intervals: int, steps: int, elapsed_us: int, time_us: int) -> None:
        self._held += intervals
        self._open.steps += steps
        self._open.elapsed_us = elapsed_us
        self._open.time_us = time_us

    def _settle(self) -> None:
        """What was kept as text is counted."""
        times = self._open.times
        for text, intervals in self._texts.items():
            for number, often in read_tallies(text):
                times[number] = times.get(number, 0) + often * intervals
        self._texts.clear()

    def _make_room(self, first_step: int) -> None:
        """The open span has room for an interval, which begins with this step."""
        if self._held < self._each:
            return
        self._settle()
        self._closed.append(self._open)
        self._open, self._held = _Span(first_step), 0
        if len(self._closed) == self._most_points:
            pairs = zip(self._closed[::2], self._closed[1::2], strict=True)
            self._closed = [left.join(right) for left, right in pairs]
            self._each *= 2


class NoCurve(Curve):
    """The curve that nobody asked for: it has no points."""

    def __init__(self) -> None:
        super().__init__(0)

    def extend(
        self,
        times_us: Sequence[bytes],
        first_steps: Sequence[int],
        ends: Sequence[int],
        elapsed_us: Sequence[int],
        tallies: Sequence[bytes],
    ) -> None:
        """Nothing is kept."""

    def add_folded(self, body: Folded, operations: Operations, time_us: int) -> None:
        """Nothing is kept."""
