"""At what pace a run added to what each law counts, as its record shows it: in equal slices of time, exactly.

An interval of the record lies before the moment at which it was written and is as long as the writer's own clock says,
which never jumps. What it counted is spread evenly over it. Between intervals nothing was done: pauses, restarts and
outages are part of the time that was observed, with nothing in them.
"""

from __future__ import annotations

import itertools
from collections import Counter as Sums
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from auditor.rules.counting import count
from auditor.units import wire
from auditor.warning.slices import SLICES, Series, Slices, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auditor.ledger.reading import Reading, SegmentReading
    from auditor.operations import Operations
    from auditor.rules.counter import Counter

WINDOW = 4  # slices: a quarter of the time, begun at each slice
_LONGEST_SHARE = 8  # the longest interval is at most this part of the time, so that a window holds two
_GRACE_US = 10_000_000
_ZERO_TIME = datetime.fromisoformat("1970-01-01T00:00:00Z")

EXECUTED, STEPS = "executed operations", "steps"  # beside the ids of counters


class Rates(NamedTuple):
    """Of one quantity for one of another, over all windows: the least, the whole, the greatest, and the last window."""

    least: Fraction
    mean: Fraction
    greatest: Fraction | None  # None where there was some of the one and none of the other
    last: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """``since_us`` to ``until_us``: the time that is observed, in microseconds since 1970.

    ``later_us``: the end of the last record of all. ``live``: a rank writes it still. ``fault``: why there is no rate.
    """

    since_us: int
    until_us: int
    later_us: int
    longest_us: int  # interval
    live: bool
    fault: str
    series: Mapping[str, Series]

    def rates(self, of: str, for_each: str = "") -> Rates | None:
        """The rates of a counter or of `EXECUTED` or `STEPS`: for each microsecond, or for each of another of these.

        None where too little was observed, or nothing at all of the other.
        """
        if self.fault:
            return None
        measure = self.series[for_each].low if for_each else (self._slice_us,) * SLICES
        low, high = self.series[of].low, self.series[of].high
        whole = sum(measure)
        windows = [slice(start, start + WINDOW) for start in range(SLICES - WINDOW + 1)]
        least = [_ratio(sum(low[at]), sum(measure[at])) for at in windows]
        greatest = [_ratio(sum(high[at]), sum(measure[at])) for at in windows if any(high[at]) or any(measure[at])]
        known = [ratio for ratio in least if ratio is not None]
        if not whole or not known:
            return None
        return Rates(
            least=min(known),
            mean=sum(low, Fraction()) / whole,
            greatest=None if None in greatest else max(ratio for ratio in greatest if ratio is not None),
            last=least[-1] or Fraction(),
        )

    def from_us(self, asked_us: int) -> int:
        """From when on is projected: where the record ends, or from the moment of asking where nobody writes on."""
        silent_us = asked_us - self.later_us
        goes_on = self.live and silent_us <= 2 * self.longest_us + _GRACE_US
        return self.until_us if goes_on else max(self.later_us, asked_us)

    def behind(self, of: str, asked_us: int) -> Fraction:
        """What was counted after the moment from which on is projected."""
        return self.series[of].later if self.from_us(asked_us) == self.until_us else Fraction()

    @property
    def _slice_us(self) -> Fraction:
        return Fraction(self.until_us - self.since_us, SLICES)


def _ratio(part: Fraction | int, whole: Fraction | int) -> Fraction | None:
    return Fraction(part) / whole if whole else None


def observe(reading: Reading, counters: Iterable[Counter]) -> Pace:
    """The pace of a run under each of these counters, which hold the answers that were given."""
    spans = {segment.name: list(_spans(segment)) for segment in reading.segments}
    every = [span for found in spans.values() for span in found]
    if not every:
        return _nothing("no interval is in the record")
    live = [found[-1].end_us for one in _ranks(reading) if one.live and (found := spans[one.name])]
    since_us = min(span.start_us for span in every)
    later_us = max(span.end_us for span in every)
    until_us = max(min(live, default=later_us), since_us)
    longest_us = max(span.end_us - span.start_us for span in every)
    pace = Slices(since_us, until_us)
    lead = _lead(reading)
    for segment in reading.segments:
        _add(pace, segment, spans[segment.name], list(counters), lead)
    return Pace(
        since_us=since_us,
        until_us=until_us,
        later_us=later_us,
        longest_us=longest_us,
        live=bool(live),
        fault=_fault(spans.values(), until_us - since_us, longest_us),
        series=pace.series([EXECUTED, STEPS, *(counter.id for counter in counters)]),
    )


