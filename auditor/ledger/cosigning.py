"""Cosignatures of witnesses, in the C2SP format tlog-cosignature (cosignature/v1, Ed25519).

A witness says with one: at this time, the largest head of this log that I have seen, and all before it agree with it,
is this. Its key is written as a verifier key: ``<name>+<id in hex>+<type and key in base64>``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import KeyFileError, NoteError
from auditor.ledger.keys import verify
from auditor.ledger.signed import read_signatures, read_text

if TYPE_CHECKING:
    from auditor.ledger.keys import SigningKey
    from auditor.ledger.signed import NoteSignature, SignedHead

_TYPE = b"\x04"  # signed-note's byte for timestamped cosignatures with Ed25519
_KEY = re.compile(r"([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})")
_KEY_FILE_BYTES = 4096
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Witness:
    """Who co-signs: a name and an Ed25519 key. Two with one key are one witness."""

    name: str
    public_hex: str

    @property
    def key_id(self) -> bytes:
        """What a signature line is known by, together with the name."""
        named = self.name.encode() + b"\n" + _TYPE + bytes.fromhex(self.public_hex)
        return hashlib.sha256(named).digest()[:4]

    @property
    def verifier_key(self) -> str:
        """The public key as those write it who trust it."""
        material = base64.b64encode(_TYPE + bytes.fromhex(self.public_hex)).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def cosign(self, text: str, time_s: int, key: SigningKey) -> NoteSignature:
        """The line of signature under the text of a checkpoint, as of this time (seconds since 1970)."""
        data = time_s.to_bytes(_TIME_BYTES) + key.sign(_signed(text, time_s))
        marked = base64.b64encode(self.key_id + data).decode()
        return read_signatures(f"\u2014 {self.name} {marked}")[0]

    def time_of(self, note: SignedHead) -> int | None:
        """When this witness co-signed the head, in seconds since 1970; None where it did not.

        Raises: NoteError: the head bears a cosignature of this witness, and it is false.
        """
        times = [
            self._time_of(part, note)
            for part in note.signatures
            if (part.name, part.key_id) == (self.name, self.key_id)
        ]
        return min(times, default=None)

    def _time_of(self, part: NoteSignature, note: SignedHead) -> int:
        time_s = int.from_bytes(part.data[:_TIME_BYTES])
        if not 0 < time_s < 2**63 or not verify(self.public_hex, part.data[_TIME_BYTES:], _signed(note.text, time_s)):
            raise NoteError(f"the head of {note.origin} bears a cosignature of {self.name} that is false")
        return time_s


def read_witness(source: str) -> Witness:
    """The witness whose verifier key is this text, or stands in the file of this name.

    Raises: KeyFileError: it is neither.
    """
    text = source.strip()
    if not _KEY.fullmatch(text):
        text = _from_file(source)
    match = _KEY.fullmatch(text)
    material = _material(match[3]) if match else b""
    if match is None or material[:1] != _TYPE:
        raise _no_key(source)
    witness = Witness(match[1], material[1:].hex())
    if witness.key_id.hex() != match[2]:
        raise _no_key(source)
    return witness


def _from_file(source: str) -> str:
    try:
        # What `auditor witness` prints may stand there whole: where it listens, then its key.
        return read_text(Path(source), _KEY_FILE_BYTES).strip().rpartition("\n")[2]
    except NoteError as error:
        raise _no_key(source) from error


def _material(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _no_key(source: str) -> KeyFileError:
    return KeyFileError(
        f"{source[:100]!r}: not the key of a witness",
        remedy="Give the line that `auditor witness` printed, such as witness.example+1a2b3c4d+BA..., or its file.",
    )


def _signed(text: str, time_s: int) -> bytes:
    """What is signed."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
