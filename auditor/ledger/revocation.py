"""A signed statement that a key can no longer be relied on: since when, why, and by whom it is said."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import NoteError
from auditor.ledger.keys import verify
from auditor.ledger.signed import read_signatures, read_size

if TYPE_CHECKING:
    from auditor.ledger.keys import SigningKey

_TITLE = "auditor.key-revocation/1"
_KEY = re.compile(r"[0-9a-f]{64}")
_PRINTED = re.compile(r"[ -~]{0,500}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """From ``since_s`` on (seconds since 1970) nobody should believe what ``key`` signs."""

    key: str
    since_s: int
    reason: str
    by: str  # the key that says so

    @property
    def text(self) -> str:
        """What is signed; no checkpoint reads like it."""
        return f"{_TITLE}\n{self.key}\n{self.since_s}\n{self.reason or '-'}\n{self.by}\n"

    @property
    def _key_id(self) -> bytes:
        return hashlib.sha256(_TITLE.encode() + b"\n\x01" + bytes.fromhex(self.by)).digest()[:4]

    def note(self, key: SigningKey) -> str:
        """The statement as a signed note."""
        marked = base64.b64encode(self._key_id + key.sign(self.text.encode())).decode()
        return f"{self.text}\n\u2014 {_TITLE} {marked}\n"


def revoke(key: str, signer: SigningKey, *, since_s: int, reason: str) -> str:
    """The signed note by which ``signer`` revokes the key.

    Raises: NoteError: the reason is not one line of plain text.
    """
    if not _PRINTED.fullmatch(reason):
        raise NoteError("the reason must be one line of at most 500 plain characters", remedy="Give a shorter one.")
    return Revocation(key=key, since_s=since_s, reason=reason, by=signer.public_hex).note(signer)


def read_revocation(note: str) -> Revocation:
    """The statement, whose signature is that of the key that it names as its author.

    Raises: NoteError: it is none, or not signed by that key.
    """
    text, blank, signature = note.rpartition("\n\n")
    lines = text.split("\n")
    if (
        not blank
        or len(lines) != 5
        or lines[0] != _TITLE
        or not (_KEY.fullmatch(lines[1]) and _KEY.fullmatch(lines[4]))
    ):
        raise NoteError("not the revocation of a key")
    said = Revocation(key=lines[1], since_s=read_size(lines[2]), reason=lines[3], by=lines[4])
    signatures = read_signatures(signature.removesuffix("\n"))
    if said.text != text + "\n" or not all(verify(said.by, part.data, said.text.encode()) for part in signatures):
        raise NoteError(f"the revocation of {said.key} is not signed by {said.by}")
    return said
