"""What of a run is progress: where it went on from a kept state, and what was abandoned by that.

A rank's records stand in one order: by attempt, and in it by line. Where a segment says that it goes on from a state
that was kept at an earlier place, what stands between is abandoned. So progress is found backwards: from the rank's
last record to where it resumed, on from the place of the state it took, and so on; a start that says nothing of a
state follows whatever stands before it. What that way does not pass is abandoned, and stays in the total.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerInvalid
from auditor.ledger.notes import Noted, origin_of, read_note
from auditor.ledger.places import read_name
from auditor.lines import read_checkpoint, read_tallies
from auditor.operations import Operations
from auditor.records import Gap, Weights
from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auditor.ledger.inspection import SegmentReading
    from auditor.ledger.intervals import Row
    from auditor.ledger.log import Stretch
    from auditor.records import Body, Folded, Resumed

EVENTS = ("saved", "loaded")
_HEX = frozenset("0123456789abcdef")


class ResumedAt(NamedTuple):
    """A `Resumed` record, the number of its line, and the steps that its segment had taken by then."""

    line: int
    step: int
    body: Resumed


class Span(NamedTuple):
    """Intervals of a segment: those in lines above ``after_line``, up to a line and a step where these are named."""

    after_line: int
    to_line: int | None
    to_step: int | None

    def holds(self, line: int, first_step: int) -> bool:
        """Whether the interval in this line, which begins with this step, is one of them, at least in part."""
        if line <= self.after_line or (self.to_line is not None and line > self.to_line):
            return False
        return self.to_step is None or first_step <= self.to_step

    def steps_of(self, line: int, first_step: int, steps: int) -> int:
        """How many of the interval's steps are in it: only one that ends with a step can part an interval."""
        if not self.holds(line, first_step):
            return 0
        return steps if self.to_step is None else min(steps, self.to_step - first_step + 1)


WHOLE = Span(0, None, None)


class Kept:
    """Keeps apart, while a segment is read, the intervals outside of all ``spans``, and looks for heads held elsewhere.

    heads: the signature by the number of the line in which the checkpoint of that head must stand.
    """

    def __init__(self, spans: Sequence[Span], heads: Mapping[int, str] | None = None) -> None:
        self._spans = tuple(spans)
        self._heads = dict(heads or {})
        self._lines = sorted(self._heads)
        self._found: set[int] = set()
        self._texts: Counter[bytes] = Counter()
        self.folded = Operations.none()
        self.abandoned_steps = 0

    @property
    def contradicted(self) -> list[int]:
        """The lines in which another checkpoint stands, or none."""
        return [line for line in self._lines if line not in self._found]

    def look(self, stretch: Stretch) -> None:
        """Lines that are vouched for."""
        last = stretch.before + len(stretch.lines)
        for line in self._lines[bisect_right(self._lines, stretch.before) : bisect_right(self._lines, last)]:
            if read_checkpoint(stretch.lines[line - stretch.before - 1]) == self._heads[line]:
                self._found.add(line)

    def see(self, rows: Sequence[Row], lines: Sequence[int]) -> None:
        """Intervals as `FREQUENT` finds them, and the numbers of their lines."""
        for row, line in zip(rows, lines, strict=True):
            if self._is_abandoned(line, int(row[1]), int(row[2])):
                self._texts[row[4]] += 1

    def see_folded(self, line: int, body: Folded, operations: Operations) -> None:
        """An interval of amounts without tallies, and the number of its line."""
        if self._is_abandoned(line, body.first_step, body.steps):
            self.folded = self.folded + operations

    def abandoned_times(self) -> dict[int, int]:
        """How often each tally came in the intervals that are not kept, by number."""
        times: dict[int, int] = {}
        for text, intervals in self._texts.items():
            for number, often in read_tallies(text):
                times[number] = times.get(number, 0) + often * intervals
        return times

    def _is_abandoned(self, line: int, first_step: int, steps: int) -> bool:
        """Whether nothing of the interval is kept; its steps are told apart one by one."""
        kept_steps = max((span.steps_of(line, first_step, steps) for span in self._spans), default=0)
        self.abandoned_steps += steps - kept_steps
        return not any(span.holds(line, first_step) for span in self._spans)


class Way(NamedTuple):
    """The way back through a rank's segments: what of each, by name, is progress, and what was wrong on it."""

    spans: Mapping[str, Sequence[Span]]
    faults: Sequence[str]


