"""Checkpoints of a segment as signed notes, in the C2SP formats tlog-checkpoint and signed-note.

What is signed is three lines of text: the origin, which names the segment; the number of lines in its tree; the tree's
root in base64. In the segment stands only the signature, as the text follows from the lines before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from auditor.errors import LedgerInvalid, NoteError
from auditor.ledger.keys import verify
from auditor.ledger.places import segment_name

if TYPE_CHECKING:
    from auditor.ledger.keys import SigningKey
    from auditor.ledger.merkle import Frontier
    from auditor.ledger.signed import SignedHead
    from auditor.records import Genesis

_ED25519 = b"\x01"  # signed-note's byte for this type of signature
_KEY_ID_BYTES = 4
_NOTE = re.compile(
    r"([!-~]{1,4096})\n(0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)\n\n\u2014 \1 ([A-Za-z0-9+/]{90}[AEIMQUYcgkosw048]=)\n"
)


class Head(NamedTuple):
    """Where a segment stands at a checkpoint: how many lines, and the root of the tree over them in base64."""

    size: int
    root: str


def head_of(tree: Frontier) -> Head:
    """The head of the tree as it stands."""
    return Head(tree.size, base64.b64encode(tree.root()).decode())


def nodes_of(tree: Frontier) -> tuple[str, ...]:
    """The nodes of the tree as `Cumulative` records write them."""
    return tuple(base64.b64encode(node).decode() for node in tree.nodes())


def origin_of(genesis: Genesis) -> str:
    """What names the segment that begins with this record: no other has it, as its nonce is random."""
    stem = segment_name(genesis).removesuffix(".jsonl")
    parts = (genesis.run_id, stem, genesis.nonce)
    return "/".join(("auditor.ledger", *(quote(part, safe="", errors="surrogatepass") for part in parts)))


class Noted(NamedTuple):
    """What a signed note says: whose head, which, and the signature in base64 as a checkpoint's line has it."""

    origin: str
    head: Head
    signature: str


def read_note(note: str) -> Noted:
    """What a note with one signature says; whether it is signed is not asked.

    Raises: LedgerInvalid: it is no such note.
    """
    match = _NOTE.fullmatch(note)
    if match is None:
        raise LedgerInvalid("not a signed note of a segment's head")
    origin, size, root, marked = match.groups()
    try:
        signature = base64.b64decode(marked, validate=True)[_KEY_ID_BYTES:]
    except binascii.Error as error:
        raise LedgerInvalid("the signature of a note is not in base64") from error
    return Noted(origin, Head(int(size), root), base64.b64encode(signature).decode())


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a segment's checkpoints: the origin is the key's name too, as the formats recommend."""

    origin: str
    public_hex: str

    @classmethod
    def of(cls, genesis: Genesis) -> Signer:
        """The signer that a segment's first record names."""
        return cls(origin_of(genesis), genesis.public_key)

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256 over the key's name, a newline, the type and the public key."""
        named = self.origin.encode() + b"\n" + _ED25519 + bytes.fromhex(self.public_hex)
        return hashlib.sha256(named).digest()[:4]

    def text(self, head: Head) -> str:
        """What is signed."""
        return f"{self.origin}\n{head.size}\n{head.root}\n"

    def sign(self, head: Head, key: SigningKey) -> str:
        """The signature as it stands in a checkpoint's line: 64 bytes in base64."""
        return base64.b64encode(key.sign(self.text(head).encode())).decode()

    def signed(self, head: Head, signature: str) -> bool:
        """Whether this signer signed this head; no for anything that is not a signature."""
        try:
            return verify(self.public_hex, base64.b64decode(signature, validate=True), self.text(head).encode())
        except (binascii.Error, ValueError):
            return False

    def vouches_for(self, note: SignedHead) -> bool:
        """Whether this signer signed the note; no where it bears none of its signatures.

        Raises: NoteError: it bears one, and that is false.
        """
        marked = [part for part in note.signatures if (part.name, part.key_id) == (self.origin, self.key_id)]
        for part in marked:
            if not verify(self.public_hex, part.data, note.text.encode()):
                raise NoteError(f"the head of {note.origin} bears a signature of {self.public_hex} that is false")
        return bool(marked)

    def note(self, head: Head, signature: str) -> str:
        """The whole signed note, which any tool for transparency logs can check."""
        marked = base64.b64encode(self.key_id + base64.b64decode(signature)).decode()
        return f"{self.text(head)}\n\u2014 {self.origin} {marked}\n"
