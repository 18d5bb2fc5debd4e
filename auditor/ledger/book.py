"""What a counting process writes down: signatures and tallies once, then intervals that refer to them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from auditor.errors import LedgerInvalid
from auditor.ledger.known import Amounts, Known, amounts_of, rows_of, size_of, unpriced_of
from auditor.ledger.notices import check_updates
from auditor.ledger.noting import note_earlier, note_others
from auditor.ledger.progress import check_resumed, check_weights, may_have_loaded
from auditor.ledger.rotation import check_rotation
from auditor.lines import read_record, write_record
from auditor.operations import Operations, add_up
from auditor.records import (
    MOST_FORMS,
    MOST_TALLIES,
    WEIGHTS_LIMIT_BYTES,
    Alert,
    Body,
    Exit,
    Folded,
    Gap,
    Hardware,
    HardwareAgain,
    Interval,
    PurposeChange,
    Record,
    Recovered,
    Resumed,
    Rotation,
    Seal,
    SecondOpinion,
    Totals,
    Updates,
    Weights,
)
from auditor.tally import Purpose, Tally, merge
from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from auditor.ledger.keys import SigningKey
    from auditor.ledger.notes import Head
    from auditor.ledger.segment import SegmentWriter

_MOST_WAITING = 64  # hardware records that wait for the next write
TOTALS_EVERY = 256  # intervals


class _Cumulative(Amounts):
    """The fields of a `Cumulative` record."""

    lines: int
    nodes: tuple[str, ...]
    steps: int
    elapsed_us: int
    gaps: int
    floors: int
    resumed: int
    loaded: int


class SegmentBook:
    """The book of one segment; any thread of its process may write. Errors are those of `SegmentWriter`."""

    def __init__(
        self, writer: SegmentWriter, recovered: Iterable[Recovered] = (), line_of_key: Iterable[Rotation] = ()
    ) -> None:
        """``line_of_key``: how the key came to be. ``recovered``: what `recover` cut. Both are written first."""
        self._writer = writer
        self._lock = threading.RLock()
        self._known = Known()
        self._forms: dict[tuple[str, str, tuple[str, ...]], int] = {}  # of hardware records written in full
        self._waiting: list[Body] = []
        self._gaps = self._floors = self._resumed = self._loaded = 0
        self._intervals = 0  # since the last totals
        self._weights_bytes = 0
        self._folded = Operations.none()
        self.steps = 0
        self.elapsed_us = 0
        first: list[Body] = [*line_of_key, *recovered, *note_earlier(writer.path)]
        if first:
            self._write(first)

    @property
    def operations(self) -> Operations:
        """What all intervals so far come to."""
        with self._lock:
            return self._known.operations() + self._folded

    def head_note(self) -> str:
        """The present head as a signed note (C2SP tlog-checkpoint), for whoever keeps it elsewhere.

        It is what the last write came to, whether or not that has reached the disk; it stays when the book is closed.
        """
        with self._lock:
            return self._writer.note

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
        price: Callable[[Tally], Operations],
    ) -> Head:
        """The interval is written, before it whatever it refers to that is new, all in one write.

        ``parts``: tallies, each with how often it came. ``price``: what a tally comes to; asked for those that are new.
        Raises: LedgerInvalid: the interval does not follow the one before; nothing is written.
        """
        kept = _coalesce(parts)
        self._check_course(first_step, steps, elapsed_us)
        with self._lock, self._writer.fatal():
            self._tell_totals()
            news = self._known.news([tally for tally, _ in kept], price)
            course = {"first_step": first_step, "steps": steps, "elapsed_us": elapsed_us}
            if news is None:
                operations = add_up([(price(tally), times) for tally, times in kept])
                head = self._write([Folded(**course, **amounts_of(operations))])
                self._folded = self._folded + operations
            else:
                tallies = tuple((self._known.number(tally, news), times) for tally, times in kept)
                head = self._write([*news.records, Interval(**course, tallies=tallies)])
                self._known.learn(news, tallies)
            self.steps += steps
            self.elapsed_us = elapsed_us
            self._intervals += 1
            return head

    def _tell_totals(self) -> None:
        """Now and then, what all intervals so far come to is part of the next write."""
        if self._intervals < TOTALS_EVERY:
            return
        self._intervals = 0
        recent = [(number, rows_of(amount), unpriced_of(amount)) for number, amount in self._known.settle()]
        self._waiting.append(Totals(**self._cumulative(), tallies=tuple(recent)))

    def _cumulative(self) -> _Cumulative:
        """What all intervals so far come to; the writer adds the place."""
        return {
            "lines": 0,
            "nodes": (),
            "steps": self.steps,
            "elapsed_us": self.elapsed_us,
            **amounts_of(self.operations),
            "gaps": self._gaps,
            "floors": self._floors,
            "resumed": self._resumed,
            "loaded": self._loaded,
        }

    def append(
        self, body: PurposeChange | SecondOpinion | Updates | Weights | Resumed | Hardware | Exit | Alert
    ) -> Head:
        """A record that stands for itself is written."""
        with self._lock:
            return self._write([body])

    def _write(self, bodies: Sequence[Body]) -> Head:
        """The records are written, before them what waits."""
        head = self._writer.append_all([*self._waiting, *bodies])
        self._waiting.clear()
        gaps = [body for body in bodies if isinstance(body, Gap)]
        self._gaps += len(gaps)
        self._floors += sum(gap.lower_bound for gap in gaps)
        self._resumed += sum(isinstance(body, Resumed) for body in bodies)
        self._loaded += sum(map(may_have_loaded, bodies))
        return head

    def purpose(self, purpose: str) -> Head:
        """It is written that the process works for another purpose from here on."""
        return self.append(PurposeChange(purpose=str(Purpose(purpose))))

    def gap(self, cause: str, message: str, *, lower_bound: bool) -> Head:
        """It is written what the auditor could not see, and whether the total is a floor because of it."""
        with self._lock, self._writer.fatal():
            return self._write([Gap(cause=cause, message=message, lower_bound=lower_bound)])

    def weights(self, weights: Weights) -> None:
        """It is written which checkpoint was saved or loaded; where its digest could not be had, as a gap too.

        Raises: LedgerInvalid: it is no such record; nothing is written.
        """
        check_weights(weights)
        self._append_within(weights)
        if weights.missed:
            what = f"{weights.name} was {weights.event} and has no digest: {weights.missed}"
            self.gap("weights", what, lower_bound=False)

    def resumed(self, resumed: Resumed) -> None:
        """It is written that the training went on from a kept state.

        Raises: LedgerInvalid: it is no such record; nothing is written.
        """
        check_resumed(resumed)
        self._append_within(resumed)

    def _append_within(self, body: Weights | Resumed) -> None:
        """It is written, unless there is no room for it; then that is."""
        with self._lock:
            before, self._weights_bytes = self._weights_bytes, self._weights_bytes + size_of(body)
            if self._weights_bytes <= WEIGHTS_LIMIT_BYTES:
                self.append(body)
            elif before <= WEIGHTS_LIMIT_BYTES:
                self.gap("weights", "there is no room for more checkpoints: later ones are missing", lower_bound=False)

    def second_opinion(self, opinion: SecondOpinion) -> Head:
        """Another counter's view is written.

        Raises: UnitError: its amounts are none; nothing is written.
        """
        if not opinion.unavailable:
            parse_ops(opinion.ours)
            parse_ops(opinion.theirs)
        return self.append(opinion)

    def updates(self, updates: Updates) -> Head:
        """It is written what a step of an optimizer updated.

        Raises: LedgerInvalid, UnitError: it is no such record; nothing is written.
        """
        check_updates(updates)
        return self.append(updates)

    def hardware(self, event: str, device: str, values: Mapping[str, str]) -> None:
        """It is written what was seen of a device (by UUID) now; amounts are text with the unit in their name.

        What was only observed waits for the next record and stands before it, as it needs no signature of its own.
        """
        seen = Hardware(event=event, device=device, values=dict(sorted(values.items())))
        read_record(write_record(Record(time_us=0, body=seen)))
        with self._lock:
            self._waiting.append(self._shortened(seen))
            if event != "observed" or len(self._waiting) >= _MOST_WAITING:
                self._write([])

    def _shortened(self, seen: Hardware) -> Hardware | HardwareAgain:
        """The record by reference to an earlier one of the same form, where there is one."""
        form = (seen.event, seen.device, tuple(seen.values))
        if form in self._forms:
            return HardwareAgain(earlier=self._forms[form], values=tuple(seen.values.values()))
        if len(self._forms) < MOST_FORMS:
            self._forms[form] = len(self._forms)
        return seen

    def rotate(self, rotation: Rotation, key: SigningKey) -> Head:
        """It is written, and signed by the present key, that ``key`` follows it; what comes next is signed by that one.

        Raises: LedgerInvalid: the rotation is not from the present key to that one; nothing is written.
        """
        with self._lock, self._writer.fatal():
            check_rotation(rotation)
            if (rotation.previous, rotation.following) != (self._writer.public_hex, key.public_hex):
                raise LedgerInvalid("a rotation is not from the key that signs to the one that is to sign")
            head = self._write([rotation])
            self._writer.take_key(key)
            return head

    def sync(self) -> None:
        """All of it survives a loss of power."""
        with self._lock:
            self._writer.sync()

    def seal(self, reason: str) -> Head:
        """The totals are written as the last record, are on the disk, and the segment is closed."""
        with self._lock:
            head = self._write(
                [
                    *note_others(self._writer.path, everything=self._writer.genesis.role == "launcher"),
                    Seal(**self._cumulative(), reason=reason),
                ]
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