def progress(segments: Iterable[SegmentReading]) -> Way:
    """The progress of every rank of a run; other processes and the launcher are no part of it."""
    segments = list(segments)
    run_id = segments[0].genesis.run_id
    ranks: dict[int, dict[int, SegmentReading]] = {}
    for segment in segments:
        if segment.genesis.role == "rank":
            ranks.setdefault(segment.genesis.rank, {})[segment.genesis.attempt] = segment
    spans: dict[str, list[Span]] = {}
    faults: dict[str, None] = {}
    for attempts in ranks.values():
        if any(segment.resumed for segment in attempts.values()):
            for name, span in _way_back(attempts, run_id, faults):
                spans.setdefault(name, []).append(span)
            for segment in attempts.values():
                spans.setdefault(segment.name, [])
    return Way(spans, list(faults))


def _way_back(
    attempts: Mapping[int, SegmentReading], run_id: str, faults: dict[str, None]
) -> Iterator[tuple[str, Span]]:
    """The spans of progress, the latest first; each lies before the one that was given out before it."""
    at: int | None = max(attempts)
    end = WHOLE
    while at is not None:
        segment = attempts[at]
        passed = [one for one in segment.resumed if end.holds(one.line, one.step)]
        targets = ((one.line, _target(one, segment, attempts, run_id, faults)) for one in reversed(passed))
        line, target = next(((line, target) for line, target in targets if target), (0, None))
        yield segment.name, end._replace(after_line=line)
        before = max((attempt for attempt in attempts if attempt < at), default=None)
        at, end = target or (before, WHOLE)


def _target(
    resumed: ResumedAt,
    segment: SegmentReading,
    attempts: Mapping[int, SegmentReading],
    run_id: str,
    faults: dict[str, None],
) -> tuple[int, Span] | None:
    """The attempt, and its beginning up to the kept state; None where it is of another run, or not to be had."""
    body = resumed.body
    place = read_name(body.segment)
    if body.run_id != run_id:
        return None
    source = attempts.get(place.attempt) if place else None
    if place is None or source is None or not body.note:
        faults[f"{segment.name} goes on from a state of {body.segment} that cannot be placed"] = None
        return None
    own = source.name == body.segment
    line = read_note(body.note).head.size
    earlier = (source.genesis.attempt, line if own else 0) < (segment.genesis.attempt, resumed.line)
    if not earlier:
        faults[f"{segment.name} goes on from a state of {body.segment} that is later than itself"] = None
        return None
    if own:
        return source.genesis.attempt, Span(0, line, None)
    # Ranks do not take their steps at one moment: in the same attempt the state's may lie ahead. The way goes back.
    return source.genesis.attempt, Span(0, resumed.line - 1 if source is segment else None, body.step)


def check_weights(body: Weights) -> None:
    """A segment may hold this record.

    Raises: LedgerInvalid: it may not.
    """
    digests = [digest for digest in (body.digest, body.tensors, *(file[0] for file in body.files)) if digest]
    if any(len(digest) != 64 or not _HEX.issuperset(digest) for digest in digests):
        raise LedgerInvalid("weights: a digest is not 64 digits in hexadecimal")
    if body.event not in EVENTS or min(body.step, body.size_bytes, *(size for _, size, _ in body.files), 0) < 0:
        raise LedgerInvalid("weights: the event is not known, or a number is below 0")
    if bool(body.digest) == bool(body.missed) or (body.digest and not body.files):
        raise LedgerInvalid("weights: expected a digest and files, or why there are none")


def may_have_loaded(body: Body) -> bool:
    """Whether it says that weights were loaded, or that something of weights was not seen."""
    return (isinstance(body, Weights) and body.event == "loaded") or (isinstance(body, Gap) and body.cause == "weights")


def check_resumed(body: Resumed) -> None:
    """As `check_weights`."""
    parse_ops(body.operations)
    if body.step < 0:
        raise LedgerInvalid("resumed: a number is below 0")
    if body.note:
        read_note(body.note)


def held_notes(segments: Iterable[SegmentReading]) -> Iterator[tuple[SegmentReading, Noted]]:
    """Heads of these segments that the training's own checkpoints kept, as far as a later segment brought them back.

    One that was written anew has another nonce, so another origin: the head of its name is held against it too.
    """
    segments = list(segments)
    origins = {origin_of(segment.genesis): segment for segment in segments}
    names = {(segment.genesis.run_id, segment.name): segment for segment in segments}
    for segment in segments:
        for body in (resumed.body for resumed in segment.resumed if resumed.body.note):
            noted = read_note(body.note)
            source = origins.get(noted.origin) or names.get((body.run_id, body.segment))
            if source is not None:
                yield source, noted
