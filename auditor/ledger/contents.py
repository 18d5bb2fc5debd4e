"""What a segment says, checked: tallies against the recount, intervals against tallies, the seal against all."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from auditor.errors import LedgerInvalid, UnitError
from auditor.ledger.detail import FULL, Detail
from auditor.ledger.intervals import Intervals, RowRefused
from auditor.ledger.known import rows_of, size_of, unpriced_of
from auditor.ledger.notices import Gaps, NotedGap, Sights, check_updates
from auditor.ledger.prices import Prices, Recount, RunningSum, first_difference, read_amounts
from auditor.ledger.progress import Kept, ResumedAt, check_resumed, check_weights, may_have_loaded
from auditor.ledger.rotation import check_rotation
from auditor.lines import AGAIN_GROUP, FREQUENT, INTERVAL_GROUP, read_record
from auditor.operations import Operations
from auditor.records import (
    MOST_NOTED,
    MOST_RECENT,
    MOST_TOLD,
    TALLIES_LIMIT_BYTES,
    WEIGHTS_LIMIT_BYTES,
    Alert,
    Body,
    Cumulative,
    Folded,
    Gap,
    Genesis,
    Hardware,
    HardwareAgain,
    NotedHeads,
    PurposeChange,
    Record,
    Resumed,
    Rotation,
    Seal,
    SecondOpinion,
    Signatures,
    Synced,
    TallyRecord,
    Totals,
    Updates,
    Weights,
)
from auditor.tally import Entry, Phase, Purpose, Signature, Tally
from auditor.units import parse_ops

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping, Sequence

    from auditor.ledger.curve import Point
    from auditor.ledger.intervals import Row
    from auditor.ledger.log import Stretch

Note = TypeVar("Note")


class Contents:
    """Takes the lines of one segment in their order; what was sound before a false one stays."""

    def __init__(self, recount: Recount | None, kept: Kept | None = None, detail: Detail = FULL) -> None:
        """``kept``: what of its intervals is progress, where that is not all of it. ``detail``: as `read_segment`."""
        self._recount = recount
        self._kept = kept
        self._prices = Prices(recount)
        self._signatures: list[Signature] = []
        self._tallies_bytes = 0
        self.intervals = Intervals(detail.points)
        self._sum = RunningSum()
        self._nodes: Mapping[int, tuple[str, ...]] = {}  # of the tree, before each line that has to name them
        self._gaps = Gaps()
        self._sights = Sights(detail.sights)
        self._notes: list[Body] = []
        self._resumed: list[ResumedAt] = []
        self._loaded = 0
        self._weights_bytes = 0
        self._told = 0  # records that only inform
        self._sealed = False
        self._line = 0  # of the record that is taken
        self._last = 0  # line of the checkpoint that vouches for it
        self.keys: list[str] = []  # that sign, in their order
        self._rows_at: list[int] = []  # lines of the intervals that are taken
        self.genesis: Genesis | None = None
        self.records = 0
        self.noted: list[tuple[str, int, str]] = []  # heads of other segments
        self.started_us = self.ended_us = 0  # times of the first and the last record

    def take(self, stretch: Stretch) -> None:
        """The lines are part of the contents.

        Raises: LedgerInvalid: one contradicts itself, those before it or the recount; it names the line.
        """
        try:
            self._take_all(stretch)
        except RowRefused as refused:
            raise LedgerInvalid(f"line {self._rows_at[refused.index]}: {refused}") from refused
        except (LedgerInvalid, UnitError) as error:
            raise LedgerInvalid(f"line {self._line}: {error}") from error
        except ValueError as error:  # numbers too long to print, text that no encoding holds
            raise LedgerInvalid(f"line {self._line}: cannot be understood: {error}") from error

    def _take_all(self, stretch: Stretch) -> None:
        """Intervals with nothing but frequent kinds between them are taken together: there are millions of them."""
        if self._kept is not None:
            self._kept.look(stretch)
        rows: list[Row] = []
        self._rows_at = []
        self._last = stretch.before + len(stretch.lines)
        self._nodes = stretch.nodes
        for number, line in enumerate(stretch.lines, stretch.before + 1):
            match = FREQUENT.fullmatch(line)
            if match is None:
                self._add_intervals(rows)
                rows, self._rows_at, self._line = [], [], number
                self._take(read_record(line))
            elif match.lastindex == INTERVAL_GROUP:
                rows.append(match.group(1, 2, 3, 4, 5))
                self._rows_at.append(number)
            elif match.lastindex == AGAIN_GROUP:
                self._line = number
                self._see_again(match)
        self._add_intervals(rows)
        self._rows_at = []
        if match := FREQUENT.fullmatch(stretch.lines[-1]):  # the checkpoint, which bears the last record's time
            self.ended_us = int(match[1])

    def _see_again(self, match: re.Match[bytes]) -> None:
        self._refuse_after_seal()
        self._sights.add_again(int(match[AGAIN_GROUP - 1]), match[AGAIN_GROUP])
        self.records += 1
        self.ended_us = int(match[1])

    def points(self) -> tuple[Point, ...]:
        """The curve of the intervals."""
        return self.intervals.curve.points(self._prices.recounted)

    def gaps(self) -> tuple[NotedGap, ...]:
        """What the auditor could not see or do, each kind once."""
        return self._gaps.all()

    def hardware(self) -> tuple[Hardware, ...]:
        """What was seen of devices."""
        return self._sights.all()

    def resumed(self) -> tuple[ResumedAt, ...]:
        """Where it went on from a kept state, in the order of its lines."""
        return tuple(self._resumed)

    def abandoned(self) -> Operations:
        """What those intervals come to that are not kept."""
        if self._kept is None:
            return Operations.none()
        return self._prices.recounted(self._kept.abandoned_times()) + self._kept.folded

    def notes(self, kind: type[Note]) -> tuple[Note, ...]:
        """The records of a kind that only inform: second opinions, recoveries, the exit."""
        return tuple(note for note in self._notes if isinstance(note, kind))

    def recorded(self) -> Operations:
        """What the segment says that its intervals come to."""
        self._sum.settle(self._prices)
        return self._sum.recorded

    def operations(self) -> Operations:
        """What the intervals come to when their tallies are recounted, where that was asked for."""
        self._sum.settle(self._prices)
        return self._sum.recounted

    def _add_intervals(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        if self._sealed:
            raise RowRefused(0, "stands after the seal, which is the last record")
        if self._kept is not None:
            self._kept.see(rows, self._rows_at)
        before = self.intervals.number
        try:
            self.intervals.add(rows, len(self._prices))
        finally:
            if self.intervals.number > before:
                taken = self.intervals.number - before
                self._sum.add((row[4] for row in rows[:taken]), self._prices)
                self.records += taken
                self.ended_us = self.intervals.time_us

    def _refuse_after_seal(self) -> None:
        if self._sealed:
            raise LedgerInvalid("stands after the seal, which is the last record")

    def _take(self, record: Record) -> None:
        self._refuse_after_seal()
        if isinstance(record.body, Genesis) != (self.genesis is None):
            raise LedgerInvalid(f"a record of kind {record.body.kind!r} cannot stand here: the first is the genesis")
        if not isinstance(record.body, Synced):  # which only tells a hole from damage, see `hole`
            self._understand(record)
        self.records += 1
        self.started_us = self.started_us if self.records > 1 else record.time_us
        self.ended_us = record.time_us

    def _understand(self, record: Record) -> None:
        match record.body:
            case Genesis() as body:
                self._begin(body)
            case Signatures() as body:
                self._learn(body)
            case TallyRecord() as body:
                self._add_tally(body)
            case Folded() as body:
                self._add_folded(body, record.time_us)
            case Seal() as body:
                self._compare(body)
                self._sealed = True
            case Totals() as body:
                self._compare(body)
                self._compare_tallies(body)
            case body:
                self._notice(body)

    def _notice(self, body: Body) -> None:
        """What changes no amount."""
        self._loaded += may_have_loaded(body)
        match body:
            case Gap():
                self._gaps.add(body)
            case Hardware() | HardwareAgain():
                self._sights.add(body)
            case NotedHeads():
                self._note_heads(body)
            case Rotation():
                self._change_key(body)
            case PurposeChange():
                Purpose(body.purpose)
            case Resumed():
                check_resumed(body)
                self._spend_on_weights(body)
                self._resumed.append(ResumedAt(self._line, self.intervals.steps, body))
            case _:
                self._keep(body)

    def _keep(self, body: Body) -> None:
        match body:
            case Weights():
                check_weights(body)
                self._spend_on_weights(body)
                self._notes.append(body)
            case SecondOpinion():
                _check_opinion(body)
                self._tell(body)
            case Updates():
                check_updates(body)
                self._tell(body)
            case Alert():
                parse_ops(body.at)
                parse_ops(body.counted)
                self._tell(body)
            case _:
                self._tell(body)

    def _tell(self, body: Body) -> None:
        self._told += 1
        if self._told > MOST_TOLD:
            raise LedgerInvalid(f"it has more than the {MOST_TOLD} records allowed that only inform")
        self._notes.append(body)

    def _spend_on_weights(self, body: Weights | Resumed) -> None:
        self._weights_bytes += size_of(body)
        if self._weights_bytes > WEIGHTS_LIMIT_BYTES:
            raise LedgerInvalid(f"its records of checkpoints take more than the {WEIGHTS_LIMIT_BYTES} bytes allowed")

    def _begin(self, genesis: Genesis) -> None:
        if genesis.role not in ("rank", "process", "launcher"):
            raise LedgerInvalid(f"role: expected rank, process or launcher, got {genesis.role[:40]!r}")
        if min(genesis.rank, genesis.attempt, genesis.expected_ranks) < 0 or not genesis.nonce:
            raise LedgerInvalid("rank, attempt, expected_ranks and nonce: none may be negative or empty")
        self.genesis = genesis
        self.keys.append(genesis.public_key)
        self._prices.binding = self._recount is not None and genesis.digests.get("formulas") == self._recount.digest

    def _change_key(self, body: Rotation) -> None:
        check_rotation(body)
        if body.previous == self.keys[-1]:
            if self._line != self._last - 1:
                raise LedgerInvalid("a rotation of the segment's key is not the last record before its checkpoint")
            self.keys.append(body.following)
        self._tell(body)

    def _note_heads(self, body: NotedHeads) -> None:
        self.noted += body.heads
        if len(self.noted) > MOST_NOTED or any(size < 1 for _, size, _ in body.heads):
            raise LedgerInvalid(f"it notes more than {MOST_NOTED} heads of other segments, or an empty one")

    def _add_folded(self, body: Folded, time_us: int) -> None:
        operations = read_amounts(body.operations, body.unpriced)
        self.intervals.add_folded(body, operations, time_us)
        self._sum.add_folded(operations)
        if self._kept is not None:
            self._kept.see_folded(self._line, body, operations)

    def _spend(self, body: Signatures | TallyRecord) -> None:
        self._tallies_bytes += size_of(body)
        if self._tallies_bytes > TALLIES_LIMIT_BYTES:
            raise LedgerInvalid(f"its signatures and tallies take more than the {TALLIES_LIMIT_BYTES} bytes allowed")

    def _learn(self, body: Signatures) -> None:
        self._spend(body)
        if body.first != len(self._signatures):
            raise LedgerInvalid(f"signatures: expected the first to be number {len(self._signatures)}")
        for op, arguments in body.items:
            (op + arguments).encode()  # a tally of what no encoding holds would have no digest
            self._signatures.append(Signature(op, arguments))

    def _add_tally(self, body: TallyRecord) -> None:
        self._spend(body)
        if body.number != len(self._prices):
            raise LedgerInvalid(f"expected tally {len(self._prices)}, got tally {body.number}")
        tally = Tally(dict(map(self._entry, body.entries)))
        if len(tally) != len(body.entries):
            raise LedgerInvalid(f"tally {body.number} has an entry twice")
        self._prices.add(tally, read_amounts(body.operations, body.unpriced))

    def _entry(self, row: tuple[int, str, str, int]) -> tuple[Entry, int]:
        number, phase, purpose, calls = row
        if not 0 <= number < len(self._signatures) or calls < 1:
            raise LedgerInvalid(f"a tally has {calls} calls of an operator that has number {number}")
        return Entry(self._signatures[number], Phase(phase), Purpose(purpose)), calls

    def _compare(self, body: Cumulative) -> None:
        """What it says of all lines before it is what they come to."""
        recorded = self.recorded()
        if (body.operations, body.unpriced) != (rows_of(recorded), unpriced_of(recorded)):
            said = read_amounts(body.operations, body.unpriced)
            raise LedgerInvalid(f"its totals do not come to its intervals: {first_difference(said, recorded)}")
        counted = (self.intervals.steps, self.intervals.elapsed_us)
        noticed = (self._gaps.number, self._gaps.floors, len(self._resumed), self._loaded)
        if (body.steps, body.elapsed_us, body.gaps, body.floors, body.resumed, body.loaded) != (*counted, *noticed):
            what = "steps, time, gaps, resumptions or loaded weights"
            raise LedgerInvalid(f"it says other {what} than its segment: {counted + noticed}")
        if body.lines != self._line - 1 or body.nodes != self._nodes.get(body.lines):
            raise LedgerInvalid("its totals do not name the tree of the lines before it")

    def _compare_tallies(self, body: Totals) -> None:
        if len(body.tallies) > MOST_RECENT:
            raise LedgerInvalid(f"its totals repeat more than {MOST_RECENT} tallies")
        for number, operations, unpriced in body.tallies:
            recorded = self._prices.of(number)
            if recorded is None or (operations, unpriced) != (rows_of(recorded), unpriced_of(recorded)):
                raise LedgerInvalid(f"its totals say of tally {number} what it does not come to")


def _check_opinion(body: SecondOpinion) -> None:
    if not body.unavailable:
        parse_ops(body.ours)
        parse_ops(body.theirs)
