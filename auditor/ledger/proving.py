"""Proofs about one segment as files that are checked without the ledger.

That a record stands in a segment is a file in the C2SP format tlog-proof, which carries the record's line in its
``extra`` field. That one head extends another is a file of ours: the parts of the proof, and both heads as signed
notes. Both name the key that signed; that it is the right one is for whoever checks to know.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.errors import LedgerError, LedgerInvalid, NoteError
from auditor.ledger.merkle import leaf_hash, leaf_hashes
from auditor.ledger.notes import Signer
from auditor.ledger.packed import open_segment
from auditor.ledger.places import name_of
from auditor.ledger.proofs import (
    MOST_PARTS,
    Prover,
    Span,
    consistency_spans,
    extends,
    includes,
    inclusion_spans,
)
from auditor.ledger.rotation import Succession, check_rotation
from auditor.ledger.signed import SignedHead, read_hash, read_head, read_heads, read_size
from auditor.lines import read_record, write_record
from auditor.records import Record, Rotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_INCLUSION = "c2sp.org/tlog-proof@v1"
_EXTENSION = "auditor.extension-proof/1"
_BLOCK_BYTES = 256 * 2**10
_MOST_ROTATIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Who signed: the key, and the rotations that led to it."""

    key: str
    rotations: tuple[Rotation, ...] = ()

    def check(self, head: SignedHead, trusted: str | None) -> None:
        """The head is signed by the key, which is the trusted one or follows it.

        Raises: LedgerInvalid: it is not. NoteError: its signature is false.
        """
        if not Signer(head.origin, self.key).vouches_for(head):
            raise LedgerInvalid(f"the head of {head.origin} is not signed by the key {self.key}")
        for rotation in self.rotations:
            check_rotation(rotation)
        succession = Succession(self.rotations)
        if succession.faults:
            raise LedgerInvalid(succession.faults[0])
        if trusted is not None and self.key not in succession.line_from(trusted):
            raise LedgerInvalid(f"it is signed by the key {self.key}, not by the trusted one or one that follows it")

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        lines = [write_record(Record(time_us=0, body=rotation)).decode() for rotation in self.rotations]
        return {"key": self.key, "rotations": lines}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """That a line stands at an index, counted from 0, among those that the head covers."""

    line: bytes
    index: int
    parts: tuple[bytes, ...]
    head: SignedHead
    signed: Signed

    def check(self, trusted: str | None = None) -> None:
        """It holds. Raises: LedgerInvalid: it does not. NoteError: the signature of the head is false."""
        size, root = self.head.head
        if not includes(read_hash(root), size, self.index, leaf_hash(self.line), self.parts):
            raise LedgerInvalid(f"the proof does not show the record in line {self.index + 1} of {self.head.origin}")
        self.signed.check(self.head, trusted)

    def text(self) -> str:
        """The proof as a file."""
        extra = _packed(self.signed.plain() | {"line": self.line.decode("ascii")})
        return f"{_INCLUSION}\nextra {extra}\nindex {self.index}\n{_lines(self.parts)}\n{self.head.note}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """That the lines of one head begin with those of another."""

    parts: tuple[bytes, ...]
    before: SignedHead
    after: SignedHead
    signed: Signed

    def check(self, trusted: str | None = None) -> None:
        """It holds. Raises: LedgerInvalid: it does not. NoteError: the signature of a head is false."""
        (first, first_root), (size, root) = self.before.head, self.after.head
        if self.before.origin != self.after.origin:
            raise LedgerInvalid(f"the heads are of two logs: {self.before.origin} and {self.after.origin}")
        if not extends(first, read_hash(first_root), size, read_hash(root), self.parts):
            raise LedgerInvalid(f"the proof does not show that {size} lines of {self.after.origin} begin with {first}")
        self.signed.check(self.after, trusted)
        keys = (self.signed.key, *(rotation.previous for rotation in self.signed.rotations))
        if not any(Signer(self.before.origin, key).vouches_for(self.before) for key in keys):
            raise LedgerInvalid(f"the earlier head of {self.before.origin} is not signed by a key of the ledger")

    def text(self) -> str:
        """The proof as a file."""
        extra = _packed(self.signed.plain())
        return f"{_EXTENSION}\nextra {extra}\n{_lines(self.parts)}\n{self.before.note}\n{self.after.note}"


def prove_line(path: Path, number: int, head: SignedHead, signed: Signed) -> Inclusion:
    """The proof that line ``number``, counted from 1, is one of those that the head covers.

    Raises: LedgerInvalid: the file has no such line. NoteError: the head does not cover it.
    """
    if not 1 <= number <= head.head.size:
        raise NoteError(
            f"line {number} is not one of the {head.head.size} lines that the head covers",
            remedy="Name a line from 1 on.",
        )
    index, kept = number - 1, list[bytes]()
    prover = Prover(inclusion_spans(index, head.head.size))
    for before, lines in _blocks(path):
        prover.extend(leaf_hashes(lines))
        if before <= index < before + len(lines):
            kept.append(lines[index - before])
    return Inclusion(line=kept[0], index=index, parts=_parts(prover, path), head=head, signed=signed)


def prove_extension(path: Path, before: SignedHead, after: SignedHead, signed: Signed) -> Extension:
    """The proof that the later head's lines begin with those of the earlier one.

    Raises: LedgerInvalid: it does not hold: the earlier head is of other lines.
    """
    parts = tuple(consistency(path, before.head.size, after.head.size))
    proof = Extension(parts=parts, before=before, after=after, signed=signed)
    proof.check()
    return proof


def consistency(path: Path, first: int, size: int) -> list[bytes]:
    """The parts of the proof that the first ``size`` lines of the file begin with the first ``first``."""
    return list(_parts(_proved(path, consistency_spans(first, size)), path))


def read_proof(text: str) -> Inclusion | Extension:
    """The proof that the text is; nothing of it has been checked.

    Raises: NoteError: it is none.
    """
    try:
        return _read(text)
    except NoteError:
        raise
    except (LedgerError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoteError(f"not a proof: {error}") from error


def _read(text: str) -> Inclusion | Extension:
    header, blank, notes = text.partition("\n\n")
    title, *lines = header.split("\n")
    if not blank or not lines or title not in (_INCLUSION, _EXTENSION) or not lines[0].startswith("extra "):
        raise NoteError("not a proof by the auditor: expected a tlog-proof with its record, or an extension proof")
    extra = _unpacked(lines[0].removeprefix("extra "))
    signed = _read_signed(extra)
    if title == _EXTENSION:
        before, after = _two(read_heads(notes))
        return Extension(parts=_read_parts(lines[1:]), before=before, after=after, signed=signed)
    if len(lines) < 2 or not lines[1].startswith("index "):
        raise NoteError("not a tlog-proof: its index is missing")
    return Inclusion(
        line=extra["line"].encode("ascii"),
        index=read_size(lines[1].removeprefix("index ")),
        parts=_read_parts(lines[2:]),
        head=read_head(notes),
        signed=signed,
    )


def _two(heads: Sequence[SignedHead]) -> Sequence[SignedHead]:
    if len(heads) != 2:
        raise NoteError(f"expected two signed heads, got {len(heads)}")
    return heads


def _read_signed(extra: dict[str, Any]) -> Signed:
    rotations = [read_record(line.encode()).body for line in extra["rotations"][:_MOST_ROTATIONS]]
    key = extra["key"]
    if not isinstance(key, str) or len(bytes.fromhex(key)) != 32:
        raise NoteError("not a proof: it names no key")
    return Signed(key=key, rotations=tuple(body for body in rotations if isinstance(body, Rotation)))


def _read_parts(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MOST_PARTS:
        raise NoteError(f"a proof has at most {MOST_PARTS} parts, got {len(lines)}")
    return tuple(map(read_hash, lines))


def _blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """The whole lines of the file, many at a time, with how many stand before them."""
    number, rest = 0, b""
    with open_segment(path) as file:
        while data := file.read(_BLOCK_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            yield number, lines
            number += len(lines)


def _proved(path: Path, spans: Iterable[Span]) -> Prover:
    prover = Prover(spans)
    for _, lines in _blocks(path):
        prover.extend(leaf_hashes(lines))
    return prover


def _parts(prover: Prover, path: Path) -> tuple[bytes, ...]:
    try:
        return tuple(prover.parts())
    except KeyError as error:
        raise LedgerInvalid(f"{name_of(path)} has fewer lines than its head says") from error


def _lines(parts: Iterable[bytes]) -> str:
    return "".join(f"{base64.b64encode(part).decode()}\n" for part in parts)


def _packed(plain: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).decode()


def _unpacked(text: str) -> dict[str, Any]:
    plain = json.loads(base64.b64decode(text, validate=True))
    if not isinstance(plain, dict):
        raise NoteError("not a proof: its extra field is of another form")
    return plain
