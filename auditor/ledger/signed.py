"""Signed heads as others hand them over: notes in the C2SP formats signed-note and tlog-checkpoint, read strictly.

Several of them stand in one file with an empty line between. A note may bear any number of signatures; those of keys
that nobody asked for are left alone, as the format demands, so that logs and witnesses can change their keys.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, NamedTuple

from auditor.errors import NoteError
from auditor.ledger.notes import Head
from auditor.ledger.places import open_regular
from auditor.ledger.proofs import HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOTE_LIMIT_BYTES = 64 * 2**10
FILE_LIMIT_BYTES = 64 * 2**20
_MOST_SIGNATURES = 64
_NAME = r"[^\s+\x00-\x1f\x7f]{1,1000}"
_SIGNATURE = re.compile(rf"\u2014 ({_NAME}) ([A-Za-z0-9+/]+={{0,2}})")
_PRINTED = re.compile(r"[^\x00-\x1f\x7f]{1,2000}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID_BYTES = 4


class NoteSignature(NamedTuple):
    """One line of signature: whose it says it is, and what."""

    name: str
    key_id: bytes
    data: bytes
    line: str  # as it stands in the note, with its newline


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A checkpoint of a log and what is signed under it; nobody has looked at the signatures yet."""

    origin: str
    head: Head
    text: str  # what was signed
    signatures: tuple[NoteSignature, ...]

    @property
    def note(self) -> str:
        """The whole note again."""
        return f"{self.text}\n{''.join(part.line for part in self.signatures)}"

    def signed_also(self, lines: Sequence[NoteSignature]) -> SignedHead:
        """The same head with these signatures more; one that it bears already stays once."""
        more = {(part.name, part.key_id): part for part in (*self.signatures, *lines)}
        return SignedHead(origin=self.origin, head=self.head, text=self.text, signatures=tuple(more.values()))


def read_head(text: str) -> SignedHead:
    """The one signed head that the text is.

    Raises: NoteError: it is none, or several.
    """
    heads = read_heads(text)
    if len(heads) != 1:
        raise NoteError(f"expected one signed head, got {len(heads)}")
    return heads[0]


def read_heads(text: str) -> list[SignedHead]:
    """The signed heads that follow each other in the text.

    Raises: NoteError: it holds something else.
    """
    blocks = text.split("\n\n")
    if len(blocks) % 2 or not text.endswith("\n") or "\r" in text:
        raise NoteError("not signed heads: expected texts and their signatures, with an empty line after each")
    pairs = zip(blocks[::2], blocks[1::2], strict=True)
    return [_read(body + "\n", signatures.removesuffix("\n")) for body, signatures in pairs]


def read_heads_of(path: Path) -> list[SignedHead]:
    """The signed heads in the file.

    Raises: NoteError: it cannot be read, or holds something else.
    """
    return read_heads(read_text(path))


def read_text(path: Path, limit_bytes: int = FILE_LIMIT_BYTES) -> str:
    """What the file holds, in UTF-8.

    Raises: NoteError: it cannot be read, is longer than the limit, or is not text.
    """
    try:
        with open_regular(path) as file:
            data = _read_all(file, limit_bytes)
            return data.decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NoteError(
            f"{path}: cannot be read: {reason}", remedy="Name a file that was written by the auditor."
        ) from error


def _read_all(file: IO[bytes], limit_bytes: int) -> bytes:
    data = bytearray()
    while block := file.read(2**20):
        data += block
        if len(data) > limit_bytes:
            raise ValueError(f"it has more than {limit_bytes} bytes")
    return bytes(data)


def read_signatures(text: str) -> tuple[NoteSignature, ...]:
    """The signature lines that the text consists of.

    Raises: NoteError: a line is none, or there are too many.
    """
    lines = text.split("\n")
    if len(lines) > _MOST_SIGNATURES:
        raise NoteError(f"a head bears {len(lines)} signatures, more than the {_MOST_SIGNATURES} that are read")
    return tuple(map(_read_signature, lines))


def read_hash(text: str) -> bytes:
    """The hash that is written in base64.

    Raises: NoteError: it is none.
    """
    data = _decode(text)
    if len(data) != HASH_BYTES:
        raise NoteError(f"expected a hash of {HASH_BYTES} bytes in base64, got {text[:60]!r}")
    return data


def read_size(text: str) -> int:
    """The number of lines that is written in decimal.

    Raises: NoteError: it is none.
    """
    if not _SIZE.fullmatch(text):
        raise NoteError(f"expected a number of lines, got {text[:40]!r}")
    return int(text)


def _read(text: str, signatures: str) -> SignedHead:
    origin, size, root = _body(text)
    head = Head(read_size(size), base64.b64encode(read_hash(root)).decode())
    return SignedHead(origin=origin, head=head, text=text, signatures=read_signatures(signatures))


def _body(text: str) -> list[str]:
    """Origin, size and root; what a log adds in further lines is signed and says nothing to us."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(map(_PRINTED.fullmatch, lines)):
        raise NoteError("not a signed head: expected an origin, a size and a root, a line each")
    return lines[:3]


def _read_signature(line: str) -> NoteSignature:
    match = _SIGNATURE.fullmatch(line)
    data = _decode(match[2]) if match else b""
    if match is None or len(data) <= _KEY_ID_BYTES:
        raise NoteError(f"not a line of signature: {line[:60]!r}")
    return NoteSignature(match[1], data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:], line + "\n")


def _decode(text: str) -> bytes:
    """The bytes that the text writes in base64 and in no second way."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError(f"not base64: {text[:60]!r}") from error
    if base64.b64encode(data).decode() != text:
        raise NoteError(f"not base64 as it is written: {text[:60]!r}")
    return data
