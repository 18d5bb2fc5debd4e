"""What a witness answers to ``add-checkpoint``: bytes in, status and body out, and the order of its checks.

Status codes are those of https://c2sp.org/tlog-witness: 200 co-signed, 400 not a request, 403 not signed by a key that
is accepted for this log, 404 a log that is not known, 409 an old size that is not the latest (which the body says), 422
a head that does not extend the latest.
"""

from __future__ import annotations

import base64
import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from auditor.errors import NoteError
from auditor.ledger.cosigning import Witness
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Signer, head_of
from auditor.ledger.proofs import MOST_PARTS, extends
from auditor.ledger.signed import SignedHead, read_hash, read_head, read_size
from auditor.witness.state import Memory, Remembered, SlotTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST_LIMIT_BYTES = 128 * 2**10
_TEXT = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"
_LARGEST_SIZE = 2**62
_EMPTY = head_of(Frontier())


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    body: str
    content_type: str = _TEXT


class Request(NamedTuple):
    """A head, and the proof that it extends the one of the old size."""

    old_size: int
    proof: list[bytes]
    head: SignedHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which logs a witness co-signs: by the beginning of their origin, and the keys (64 hex digits) that may sign them.

    A ledger has a log for each segment, so a beginning such as ``auditor.ledger/`` stands for many. Of an origin's
    parts the last is a nonce; two logs that differ in nothing else are two histories of one segment, and the second is
    not known.
    """

    keys: Mapping[str, tuple[str, ...]]

    def keys_of(self, origin: str) -> tuple[str, ...]:
        """The keys that may sign for the log, those of the longest beginning that fits; none where none fits."""
        fitting = [beginning for beginning in self.keys if origin.startswith(beginning)]
        return self.keys[max(fitting, key=len)] if fitting else ()

    @staticmethod
    def slot_of(origin: str) -> str:
        """What only one log may have."""
        if origin.startswith("auditor.ledger/"):
            return origin.rpartition("/")[0]
        return origin


def read_request(data: bytes) -> Request:
    """The request that these bytes are.

    Raises: NoteError: they are none.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError("the request is not UTF-8") from error
    asked, blank, note = text.partition("\n\n")
    first, *proof = asked.split("\n")
    if not blank or not first.startswith("old ") or len(proof) > MOST_PARTS:
        raise NoteError(f"expected 'old <size>', at most {MOST_PARTS} hashes, an empty line and a checkpoint")
    return Request(read_size(first.removeprefix("old ")), [read_hash(part) for part in proof], read_head(note))


def write_request(request: Request) -> bytes:
    """The bytes of a request."""
    proof = "".join(f"{base64.b64encode(part).decode()}\n" for part in request.proof)
    return f"old {request.old_size}\n{proof}\n{request.head.note}".encode()


def add_checkpoint(data: bytes, memory: Memory, policy: Policy, *, clock: Callable[[], float] = time.time) -> Answer:
    """The answer to the request; a cosignature only for what is on the disk of the witness.

    Raises: WitnessStateError: the memory failed; nothing was co-signed.
    """
    try:
        request = read_request(data)
    except NoteError as error:
        return Answer(400, f"not a request: {error}\n")
    refused = _refuse(request, policy)
    if refused:
        return refused
    decision = _Decision(request, memory, int(clock()))
    try:
        memory.decide(request.head.origin, policy.slot_of(request.head.origin), decision)
    except SlotTaken:
        return Answer(404, "unknown log: this segment of this run is known under another nonce\n")
    return decision.answer


def _refuse(request: Request, policy: Policy) -> Answer | None:
    """What can be said without the memory."""
    keys = policy.keys_of(request.head.origin)
    if not keys:
        return Answer(404, "unknown log\n")
    try:
        signed = [Signer(request.head.origin, key).vouches_for(request.head) for key in keys]
    except NoteError:
        return Answer(403, "a signature of a key that is accepted is false\n")
    if not any(signed):
        return Answer(403, "not signed by a key that is accepted for this log\n")
    if not request.old_size <= request.head.head.size <= _LARGEST_SIZE:
        return Answer(400, "the old size is above that of the checkpoint\n")
    return None


class _Decision:
    """From the head that is remembered to the one that is to be; what to answer is in ``answer``."""

    def __init__(self, request: Request, memory: Memory, now_s: int) -> None:
        self.answer = Answer(500, "not decided\n")
        self._request = request
        self._memory = memory
        self._now_s = now_s

    def __call__(self, before: Remembered | None) -> Remembered | None:
        size, root = (before.size, before.root) if before else _EMPTY
        if self._request.old_size != size:
            self.answer = Answer(409, f"{size}\n", _SIZE)
            return None
        if not self._extends(size, root):
            self.answer = Answer(422, "the checkpoint is not shown to extend the one that was co-signed\n")
            return None
        return self._cosigned(before)

    def _extends(self, size: int, root: str) -> bool:
        head = self._request.head.head
        return extends(size, read_hash(root), head.size, read_hash(head.root), self._request.proof)

    def _cosigned(self, before: Remembered | None) -> Remembered:
        """A clock that went back does not go into a cosignature: it would deny what was co-signed before."""
        head, key = self._request.head, self._memory.key
        time_s = max(self._now_s, before.time_s if before else 1)
        line = Witness(self._memory.name, key.public_hex).cosign(head.text, time_s, key)
        self.answer = Answer(200, line.line)
        own = dataclasses.replace(head, signatures=tuple(part for part in head.signatures if part.name == head.origin))
        note = own.signed_also([line]).note
        return Remembered(size=head.head.size, root=head.head.root, time_s=time_s, note=note)