def crossed_us(reading: Reading, counter: Counter, needed_ops: int) -> int | None:
    """The end of the interval in which the count of this record reached an amount; None where it did not."""
    ends: list[tuple[int, int]] = []
    for segment in reading.segments:
        counted = _Counted([counter])
        ends += [(span.end_us, counted.of(span.point.operations)[counter.id][0]) for span in _spans(segment)]
    total = 0
    for end_us, ops in sorted(ends):
        total += ops
        if total >= needed_ops:
            return end_us
    return None


def _ranks(reading: Reading) -> Iterator[SegmentReading]:
    return (segment for segment in reading.segments if segment.genesis.role == "rank")


def _lead(reading: Reading) -> int:
    """The rank whose steps are the run's: the one that took the most, over all its attempts."""
    steps: Sums[int] = Sums()
    for segment in _ranks(reading):
        steps[segment.genesis.rank] += segment.steps
    return max(steps, key=lambda rank: (steps[rank], -rank), default=0)


def _spans(segment: SegmentReading) -> Iterator[Span]:
    before_us = 0
    for point in segment.points:
        end_us = _since_1970_us(point.time)
        yield Span(end_us - (point.elapsed_us - before_us), end_us, point)
        before_us = point.elapsed_us


def _since_1970_us(time: str) -> int:
    return (datetime.fromisoformat(time) - _ZERO_TIME) // timedelta(microseconds=1)


def _fault(spans: Iterable[Sequence[Span]], observed_us: int, longest_us: int) -> str:
    """Why no rate can be told; "" where one can."""
    if observed_us < _LONGEST_SHARE * longest_us:
        return (
            f"too little was observed: {_seconds(observed_us)} in intervals of up to {_seconds(longest_us)}; it takes "
            f"{_LONGEST_SHARE} of the longest"
        )
    if any(later.end_us < before.end_us for found in spans for before, later in itertools.pairwise(found)):
        return "a clock was set back while the record was written, so that nobody knows when it was"
    return ""


def _seconds(time_us: int) -> str:
    return f"{wire(time_us // 10**6)}.{time_us // 10**5 % 10} s"


def _nothing(fault: str) -> Pace:
    return Pace(since_us=0, until_us=0, later_us=0, longest_us=0, live=False, fault=fault, series={})


class _Counted:
    """What counters make of amounts, each object of amounts looked at once: points alike share theirs."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._known: dict[int, dict[str, tuple[int, int]]] = {}

    def of(self, operations: Operations) -> dict[str, tuple[int, int]]:
        """By name of counter: what counts for certain, and at most."""
        found = self._known.get(id(operations))
        if found is None:
            found = {EXECUTED: (operations.total, operations.total)}
            for counter in self._counters:
                counted = count(counter, operations)
                found[counter.id] = (counted.counted_ops, counted.counted_ops + counted.undetermined_ops)
            self._known[id(operations)] = found
        return found

    def known(self, name: int) -> Mapping[str, tuple[int, int]]:
        """What was made of an object of amounts that was looked at."""
        return self._known[name]


def _add(
    slices: Slices, segment: SegmentReading, spans: Sequence[Span], counters: Sequence[Counter], lead: int
) -> None:
    """What a segment counted is in the slices; points that share their amounts are taken together."""
    counted = _Counted(counters)
    leads = segment.genesis.role == "rank" and segment.genesis.rank == lead
    alike: Sums[tuple[int, int]] = Sums()  # by slice and object of amounts
    for span in spans:
        number = slices.holding(span)
        amounts = counted.of(span.point.operations)
        if number is None:
            slices.divide(span, amounts)
        else:
            alike[number, id(span.point.operations)] += 1
        if leads and span.point.steps:
            slices.divide(span, {STEPS: (span.point.steps,) * 2})
    for (number, name), times in alike.items():
        slices.add(number, counted.known(name), times)
