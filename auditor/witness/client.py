"""A witness is asked to co-sign a segment's head; what it answers is checked before anything is believed."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from auditor.errors import AuditorError, LedgerDiverged, NoteError, UsageError, WitnessError
from auditor.ledger.signed import SignedHead, read_signatures, read_size
from auditor.witness.protocol import Request, write_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditor.ledger.cosigning import Witness

_ANSWER_LIMIT_BYTES = 256 * 2**10
_MOST_TRIES = 4  # others may ask for the same log at the same time
_FUTURE_S = 3600  # that a witness's clock may be ahead of ours


class Asked(NamedTuple):
    """The head with the cosignature of the witness, and when that was made."""

    head: SignedHead
    time_s: int


class _Response(NamedTuple):
    status: int
    body: bytes


def ask(
    url: str,
    witness: Witness,
    head: SignedHead,
    prove: Callable[[int], list[bytes]],
    *,
    known_size: int = 0,
    within_s: float,
) -> Asked:
    """The head, co-signed by the witness; its signature was checked.

    prove: the proof that the head extends the log's first so many lines. known_size: of the head that the witness is
    thought to have. within_s: all of it takes no longer.
    Raises: LedgerDiverged: the witness has co-signed a head that this one does not extend. WitnessError: it is down,
    slow, refuses, or answers with something that does not hold. UsageError: the address is none.
    """
    until_s, size = time.monotonic() + within_s, min(known_size, head.head.size)
    for _ in range(_MOST_TRIES):
        data = write_request(Request(size, prove(size), head))
        response = _post(f"{url.rstrip('/')}/add-checkpoint", data, until_s)
        if response.status == http.HTTPStatus.OK:
            return _checked(url, witness, head, response.body)
        if response.status != http.HTTPStatus.CONFLICT:
            raise _refusal(url, head, response)
        size = _its_size(url, head, response)
    raise WitnessError(f"{url}: the witness named another latest size {_MOST_TRIES} times")


def _checked(url: str, witness: Witness, head: SignedHead, body: bytes) -> Asked:
    try:
        cosigned = head.signed_also(read_signatures(body.decode().removesuffix("\n")))
        time_s = witness.time_of(cosigned)
    except (NoteError, UnicodeDecodeError) as error:
        raise WitnessError(f"{url}: the answer of the witness does not hold: {error}") from error
    if time_s is None:
        raise WitnessError(
            f"{url}: the answer is not signed by {witness.name} with the key {witness.public_hex}",
            remedy="Check the address and the key: --witness-key takes the line that the witness printed.",
        )
    if time_s > time.time() + _FUTURE_S:
        raise WitnessError(f"{url}: the cosignature is of a time to come; the witness's clock or this one's is wrong")
    own = [part for part in cosigned.signatures if part in head.signatures or part.name == witness.name]
    return Asked(SignedHead(origin=head.origin, head=head.head, text=head.text, signatures=tuple(own)), time_s)


def _its_size(url: str, head: SignedHead, response: _Response) -> int:
    """The size of the latest head that the witness has co-signed, which ours must reach."""
    try:
        size = read_size(response.body.decode("ascii").removesuffix("\n"))
    except (NoteError, UnicodeDecodeError) as error:
        raise WitnessError(f"{url}: the witness did not say which size it has: {error}") from error
    if size > head.head.size:
        raise LedgerDiverged(
            f"{url} says that it has co-signed {size} lines of {head.origin}, and here it has {head.head.size}: the"
            " ledger was cut back, or the witness lies"
        )
    return size


def _refusal(url: str, head: SignedHead, response: _Response) -> AuditorError:
    said = response.body[:200].decode("utf-8", "replace").strip()
    match response.status:
        case 422:
            return LedgerDiverged(
                f"{url} refuses to co-sign {head.origin}: its {head.head.size} lines do not extend those that it has"
                f" co-signed before ({said})"
            )
        case 403:
            return WitnessError(
                f"{url} does not accept the key that signed the ledger ({said})",
                remedy="Give the public key of the ledger to whoever runs the witness (--accept).",
            )
        case 404:
            return WitnessError(
                f"{url} does not know the log {head.origin} ({said})",
                remedy="Check the address, and ask whoever runs the witness to accept it; a second history of a segment"
                " that it knows is not accepted.",
            )
        case status:
            return WitnessError(f"{url}: the witness answered {status} ({said})")


def _post(url: str, data: bytes, until_s: float) -> _Response:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url}: not the address of a witness", remedy="Expected http://HOST:PORT, as it printed it.")
    left_s = until_s - time.monotonic()
    try:
        if left_s <= 0:
            raise TimeoutError
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=left_s)
        with contextlib.closing(connection), _ended_by(connection, until_s):
            connection.request("POST", parts.path, data, {"Content-Type": "text/plain; charset=utf-8"})
            response = connection.getresponse()
            answer = _Response(response.status, _read(response, url))
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= until_s or isinstance(error, TimeoutError):
            raise WitnessError(f"{url}: the witness did not answer in time") from error
        raise WitnessError(f"{url}: the witness cannot be reached: {error or type(error).__name__}") from error
    if time.monotonic() >= until_s:  # what came in may have been broken off
        raise WitnessError(f"{url}: the witness did not answer in time")
    return answer


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    body = response.read(_ANSWER_LIMIT_BYTES + 1)
    if len(body) > _ANSWER_LIMIT_BYTES:
        raise WitnessError(f"{url}: the witness answers with more than {_ANSWER_LIMIT_BYTES} bytes")
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


@contextlib.contextmanager
def _ended_by(connection: http.client.HTTPConnection, until_s: float) -> Iterator[None]:
    """The connection is broken off at that time, however slowly something comes in."""
    connection.connect()
    plain = connection.sock

    def break_off() -> None:
        with contextlib.suppress(OSError):
            plain.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(until_s - time.monotonic(), 0), break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
