"""One segment read from its first byte to its last: what it holds, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from auditor.errors import LedgerInvalid
from auditor.ledger.contents import Contents
from auditor.ledger.detail import FULL, NOTHING, Detail
from auditor.ledger.log import Ending, Scanner
from auditor.ledger.packed import open_segment
from auditor.ledger.places import is_held, name_of
from auditor.records import Alert, Exit, Recovered, Rotation, SecondOpinion, Updates, Weights, time_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auditor.ledger.curve import Point
    from auditor.ledger.notes import Head
    from auditor.ledger.notices import NotedGap
    from auditor.ledger.prices import Recount
    from auditor.ledger.progress import Kept, ResumedAt
    from auditor.operations import Operations
    from auditor.records import Genesis, Hardware

_CHUNK_BYTES = 256 * 2**10


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentReading:
    """What a segment holds; where it is ``broken``, what it holds before the damage."""

    name: str
    genesis: Genesis
    records: int  # without checkpoints
    head: Head  # of the last checkpoint
    note: str  # that checkpoint as a signed note
    sound_bytes: int  # up to and with that checkpoint
    broken: str  # what is false, and where; "" where nothing is
    sealed: bool
    live: bool  # its writer holds it still
    torn_bytes: int
    started: str  # time of the first record
    ended: str  # time of the last record
    steps: int
    elapsed_us: int
    operations: Operations  # recounted, where a recount was asked for
    recorded: Operations  # as it says
    folded: Operations  # the part of both that has no tallies, because shapes never came to rest
    folded_intervals: int
    points: tuple[Point, ...]
    gaps: tuple[NotedGap, ...]
    second_opinions: tuple[SecondOpinion, ...]
    updates: tuple[Updates, ...]  # what steps of optimizers updated, where it is one of several ranks
    hardware: tuple[Hardware, ...]
    recovered: tuple[Recovered, ...]
    rotations: tuple[Rotation, ...]
    keys: tuple[str, ...]  # that sign it, in their order
    noted: tuple[tuple[str, int, str], ...]  # heads of other segments: name, bytes, signature
    weights: tuple[Weights, ...]  # checkpoints that it saved and loaded
    resumed: tuple[ResumedAt, ...]
    abandoned: Operations  # the part of `operations` that was asked to be kept apart
    abandoned_steps: int
    alerts: tuple[Alert, ...]  # levels that were passed, and of which somebody was told
    exit: Exit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A segment whose first record cannot be read. ``false``: it was changed, not just cut short."""

    name: str
    cause: str
    false: bool


def read_segment(
    path: Path, recount: Recount | None, kept: Kept | None = None, *, until: int | None = None, detail: Detail = FULL
) -> SegmentReading | Unreadable:
    """What the file holds, whatever it holds; ``until``: up to the checkpoint over so many lines.

    ``kept``: which of its intervals are progress; None takes all of them. ``detail``: how much is kept of the curve of
    its intervals and of what was seen of devices, which take most of the memory.
    Raises: SchemaFromFuture: it was written by a newer auditor. MissingExtra: it is compressed, and nothing here reads
    that.
    """
    try:
        with open_segment(path) as file:
            return _Reader(name_of(path), Contents(recount, kept, detail), kept, until).read(file, held=is_held(file))
    except OSError as error:
        return Unreadable(name=name_of(path), cause=f"it cannot be read: {error.strerror or error}", false=False)


def read_opened(name: str, file: IO[bytes], *, held: bool) -> SegmentReading | Unreadable:
    """As `read_segment`, of a file that is open at its beginning; nothing is recounted."""
    return _Reader(name, Contents(None, detail=NOTHING), None, None).read(file, held=held)


class _Reader:
    """Leads a segment's bytes through the log into its contents."""

    def __init__(self, name: str, contents: Contents, kept: Kept | None, until: int | None) -> None:
        self._name = name
        self._kept = kept
        self._until = until
        self._bytes = 0
        self._contents = contents
        self._scanner = Scanner()

    def read(self, file: IO[bytes], *, held: bool) -> SegmentReading | Unreadable:
        broken, ending = "", None
        try:
            for data in _blocks(file, self._until):
                self._bytes += len(data)
                for stretch in self._scanner.feed(data):
                    self._contents.take(stretch)
            ending = self._scanner.finish()
        except LedgerInvalid as error:
            broken = str(error)
        return self._conclude(broken, ending, held=held)

    def _conclude(self, broken: str, ending: Ending | None, *, held: bool) -> SegmentReading | Unreadable:
        contents = self._contents
        if contents.genesis is None:
            cause = broken or "it has no whole first record: its process was stopped while it began"
            return Unreadable(name=self._name, cause=cause, false=bool(broken))
        sealed = ending is not None and ending.sealed
        live = held and not sealed and not broken
        return SegmentReading(
            name=self._name,
            genesis=contents.genesis,
            records=contents.records,
            head=self._scanner.head,
            note=self._scanner.note,
            sound_bytes=self._bytes - (ending.torn_bytes if ending else 0),
            broken=broken,
            sealed=sealed,
            live=live,
            torn_bytes=0 if live or ending is None else ending.torn_bytes,
            started=time_text(contents.started_us),
            ended=time_text(contents.ended_us),
            steps=contents.intervals.steps,
            elapsed_us=contents.intervals.elapsed_us,
            operations=contents.operations(),
            recorded=contents.recorded(),
            folded=contents.intervals.folded,
            folded_intervals=contents.intervals.num_folded,
            points=contents.points(),
            gaps=contents.gaps(),
            second_opinions=contents.notes(SecondOpinion),
            updates=contents.notes(Updates),
            hardware=contents.hardware(),
            recovered=contents.notes(Recovered),
            rotations=contents.notes(Rotation),
            keys=tuple(contents.keys),
            noted=tuple(contents.noted),
            weights=contents.notes(Weights),
            resumed=contents.resumed(),
            abandoned=contents.abandoned(),
            abandoned_steps=self._kept.abandoned_steps if self._kept else 0,
            alerts=contents.notes(Alert),
            exit=next(iter(contents.notes(Exit)[-1:]), None),
        )


def _blocks(file: IO[bytes], until: int | None) -> Iterator[bytes]:
    """The file, or what of it stands up to the checkpoint over so many lines."""
    left = None if until is None else until + 1
    while data := file.read(_CHUNK_BYTES):
        lines = data.count(b"\n")
        if left is not None and lines >= left:
            end = -1
            for _ in range(left):
                end = data.index(b"\n", end + 1)
            yield data[: end + 1]
            return
        left = left and left - lines
        yield data
