"""What a segment came to, from its first record and its end alone.

A `Cumulative` record (a seal, or totals now and then) has the totals so far and the nodes of the tree over all lines
before it. From these and the lines that follow comes the root that the last checkpoint signs. So without the lines in
between it is certain that whoever has the key signed these totals as those of this segment, and what came after them;
not that the lines in between come to them, nor that they are those that were signed: that is what reading all of it is
for. Wherever the end does not settle it (no totals in it yet, a hole, a false signature, a tally that stands further
before) the segment is read whole, and what that finds counts.
"""

from __future__ import annotations

import base64
import dataclasses
import os
from typing import IO, TYPE_CHECKING

from auditor.errors import LedgerError, UnitError
from auditor.ledger.inspection import Unreadable, read_opened
from auditor.ledger.log import fault_of_tail, last_checkpoint
from auditor.ledger.merkle import Frontier, leaf_hashes
from auditor.ledger.notes import Head, Signer, head_of
from auditor.ledger.packed import open_segment
from auditor.ledger.places import is_held, name_of
from auditor.ledger.prices import read_amounts
from auditor.ledger.progress import may_have_loaded
from auditor.ledger.rotation import check_rotation
from auditor.lines import (
    AGAIN_GROUP,
    CHECKPOINT_GROUP,
    FREQUENT,
    INTERVAL_GROUP,
    checkpoint_after,
    read_checkpoint,
    read_record,
    read_tallies,
)
from auditor.operations import Operations, add_up
from auditor.records import (
    Cumulative,
    Exit,
    Folded,
    Gap,
    Genesis,
    Resumed,
    Rotation,
    Seal,
    TallyRecord,
    Totals,
    time_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditor.ledger.inspection import SegmentReading
    from auditor.records import Record

SEAL, TOTALS, WHOLE = "seal", "totals", "whole"  # what a sum rests on
_MARKS = (b'"totals",{', b'"seal",{')
_ROTATION = b'"rotation",{'
_FIRST_BYTES = 16 * 2**10
_TAIL_BYTES = (16 * 2**10, 256 * 2**10, 4 * 2**20)  # that are read, until there are totals among them
_BLOCK_BYTES = 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSum:
    """What a segment came to; as it says, not recounted."""

    name: str
    genesis: Genesis  # without devices, unless they were asked for
    source: str  # one of SEAL, TOTALS (and the intervals after them), WHOLE (all of it was read)
    operations: Operations
    steps: int
    elapsed_us: int
    gaps: int
    floors: int  # of these gaps, those because of which operations may be missing
    resumed: int  # how often the training went on from a kept state
    loaded: int  # how often weights were loaded, or may have been
    exit: Exit | None  # a launcher's
    head: Head  # of the last checkpoint
    key: str  # that signed it
    started: str
    ended: str  # time of the last record
    sealed: bool
    live: bool  # its writer holds it still
    torn_bytes: int
    broken: str  # what is false, where all of it was read; "" where nothing is


def read_sum(path: Path, *, devices: bool = False) -> SegmentSum | Unreadable:
    """What the segment came to up to its last checkpoint, from its end where that settles it.

    ``devices``: with those that its first record names, which take most of the memory.
    Raises: SchemaFromFuture: it was written by a newer auditor.
    """
    found = _read_sum(path)
    if devices or isinstance(found, Unreadable):
        return found
    return dataclasses.replace(found, genesis=dataclasses.replace(found.genesis, devices=()))


def _read_sum(path: Path) -> SegmentSum | Unreadable:
    try:
        with open_segment(path) as file:
            held = is_held(file)
            found = _from_end(name_of(path), file, held=held)
            if found is not None:
                return found
            file.seek(0)
            reading = read_opened(name_of(path), file, held=held)
    except OSError as error:
        return Unreadable(name=name_of(path), cause=f"it cannot be read: {error.strerror or error}", false=False)
    return reading if isinstance(reading, Unreadable) else _of_reading(reading)


def _of_reading(reading: SegmentReading) -> SegmentSum:
    floors = sum(gap.times for gap in reading.gaps if gap.lower_bound)
    return SegmentSum(
        name=reading.name,
        genesis=reading.genesis,
        source=WHOLE,
        operations=reading.recorded,
        steps=reading.steps,
        elapsed_us=reading.elapsed_us,
        gaps=sum(gap.times for gap in reading.gaps),
        floors=floors,
        resumed=len(reading.resumed),
        loaded=_loaded(reading),
        exit=reading.exit,
        head=reading.head,
        key=reading.keys[-1],
        started=reading.started,
        ended=reading.ended,
        sealed=reading.sealed,
        live=reading.live,
        torn_bytes=reading.torn_bytes,
        broken=reading.broken,
    )


def _loaded(reading: SegmentReading) -> int:
    """As `may_have_loaded` counts; gaps alike are told together there."""
    unseen = sum(gap.times for gap in reading.gaps if gap.cause == "weights")
    return unseen + sum(map(may_have_loaded, reading.weights))


def _from_end(name: str, file: IO[bytes], *, held: bool) -> SegmentSum | None:
    """The sum, if first record and end settle it; any doubt is left to whoever reads all of it."""
    try:
        first = _first_record(file)
        tail = _read_tail(file)
        if first is None or tail is None or not isinstance(first.body, Genesis):
            return None
        key = _signing_key(file, first.body, tail)
        if first.body.role == "launcher" or key is None:
            return None
        after = _After(tail.record.time_us, tail.body)
        after.take(tail.lines[1:-1])
    except (LedgerError, UnitError, ValueError):
        return None
    sealed = isinstance(tail.body, Seal)
    live = held and not sealed
    return SegmentSum(
        name=name,
        genesis=first.body,
        source=SEAL if sealed else TOTALS,
        operations=after.operations(),
        steps=after.steps,
        elapsed_us=after.elapsed_us,
        gaps=after.gaps,
        floors=after.floors,
        resumed=after.resumed,
        loaded=after.loaded,
        exit=None,
        head=tail.head,
        key=key,
        started=time_text(first.time_us),
        ended=time_text(after.time_us),
        sealed=sealed,
        live=live,
        torn_bytes=0 if live else tail.torn_bytes,
        broken="",
    )


def _first_record(file: IO[bytes]) -> Record | None:
    """The first record, if the checkpoint behind it is signed by the key that it names."""
    file.seek(0)
    lines = file.read(_FIRST_BYTES).split(b"\n")
    if len(lines) < 3:
        return None
    record, signature = read_record(lines[0]), read_checkpoint(lines[1])
    if not isinstance(record.body, Genesis) or not signature or checkpoint_after(lines[0], signature) != lines[1]:
        return None
    tree = Frontier()
    tree.extend(leaf_hashes(lines[:1]))
    return record if Signer.of(record.body).signed(head_of(tree), signature) else None


@dataclasses.dataclass(frozen=True, slots=True)
class _Tail:
    """The last cumulative record and the lines from it up to the last checkpoint, and the tree before that one."""

    record: Record
    body: Cumulative  # of that record
    lines: list[bytes]
    head: Head
    torn_bytes: int


def _read_tail(file: IO[bytes]) -> _Tail | None:
    end = file.seek(0, os.SEEK_END)
    for most in _TAIL_BYTES:
        size = min(most, end)
        file.seek(end - size)
        data = file.read(size)
        *lines, rest = data.split(b"\n")
        start = _last_cumulative(lines, 0 if size == end else 1)
        if start is not None:
            return None if b"\0" in data else _tail_of(lines[start:], rest)
        if size == end:
            break
    return None


def _last_cumulative(lines: Sequence[bytes], first: int) -> int | None:
    """The index of the last line that may be a cumulative record and has a checkpoint behind it."""
    last = last_checkpoint(lines)
    if last is None:
        return None
    indexes = range(last - 1, first - 1, -1)
    return next((index for index in indexes if any(mark in lines[index] for mark in _MARKS)), None)


def _tail_of(lines: list[bytes], rest: bytes) -> _Tail | None:
    """The tail that these lines are, if what is behind it is what a stopped write leaves, and nothing behind a seal."""
    last = last_checkpoint(lines)
    record = read_record(lines[0])
    if last is None or not isinstance(record.body, Cumulative):
        return None
    torn = lines[last + 1 :]
    if fault_of_tail(torn, rest) or (isinstance(record.body, Seal) and (last > 1 or torn or rest)):
        return None
    tree = Frontier.of(record.body.lines, [base64.b64decode(node, validate=True) for node in record.body.nodes])
    tree.extend(leaf_hashes(lines[:last]))
    return _Tail(record, record.body, lines[: last + 1], head_of(tree), sum(map(len, torn)) + len(torn) + len(rest))


def _signing_key(file: IO[bytes], genesis: Genesis, tail: _Tail) -> str | None:
    """The key that signed the last checkpoint: that of the segment, or one that followed it; None where none did."""
    *_, before, line = tail.lines
    signature = read_checkpoint(line)
    if not signature or checkpoint_after(before, signature) != line:
        return None
    signer = Signer.of(genesis)
    if signer.signed(tail.head, signature):
        return signer.public_hex
    key = genesis.public_key
    for rotation in _rotations(file):
        key = rotation.following if rotation.previous == key else key
    return key if key != genesis.public_key and Signer(signer.origin, key).signed(tail.head, signature) else None


def _rotations(file: IO[bytes]) -> Iterator[Rotation]:
    """The rotations in the segment; each is signed by the key that is followed, so none needs the lines around it."""
    file.seek(0)
    rest = b""
    while data := file.read(_BLOCK_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines if any(_ROTATION in line for line in lines) else ():
            body = read_record(line).body if _ROTATION in line else None
            if isinstance(body, Rotation):
                check_rotation(body)
                yield body


class _After:
    """A cumulative record and what the lines after it add."""

    def __init__(self, time_us: int, body: Cumulative) -> None:
        self.time_us = time_us
        self.steps, self.elapsed_us = body.steps, body.elapsed_us
        self.gaps, self.floors, self.resumed, self.loaded = body.gaps, body.floors, body.resumed, body.loaded
        self._settled = read_amounts(body.operations, body.unpriced)
        self._times: dict[int, int] = {}
        recent = body.tallies if isinstance(body, Totals) else ()
        self._prices = {number: read_amounts(rows, unpriced) for number, rows, unpriced in recent}

    def operations(self) -> Operations:
        """What it all comes to."""
        return self._settled + add_up([(self._prices[number], times) for number, times in self._times.items()])

    def take(self, lines: Sequence[bytes]) -> None:
        """These lines stand after it. Raises: ValueError: they do not say what they come to."""
        for line in lines:
            match = FREQUENT.fullmatch(line)
            if match is None:
                self._see(read_record(line))
                continue
            if match.lastindex == INTERVAL_GROUP:
                first_step, steps, elapsed_us = map(int, match.group(2, 3, 4))
                self._go_on(first_step, steps, elapsed_us)
                self._add(match[INTERVAL_GROUP])
            if match.lastindex in (INTERVAL_GROUP, AGAIN_GROUP, CHECKPOINT_GROUP):
                self.time_us = int(match[1])

    def _add(self, tallies: bytes) -> None:
        for number, times in read_tallies(tallies):
            if number not in self._prices:
                raise ValueError("an interval refers to a tally that stands further before")
            self._times[number] = self._times.get(number, 0) + times

    def _go_on(self, first_step: int, steps: int, elapsed_us: int) -> None:
        if first_step != self.steps + 1 or elapsed_us < self.elapsed_us or steps < 0:
            raise ValueError("an interval does not follow the one before it")
        self.steps += steps
        self.elapsed_us = elapsed_us

    def _see(self, record: Record) -> None:
        self.time_us = record.time_us
        self.loaded += may_have_loaded(record.body)
        match record.body:
            case TallyRecord() as body:
                self._prices[body.number] = read_amounts(body.operations, body.unpriced)
            case Folded() as body:
                self._go_on(body.first_step, body.steps, body.elapsed_us)
                self._settled = self._settled + read_amounts(body.operations, body.unpriced)
            case Gap() as body:
                self.gaps += 1
                self.floors += body.lower_bound
            case Resumed():
                self.resumed += 1
            case Genesis() | Cumulative():
                raise ValueError("a record stands where none of its kind can")
            case _:
                pass
