"""How lines become a log that cannot be changed unseen, and are read again: bytes in, facts out, no disk.

Every write ends with a checkpoint: a signature over the root of the Merkle tree of all lines before it, earlier
checkpoints included. So the last signature of a block vouches for every byte up to it, and reading a block costs one
signature however many it holds; only where that one is false are those before it looked at, to find where it began.
What follows the last whole checkpoint was never acknowledged.

A loss of power may also leave holes in what was not yet synced: zeros where lines were written, and whole lines after
them. A hole is told from damage by `Synced` records behind it, which say how much was on the disk before: what lies
in that part cannot be a hole.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerInvalid
from auditor.ledger.hole import LONGEST_SYNCED_BYTES, Hole, fault_of_line, is_hole
from auditor.ledger.merkle import Frontier, leaf_hash, leaf_hashes
from auditor.ledger.notes import Head, Signer, head_of, nodes_of
from auditor.lines import checkpoint_after, read_checkpoint, read_record, write_record
from auditor.records import Genesis, Record, Rotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auditor.ledger.keys import SigningKey
    from auditor.records import Seal, Totals

LINE_LIMIT_BYTES = 16 * 2**20
# A longer write has checkpoints in between, so that a reader holds no more than this and a line.
STRETCH_LIMIT_BYTES = 4 * 2**20
_PLACE_BYTES = 64 * 48  # what a time and the nodes of a tree take at most, as text
NO_HEAD = Head(0, "")
_SEAL = re.compile(rb'\[[0-9]+,"seal",')
_ROTATION = b'"rotation",{'  # in a line that may be one
_CUMULATIVE = (b'"totals",{', b'"seal",{')  # likewise
_OBJECT_END = b"}]"  # of a line of one of the kinds of which there are not many
_GENESIS = re.compile(rb'\[[0-9]+,"genesis",')
_ZEROS = "zeros stand where a record was"
_DECODER = json.JSONDecoder()


class Stretch(NamedTuple):
    """Lines that a checkpoint vouches for, the last of them, and how many lines stand before the first.

    nodes: what `Cumulative` records in them must say of the tree, by the number of lines before each.
    """

    before: int
    lines: list[bytes]
    nodes: Mapping[int, tuple[str, ...]] = {}


class Ending(NamedTuple):
    """How a segment ended: its last checkpoint, and the bytes after it that none vouches for."""

    head: Head
    sealed: bool
    torn_bytes: int


class Draft:
    """Lines that are to be written next, with their checkpoints, and the tree as it will stand after them."""

    def __init__(self, tree: Frontier, signer: Signer, key: SigningKey) -> None:
        self.tree = tree.copy()
        self.head = NO_HEAD
        self.signature = ""  # of the last checkpoint
        self.data = bytearray()
        self._signer = signer
        self._key = key
        self._unsigned_bytes = 0
        self._last = b""

    def add(self, line: bytes) -> None:
        """The line is part of the draft.

        Raises: LedgerInvalid: it is longer than a line may be.
        """
        if len(line) > LINE_LIMIT_BYTES:
            raise LedgerInvalid(f"a record has {len(line)} bytes as a line, more than the {LINE_LIMIT_BYTES} allowed")
        self.make_room(len(line))
        self._put(line)
        self._unsigned_bytes += len(line)

    def make_room(self, size_bytes: int) -> None:
        """A line of so many bytes can be added without a checkpoint before it."""
        if self._unsigned_bytes + size_bytes > STRETCH_LIMIT_BYTES and self._unsigned_bytes:
            self.sign()

    def place(self, body: Totals | Seal) -> Totals | Seal:
        """The record with the tree that it will stand behind when it is added next."""
        self.make_room(len(write_record(Record(time_us=0, body=body))) + _PLACE_BYTES)
        return dataclasses.replace(body, lines=self.tree.size, nodes=nodes_of(self.tree))

    def sign(self) -> None:
        """A checkpoint vouches for all lines so far."""
        self.head = head_of(self.tree)
        self.signature = self._signer.sign(self.head, self._key)
        self._put(checkpoint_after(self._last, self.signature))
        self._unsigned_bytes = 0

    def _put(self, line: bytes) -> None:
        self.tree.extend([leaf_hash(line)])
        self.data += line + b"\n"
        self._last = line


class Scanner:
    """Reads one segment as its bytes arrive and gives out only what a checkpoint vouches for."""

    def __init__(self) -> None:
        self.head = NO_HEAD  # the last checkpoint that was found sound
        self.note = ""  # that checkpoint as a signed note
        self.lines = 0  # found sound
        self._rest = b""
        self._open: list[bytes] = []  # whole lines after the last checkpoint
        self._open_bytes = 0
        self._tree = Frontier()
        self._signer: Signer | None = None
        self._sealed = False
        self._fed_bytes = 0
        self._hole: Hole | None = None
        self._may_rotate = False  # a line that is not confirmed yet, or is not whole, looks like a rotation

    def feed(self, data: bytes) -> Iterator[Stretch]:
        """The lines that these bytes confirm; to be run to its end before more is fed.

        Raises: LedgerInvalid: a line is false; it names it. SchemaFromFuture: a newer schema.
        """
        self._fed_bytes += len(data)
        data = self._rest + data
        self._may_rotate = self._may_rotate or _ROTATION in data
        *lines, self._rest = data.split(b"\n")
        if self._hole is not None:
            self._pass_over(self._hole, lines)
            return
        if self._signer is None and lines and not self._begin(lines[0]):
            self._enter_hole(self._false(0, _ZEROS), lines[:1], lines)
            return
        at = last_checkpoint(lines)
        if at is None:
            self._keep(lines)
        else:
            stretch = [*self._open, *lines[: at + 1]]
            self._open, self._open_bytes = [], 0
            self._keep(lines[at + 1 :])
            yield from self._confirm_all(self._by_key(stretch))
        self._check_limits()

    def _by_key(self, stretch: list[bytes]) -> list[list[bytes]]:
        """The stretch in pieces, in none of which a key gives way to another."""
        if not self._may_rotate:
            return [stretch]
        self._may_rotate = any(_ROTATION in line for line in self._open)
        return list(_cut_at_rotations(stretch))

    def _confirm_all(self, pieces: Sequence[list[bytes]]) -> Iterator[Stretch]:
        """As `_confirm`, of pieces that each have one key."""
        for index, piece in enumerate(pieces):
            yield from self._confirm(piece, after=itertools.chain.from_iterable(pieces[index + 1 :]))
            if self._hole is not None:
                return
            self._follow_key(piece)

    def _check_limits(self) -> None:
        most_bytes = STRETCH_LIMIT_BYTES + LINE_LIMIT_BYTES
        if len(self._rest) > LINE_LIMIT_BYTES:
            fault = self._false(len(self._open), f"longer than {LINE_LIMIT_BYTES} bytes")
            self._enter_hole(fault, [self._rest], [])
        elif self._open_bytes > most_bytes:
            fault = self._false(0, f"no checkpoint vouches for it within {most_bytes} bytes")
            self._enter_hole(fault, self._open, [])

    def _enter_hole(self, fault: LedgerInvalid, suspect: Sequence[bytes], lines: Sequence[bytes]) -> None:
        """The suspect lines have a hole, and nothing from them on counts: these lines and what came after them.

        Raises: LedgerInvalid: the fault, as it is none that a loss of power leaves.
        """
        if self._sealed or not is_hole(suspect):
            raise fault
        lines = [*lines, *self._open]
        self._open, self._open_bytes = [], 0
        size_bytes = sum(map(len, lines)) + len(lines) + len(self._rest)
        self._hole = Hole(fault, self._fed_bytes - size_bytes)
        self._pass_over(self._hole, lines)

    def _pass_over(self, hole: Hole, lines: Sequence[bytes]) -> None:
        hole.pass_over(lines)
        if len(self._rest) > LINE_LIMIT_BYTES:
            self._rest = self._rest[-LONGEST_SYNCED_BYTES:]

    def finish(self) -> Ending:
        """How the segment ended.

        Raises: LedgerInvalid: after the last checkpoint stands what no stopped write leaves.
        """
        if self._sealed and (self._open or self._rest.strip(b"\0")):
            raise self._false(0, "stands after the seal, which is the last record")
        if self._hole is None and any(b"\0" in line for line in self._open):
            self._enter_hole(self._false(0, _ZEROS), self._open, [])
        if self._hole is not None:
            return Ending(self.head, sealed=False, torn_bytes=self._fed_bytes - self._hole.start_bytes)
        fault = fault_of_tail(self._open, self._rest)
        if fault is not None:
            raise self._false(*fault)
        return Ending(self.head, self._sealed, self._open_bytes + len(self._rest))

    def _false(self, index: int, cause: str) -> LedgerInvalid:
        """``index``: of the line among those after the last that was found sound."""
        return LedgerInvalid(f"line {self.lines + index + 1}: {cause}")

    def _keep(self, lines: Sequence[bytes]) -> None:
        self._open.extend(lines)
        self._open_bytes += sum(map(len, lines)) + len(lines)

    def _begin(self, line: bytes) -> bool:
        """Whether the first line is a genesis: not, where zeros took its place.

        Raises: LedgerInvalid: it is something else. SchemaFromFuture: a newer schema.
        """
        if b"\0" in line:
            return False
        try:
            body = read_record(line).body
            self._signer = Signer.of(body) if isinstance(body, Genesis) else None
        except (LedgerInvalid, ValueError) as error:
            raise self._false(0, str(error)) from error
        if self._signer is None:
            raise self._false(0, f"a record of kind {body.kind!r} cannot stand here: the first is the genesis")
        return True

    def _follow_key(self, piece: Sequence[bytes]) -> None:
        """Where the piece ends with the present key naming another, that one signs what comes next."""
        if self._signer is None or len(piece) < 2 or _ROTATION not in piece[-2]:
            return
        body = read_record(piece[-2]).body
        if isinstance(body, Rotation) and body.previous == self._signer.public_hex:
            self._signer = Signer(self._signer.origin, body.following)

    def _confirm(self, stretch: list[bytes], after: Iterable[bytes]) -> Iterator[Stretch]:
        """The stretch, if its last line vouches for it, else what an earlier checkpoint in it vouches for."""
        hashes = leaf_hashes(stretch)
        grown = self._vouched(stretch, hashes, len(stretch) - 1)
        if grown is not None:
            yield self._sound(stretch, hashes, grown)
            return
        ends = [index for index, line in enumerate(stretch) if read_checkpoint(line)]
        first = bisect_left(ends, True, key=lambda end: self._vouched(stretch, hashes, end) is None)
        start = ends[first - 1] + 1 if first else 0
        grown = self._vouched(stretch, hashes, start - 1) if first else None
        if grown is not None:
            yield self._sound(stretch[:start], hashes[:start], grown)
        suspect = stretch[start : ends[first] + 1]
        self._enter_hole(self._fault(suspect), suspect, [*stretch[start:], *after])

    def _sound(self, stretch: list[bytes], hashes: Sequence[bytes], grown: _Grown) -> Stretch:
        """The stretch, of which the tree holds all lines but the last, its checkpoint."""
        before, tree = self.lines, grown.tree
        self.head = head_of(tree)
        if self._signer:
            self.note = self._signer.note(self.head, read_checkpoint(stretch[-1]) or "")
        tree.extend(hashes[-1:])
        self._tree, self.lines = tree, tree.size
        self._sealed = len(stretch) > 1 and _SEAL.match(stretch[-2]) is not None
        return Stretch(before, stretch, grown.nodes)

    def _vouched(self, stretch: Sequence[bytes], hashes: Sequence[bytes], end: int) -> _Grown | None:
        """The tree of the lines before ``end``, if the checkpoint there is signed over it and has the right time."""
        signature = read_checkpoint(stretch[end])
        if not end or not signature or checkpoint_after(stretch[end - 1], signature) != stretch[end]:
            return None
        grown = _Grown(self._tree.copy(), {})
        grown.extend(stretch[:end], hashes[:end])
        return grown if self._signer and self._signer.signed(head_of(grown.tree), signature) else None

    def _fault(self, stretch: Sequence[bytes]) -> LedgerInvalid:
        """What is wrong between two checkpoints: the line that is none, or the checkpoint at their end."""
        for index, line in enumerate(stretch):
            cause = _ZEROS if b"\0" in line else fault_of_line(line)
            if self.lines + index and _GENESIS.match(line):
                cause = "a first record stands here: segments were joined into one file"
            if cause:
                return self._false(index, cause)
        first, last = self.lines + 1, self.lines + len(stretch)
        return LedgerInvalid(
            f"lines {first} to {last}: the checkpoint in line {last} is not signed, by the key that signs "
            "this part, over the lines before it: one of them was changed, moved, taken out or put in"
        )


class _Grown(NamedTuple):
    """A tree, and as it stood before each `Cumulative` record, by the number of lines."""

    tree: Frontier
    nodes: dict[int, tuple[str, ...]]

    def extend(self, lines: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """The tree has these lines more."""
        done = 0
        for index, line in enumerate(lines):
            if line[-2:] == _OBJECT_END and any(mark in line for mark in _CUMULATIVE):
                self.tree.extend(hashes[done:index])
                self.nodes[self.tree.size] = nodes_of(self.tree)
                done = index
        self.tree.extend(hashes[done:])


def _cut_at_rotations(stretch: list[bytes]) -> Iterator[list[bytes]]:
    """The stretch, cut after each checkpoint that may be the last of its key."""
    start = 0
    for index, line in enumerate(stretch[:-2]):
        if _ROTATION in line and read_checkpoint(stretch[index + 1]):
            yield stretch[start : index + 2]
            start = index + 2
    yield stretch[start:]


def fault_of_tail(lines: Sequence[bytes], rest: bytes) -> tuple[int, str] | None:
    """What shows bytes after the last checkpoint to be other than a stopped write leaves: which line, and why.

    A stopped write leaves whole records without their checkpoint, then part of a line, or zeros. A whole record that
    is followed by something other than its newline was changed afterwards.
    """
    for index, line in enumerate(lines):
        cause = fault_of_line(line)
        if cause:
            return index, cause
    written = rest.partition(b"\0")[0].decode("latin-1")
    if written and not written.startswith("["):
        return len(lines), "does not begin like a record"
    try:
        _, end = _DECODER.raw_decode(written)
    except (ValueError, RecursionError):
        return None
    return None if end == len(written) else (len(lines), "does not end where it should")


def last_checkpoint(lines: Sequence[bytes]) -> int | None:
    """The index of the last line that is a checkpoint, or None."""
    return next((index for index in reversed(range(len(lines))) if read_checkpoint(lines[index])), None)
