"""What a counting process writes down: signatures and tallies once, then intervals that refer to them."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

from auditor.errors import LedgerInvalid
from auditor.operations import Operations, add_up
from auditor.records import (
    Body,
    Exit,
    Gap,
    Hardware,
    Interval,
    PurposeChange,
    Recovered,
    Seal,
    SecondOpinion,
    Signatures,
    TallyRecord,
)
from auditor.tally import Purpose, Signature, Tally, merge
from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from auditor.ledger.segment import Head, SegmentWriter

# More distinct tallies than this in one interval (shapes that vary) become one tally for the surplus.
MOST_TALLIES = 8
_SIGNATURES_PER_RECORD = 1000


class SegmentBook:
    """The book of one segment; any thread of its process may write. Errors are those of `SegmentWriter`."""

    def __init__(self, writer: SegmentWriter, recovered: Iterable[Recovered] = ()) -> None:
        """``recovered``: what `recover` cut from earlier segments; it is written first."""
        self._writer = writer
        self._lock = threading.RLock()
        self._numbers: dict[Signature, int] = {}
        self._tallies: set[str] = set()
        self._gaps = 0
        self.steps = 0
        self.elapsed_us = 0
        self.operations = Operations.none()
        for tail in recovered:
            self.append(tail)

    @property
    def writer(self) -> SegmentWriter:
        """The segment that is written."""
        return self._writer

    def record_interval(
        self,
        *,
        first_step: int,
        steps: int,
        elapsed_us: int,
        parts: Sequence[tuple[Tally, int]],
        operations: Operations,
    ) -> Head:
        """The interval is written, before it whatever it refers to that is new, all in one write.

        ``parts``: tallies, each with how often it came. ``operations``: what all of them come to.
        Raises: LedgerInvalid: the interval does not follow the one before; nothing is written.
        """
        kept = _coalesce(parts)
        self._check_course(first_step, steps, elapsed_us)
        with self._lock, self._writer.fatal():
            new: list[Body] = [*self._new_signatures(kept), *self._new_tallies(kept)]
            interval = Interval(
                first_step=first_step,
                steps=steps,
                elapsed_us=elapsed_us,
                tallies=tuple((tally.digest, times) for tally, times in kept),
                operations=rows_of(operations),
                unpriced=unpriced_of(operations),
            )
            head = self._writer.append_all([*new, interval])
            self._tallies.update(tally.digest for tally, _ in kept)
            self.steps += steps
            self.elapsed_us = elapsed_us
            self.operations = add_up([(self.operations, 1), (operations, 1)])
            return head

    def append(self, body: PurposeChange | SecondOpinion | Hardware | Exit | Recovered) -> Head:
        """A record that stands for itself is written."""
        with self._lock:
            return self._writer.append(body)

    def purpose(self, purpose: str) -> Head:
        """It is written that the process works for another purpose from here on."""
        return self.append(PurposeChange(purpose=str(Purpose(purpose))))

    def gap(self, cause: str, message: str, *, lower_bound: bool) -> Head:
        """It is written what the auditor could not see, and whether the total is a floor because of it."""
        with self._lock, self._writer.fatal():
            head = self._writer.append(Gap(cause=cause, message=message, lower_bound=lower_bound))
            self._gaps += 1
            return head

    def second_opinion(self, opinion: SecondOpinion) -> Head:
        """Another counter's view is written.

        Raises: UnitError: its amounts are none; nothing is written.
        """
        if not opinion.unavailable:
            parse_ops(opinion.ours)
            parse_ops(opinion.theirs)
        return self.append(opinion)

    def hardware(self, event: str, device: str, values: Mapping[str, str]) -> Head:
        """It is written what was seen of a device (by UUID) now; amounts are text with the unit in their name."""
        return self.append(Hardware(event=event, device=device, values=dict(values)))

    def sync(self) -> None:
        """All of it survives a loss of power."""
        with self._lock:
            self._writer.sync()

    def seal(self, reason: str) -> Head:
        """The totals are written as the last record, are on the disk, and the segment is closed."""
        with self._lock:
            head = self._writer.append(
                Seal(
                    steps=self.steps,
                    elapsed_us=self.elapsed_us,
                    operations=rows_of(self.operations),
                    unpriced=unpriced_of(self.operations),
                    gaps=self._gaps,
                    reason=reason,
                )
            )
            self._writer.sync()
            self._writer.close()
            return head

    def close(self) -> None:
        """Nothing more is written; without a seal before it, a reader will say so."""
        self._writer.close()

    def abandon(self) -> None:
        """In a forked child: the segment stays the parent's."""
        self._writer.abandon()

    def _check_course(self, first_step: int, steps: int, elapsed_us: int) -> None:
        if first_step != self.steps + 1 or steps < 0 or elapsed_us < self.elapsed_us:
            raise LedgerInvalid(
                f"an interval of {steps} steps from {first_step} on, until {elapsed_us} us, does not follow "
                f"the one before, which ended with step {self.steps} at {self.elapsed_us} us",
                remedy="This is a defect of the auditor: please report it with the command and this message.",
            )

    def _new_signatures(self, parts: Iterable[tuple[Tally, int]]) -> list[Signatures]:
        first = len(self._numbers)
        fresh = sorted({entry.signature for tally, _ in parts for entry in tally} - self._numbers.keys())
        self._numbers.update(zip(fresh, itertools.count(first)))
        return [
            Signatures(first=first + start, items=tuple((op, args) for op, args in chunk))
            for start, chunk in _chunks(fresh, _SIGNATURES_PER_RECORD)
        ]

    def _new_tallies(self, parts: Iterable[tuple[Tally, int]]) -> list[TallyRecord]:
        return [
            TallyRecord(digest=tally.digest, entries=self._entries(tally))
            for tally, _ in parts
            if tally.digest not in self._tallies
        ]

    def _entries(self, tally: Tally) -> tuple[tuple[int, str, str, int], ...]:
        return tuple(
            sorted(
                (self._numbers[signature], str(phase), str(purpose), calls)
                for (signature, phase, purpose), calls in tally.items()
            )
        )


def rows_of(operations: Operations) -> tuple[tuple[str, ...], ...]:
    """The rows of an amount as a record holds them."""
    return tuple(map(tuple, operations.to_rows()))


def unpriced_of(operations: Operations) -> Mapping[str, int]:
    """Operators without a price, and their calls, as a record holds them."""
    return dict(sorted(operations.unpriced.items()))


def _coalesce(parts: Sequence[tuple[Tally, int]]) -> list[tuple[Tally, int]]:
    """The same calls in at most `MOST_TALLIES` tallies: the frequent ones as they are, the others merged."""
    times: dict[Tally, int] = {}
    for tally, number in parts:
        if tally and number:
            times[tally] = times.get(tally, 0) + number
    ranked = sorted(times.items(), key=lambda part: (-part[1], part[0].digest))
    if len(ranked) <= MOST_TALLIES:
        return ranked
    kept, surplus = ranked[: MOST_TALLIES - 1], ranked[MOST_TALLIES - 1 :]
    return _coalesce([*kept, (merge(surplus), 1)])


def _chunks(items: list[Signature], size: int) -> Iterable[tuple[int, list[Signature]]]:
    return ((start, items[start : start + size]) for start in range(0, len(items), size))
