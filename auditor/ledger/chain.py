"""How records become lines that cannot be changed unseen, and records again: bytes in, facts out, no disk.

A line vouches for its record (hash), for everything before it (``prev``) and, if signed, for who says so.
Because a head covers the signature of its line, checking the first and the last signature of a chain is
enough: a changed signature in between breaks the next line's ``prev``.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import LedgerInvalid
from auditor.ledger.keys import SigningKey, verify
from auditor.records import SIGNED_KINDS, Genesis, Record, Seal, read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_LIMIT_BYTES = 16 * 2**20
NO_HEAD = "0" * 64
_RECORD_DOMAIN = b"auditor.record/1\n"
_SIGNATURE_DOMAIN = b"auditor.head/1\n"
_LINK_DOMAIN = b"auditor.link/1\n"
_LINE = re.compile(rb'\{"record":(\{.*\}),"hash":"([0-9a-f]{64})"(?:,"signature":"([0-9a-f]{128})")?\}', re.DOTALL)


class Frame(NamedTuple):
    """A record as a line, and the head after it, which the next record names."""

    line: bytes
    head: str


class Link(NamedTuple):
    """A record that was read and found sound, the head after it, and whether it is signed."""

    record: Record
    head: str
    signed: bool


class Ending(NamedTuple):
    """How a segment ended: the head after its last whole record, and the bytes of an unfinished one."""

    records: int
    head: str
    sealed: bool
    torn_bytes: int


def frame(data: bytes, key: SigningKey | None) -> Frame:
    """The line for the canonical bytes of a record, signed where a key is given.

    Raises: LedgerInvalid: it is longer than a line may be.
    """
    digest = hashlib.sha256(_RECORD_DOMAIN + data).digest()
    signature = key.sign(_SIGNATURE_DOMAIN + digest) if key else b""
    ending = b',"signature":"%s"' % signature.hex().encode() if signature else b""
    line = b'{"record":%s,"hash":"%s"%s}\n' % (data, digest.hex().encode(), ending)
    if len(line) > LINE_LIMIT_BYTES:
        raise LedgerInvalid(f"a record has {len(line)} bytes as a line, more than the {LINE_LIMIT_BYTES} allowed")
    return Frame(line, _head(digest, signature))


def _head(digest: bytes, signature: bytes) -> str:
    return hashlib.sha256(_LINK_DOMAIN + digest + signature).hexdigest()


def is_torn(tail: bytes) -> bool:
    """Whether bytes after the last newline are what a stopped write leaves: part of a line, or zeros.

    A whole line followed by something that is not its newline was changed afterwards, and is not torn.
    """
    written = tail.rstrip(b"\0")
    match = _LINE.match(written)
    return match is None or match.end() == len(written)


class Scanner:
    """Reads one segment as its bytes arrive and checks every line against the ones before."""

    def __init__(self) -> None:
        self._rest = b""
        self._records = 0
        self._head = NO_HEAD
        self._public_key = ""
        self._sealed = False
        self._unchecked: tuple[bytes, bytes, int] | None = None  # the last signature: digest, signature, line

    def feed(self, data: bytes) -> Iterator[Link]:
        """The records that these bytes complete; to be run to its end before more is fed.

        Raises: LedgerInvalid: a line is false; it names the line. SchemaFromFuture: a newer schema.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield self._check(line)
        if len(self._rest) > LINE_LIMIT_BYTES:
            raise self._false(f"longer than {LINE_LIMIT_BYTES} bytes")

    def finish(self) -> Ending:
        """How the segment ended.

        Raises: LedgerInvalid: the last signature is false, or bytes follow that no stopped write leaves.
        """
        if self._unchecked:
            digest, signature, line = self._unchecked
            if not verify(self._public_key, signature, _SIGNATURE_DOMAIN + digest):
                raise LedgerInvalid(f"line {line}: the signature is not by the key of the first record")
        if self._rest and not is_torn(self._rest):
            raise self._false("does not end where its record ends")
        if self._sealed and self._rest.strip(b"\0"):
            raise self._false("stands after the seal, which is the last record")
        return Ending(self._records, self._head, self._sealed, len(self._rest))

    def _false(self, cause: str) -> LedgerInvalid:
        return LedgerInvalid(f"line {self._records + 1}: {cause}")

    def _check(self, line: bytes) -> Link:
        match = _LINE.fullmatch(line)
        if match is None:
            raise self._false("not a line of a ledger")
        data, stated, signature = match[1], match[2], bytes.fromhex((match[3] or b"").decode())
        digest = hashlib.sha256(_RECORD_DOMAIN + data).digest()
        if digest.hex().encode() != stated:
            raise self._false("its hash is not the hash of its record: one of them was changed")
        try:
            record = read_record(data)
        except LedgerInvalid as error:
            raise self._false(str(error)) from error
        self._check_place(record)
        self._check_signature(record, digest, signature)
        self._records += 1
        self._head = _head(digest, signature)
        return Link(record, self._head, bool(signature))

    def _check_place(self, record: Record) -> None:
        if self._sealed:
            raise self._false("stands after the seal, which is the last record")
        if record.seq != self._records or record.prev != self._head:
            raise self._false(
                f"record {record.seq} does not follow the line before: lines are missing or moved, or a "
                "signature was changed"
            )
        if isinstance(record.body, Genesis) != (self._records == 0):
            raise self._false(f"a record of kind {record.body.kind!r} cannot stand here: the first is the genesis")
        self._sealed = isinstance(record.body, Seal)

    def _check_signature(self, record: Record, digest: bytes, signature: bytes) -> None:
        if bool(signature) != (record.body.kind in SIGNED_KINDS):
            raise self._false(f"a record of kind {record.body.kind!r} must {'not ' if signature else ''}be signed")
        if isinstance(record.body, Genesis):
            self._public_key = record.body.public_key
            if not verify(self._public_key, signature, _SIGNATURE_DOMAIN + digest):
                raise self._false("the signature is not by the key that it names")
        elif signature:
            self._unchecked = (digest, signature, self._records + 1)
