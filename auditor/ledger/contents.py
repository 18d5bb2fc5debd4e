"""What a segment says, checked: tallies against digests, intervals against tallies, the seal against all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from auditor.errors import LedgerInvalid, UnitError
from auditor.ledger.book import rows_of, unpriced_of
from auditor.operations import Operations, add_up
from auditor.records import (
    SCHEMAS,
    Body,
    Gap,
    Genesis,
    Hardware,
    Interval,
    PurposeChange,
    Record,
    Seal,
    SecondOpinion,
    Signatures,
    TallyRecord,
)
from auditor.tally import Entry, Phase, Purpose, Signature, Tally
from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_POINTS = 2048
MOST_OBSERVED = 1024  # looks at one device that are kept: their totals grow, so the others only add detail
_MOST_SUMS = 4096

Note = TypeVar("Note")
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """How tallies are priced again, and the digest of the formula table that does it."""

    price: Callable[[Tally], Operations]
    digest: str


class Point(NamedTuple):
    """One interval, or neighbours joined where there are too many to draw."""

    first_step: int
    steps: int
    elapsed_us: int
    time: str
    operations: Operations


class Sum(NamedTuple):
    """What the tallies of an interval come to, as amounts and as a record writes them."""

    operations: Operations
    rows: Rows
    unpriced: Mapping[str, int]


@dataclass(slots=True)
class Points:
    """A curve of at most `MOST_POINTS` points whose operations add up to the whole."""

    _closed: list[Point] = field(default_factory=list)
    _open: list[Point] = field(default_factory=list)  # intervals of the point that is growing
    _each: int = 1  # intervals per point

    def add(self, point: Point) -> None:
        """The curve holds one interval more."""
        if len(self._open) == self._each:
            self._closed.append(_joined(self._open))
            self._open = []
        if len(self._closed) == MOST_POINTS:
            pairs = zip(self._closed[::2], self._closed[1::2], strict=True)
            self._closed = [_joined(pair) for pair in pairs]
            self._each *= 2
        self._open.append(point)

    def all(self) -> tuple[Point, ...]:
        """The points in their order."""
        return (*self._closed, *([_joined(self._open)] if self._open else []))


def _joined(points: Sequence[Point]) -> Point:
    """Neighbours as one point. Intervals alike share their operations, which are then added up once."""
    alike: dict[int, tuple[Operations, int]] = {}
    for point in points:
        _, times = alike.get(id(point.operations), (point.operations, 0))
        alike[id(point.operations)] = (point.operations, times + 1)
    return points[-1]._replace(
        first_step=points[0].first_step,
        steps=sum(point.steps for point in points),
        operations=add_up(alike.values()) if len(points) > 1 else points[0].operations,
    )


class Contents:
    """Takes the records of one segment in their order; what was sound before a false one stays."""

    def __init__(self, recount: Recount | None) -> None:
        self._recount = recount
        self._binding = False  # whether a recount must agree: it uses the table that was recorded
        self._signatures: list[Signature] = []
        self._prices: dict[str, Operations | None] = {}  # by digest of tally; None where nothing is recounted
        self._sums: dict[tuple[tuple[str, int], ...], Sum] = {}
        self._agreed: dict[str, int] = {}  # times of each tally in intervals whose recount agrees
        self._differing: dict[str, int] = {}
        self._recorded = Operations.none()  # of intervals that were not recounted, or differ
        self._curve = Points()
        self._notes: list[Body] = []
        self._observed: Counter[str] = Counter()
        self.genesis: Genesis | None = None
        self.steps = 0
        self.elapsed_us = 0

    def take(self, record: Record) -> None:
        """The record is part of the contents.

        Raises: LedgerInvalid: it contradicts itself, those before it or the recount; it names the record.
        """
        try:
            self._take(record)
        except (LedgerInvalid, UnitError) as error:
            raise LedgerInvalid(f"record {record.seq}: {error}") from error
        except ValueError as error:  # numbers too long to print, text that no encoding holds
            raise LedgerInvalid(f"record {record.seq}: cannot be understood: {error}") from error

    @property
    def points(self) -> tuple[Point, ...]:
        """The curve of the intervals."""
        return self._curve.all()

    def notes(self, kind: type[Note]) -> tuple[Note, ...]:
        """The records of a kind that only inform: gaps, second opinions, hardware, recoveries, the exit."""
        return tuple(note for note in self._notes if isinstance(note, kind))

    def recorded(self) -> Operations:
        """What the intervals say."""
        return self._recorded + self._priced(self._agreed)

    def operations(self) -> Operations:
        """What the tallies come to when they are recounted, else what the intervals say."""
        if self._recount is None:
            return self.recorded()
        return self._priced(self._agreed) + self._priced(self._differing)

    def _priced(self, times: Mapping[str, int]) -> Operations:
        return add_up([(self._prices[digest] or Operations.none(), number) for digest, number in times.items()])

    def _take(self, record: Record) -> None:
        if self.genesis and record.body.kind in SCHEMAS[self.genesis.schema]:
            raise LedgerInvalid(f"a record of kind {record.body.kind!r} cannot stand under {self.genesis.schema!r}")
        match record.body:
            case Genesis() as body:
                self._begin(body)
            case Signatures() as body:
                self._learn(body)
            case TallyRecord() as body:
                self._add_tally(body)
            case Interval() as body:
                self._add_interval(body, record.time)
            case Seal() as body:
                self._compare_seal(body)
            case PurposeChange() as body:
                Purpose(body.purpose)
            case SecondOpinion() as body:
                _check_opinion(body)
                self._notes.append(body)
            case Hardware(event="observed") as body:
                self._keep(body)
            case body:
                self._notes.append(body)

    def _begin(self, genesis: Genesis) -> None:
        if genesis.role not in ("rank", "process", "launcher"):
            raise LedgerInvalid(f"role: expected rank, process or launcher, got {genesis.role[:40]!r}")
        if min(genesis.rank, genesis.attempt, genesis.expected_ranks) < 0 or not genesis.nonce:
            raise LedgerInvalid("rank, attempt, expected_ranks and nonce: none may be negative or empty")
        self.genesis = genesis
        self._binding = self._recount is not None and genesis.digests.get("formulas") == self._recount.digest

    def _keep(self, look: Hardware) -> None:
        """The look is kept; where its device has too many, every second of those before it goes."""
        self._notes.append(look)
        self._observed[look.device] += 1
        if self._observed[look.device] <= MOST_OBSERVED:
            return
        places = [
            place
            for place, note in enumerate(self._notes)
            if isinstance(note, Hardware) and (note.event, note.device) == ("observed", look.device)
        ]
        gone = set(places[-2::-2])
        self._notes = [note for place, note in enumerate(self._notes) if place not in gone]
        self._observed[look.device] = len(places) - len(gone)

    def _learn(self, body: Signatures) -> None:
        if body.first != len(self._signatures):
            raise LedgerInvalid(f"signatures: expected the first to be number {len(self._signatures)}")
        self._signatures.extend(Signature(*item) for item in body.items)

    def _add_tally(self, body: TallyRecord) -> None:
        if body.digest in self._prices:
            raise LedgerInvalid(f"the tally {body.digest[:12]} stands twice")
        tally = Tally(dict(map(self._entry, body.entries)))
        if len(tally) != len(body.entries) or tally.digest != body.digest:
            raise LedgerInvalid(f"the digest of the tally {body.digest[:12]} is not that of its entries")
        self._prices[body.digest] = self._recount.price(tally) if self._recount else None

    def _entry(self, row: tuple[int, str, str, int]) -> tuple[Entry, int]:
        number, phase, purpose, calls = row
        if not 0 <= number < len(self._signatures) or calls < 1:
            raise LedgerInvalid(f"a tally has {calls} calls of an operator that has number {number}")
        return Entry(self._signatures[number], Phase(phase), Purpose(purpose)), calls

    def _add_interval(self, body: Interval, time: str) -> None:
        self._check_course(body)
        operations = self._count(body)
        self.steps += body.steps
        self.elapsed_us = body.elapsed_us
        self._curve.add(Point(body.first_step, body.steps, body.elapsed_us, time, operations))

    def _check_course(self, body: Interval) -> None:
        if body.first_step != self.steps + 1 or body.steps < 0:
            raise LedgerInvalid(f"the interval begins at step {body.first_step}, expected {self.steps + 1}")
        if body.elapsed_us < self.elapsed_us:
            raise LedgerInvalid("the interval ends before the one before it")
        known = all(digest in self._prices and times > 0 for digest, times in body.tallies)
        if not known or len(dict(body.tallies)) != len(body.tallies):
            raise LedgerInvalid("the interval refers to a tally that does not stand before it, or twice to one")

    def _count(self, body: Interval) -> Operations:
        """The operations of an interval: recounted where they can be, else as recorded."""
        if self._recount is None:
            recorded = _read(body.operations, body.unpriced)
            self._recorded = self._recorded + recorded
            return recorded
        expected = self._sum(body.tallies)
        agrees = (body.operations, body.unpriced) == (expected.rows, expected.unpriced)
        if not agrees:
            self._differ(body, expected)
        times = self._agreed if agrees else self._differing
        for digest, number in body.tallies:
            times[digest] = times.get(digest, 0) + number
        return expected.operations

    def _sum(self, tallies: tuple[tuple[str, int], ...]) -> Sum:
        """What these tallies come to; kept, because in steady state the same ones come again and again."""
        known = self._sums.get(tallies)
        if known is None:
            operations = self._priced(dict(tallies))
            known = Sum(operations, rows_of(operations), unpriced_of(operations))
            if len(self._sums) >= _MOST_SUMS:
                self._sums.clear()
            self._sums[tallies] = known
        return known

    def _differ(self, body: Interval, expected: Sum) -> None:
        """The difference is noted; it is a falsehood when the same formulas were used."""
        recorded = _read(body.operations, body.unpriced)
        if self._binding:
            last = body.first_step + body.steps - 1
            raise LedgerInvalid(
                f"the interval of steps {body.first_step} to {last} does not come to what it says: "
                f"{_first_difference(recorded, expected.operations)}"
            )
        self._recorded = self._recorded + recorded

    def _compare_seal(self, body: Seal) -> None:
        recorded = self.recorded()
        if (body.operations, body.unpriced) != (rows_of(recorded), unpriced_of(recorded)):
            said = _read(body.operations, body.unpriced)
            raise LedgerInvalid(f"the seal does not come to its intervals: {_first_difference(said, recorded)}")
        counted = (self.steps, self.elapsed_us, len(self.notes(Gap)))
        if (body.steps, body.elapsed_us, body.gaps) != counted:
            raise LedgerInvalid(f"the seal says other steps, time or gaps than its segment: {counted}")


def _check_opinion(body: SecondOpinion) -> None:
    if not body.unavailable:
        parse_ops(body.ours)
        parse_ops(body.theirs)


def _read(rows: Rows, unpriced: Mapping[str, int]) -> Operations:
    """The operations that a record writes.

    Raises: LedgerInvalid: in another form than ours, so that it could be read in two ways.
    """
    operations = Operations.from_rows(rows, unpriced)
    if rows_of(operations) != rows or any(calls < 1 for calls in unpriced.values()):
        raise LedgerInvalid("operations are not written in the canonical form")
    return operations


def _first_difference(said: Operations, found: Operations) -> str:
    for bucket in sorted(said.amounts.keys() | found.amounts.keys()):
        left, right = said.amounts.get(bucket), found.amounts.get(bucket)
        if left != right:
            numbers = " and ".join("nothing" if part is None else "/".join(map(str, part)) for part in (left, right))
            return f"bucket {'/'.join(bucket)}: recorded and recounted are {numbers}"
    return f"operators without a price: recorded {dict(said.unpriced)}, recounted {dict(found.unpriced)}"
