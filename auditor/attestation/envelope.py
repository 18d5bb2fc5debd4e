"""The DSSE envelope (version 1): a signature over the type and the bytes of what it holds.

What is signed is ``DSSEv1 <length of type> <type> <length of payload> <payload>``, so nothing needs a canonical form,
and the payload is not parsed before it is known who signed it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.attestation.json_text import read_json, refuse, write_json
from auditor.errors import AttestationInvalid, NotAnAttestation
from auditor.ledger.keys import verify

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from auditor.ledger.keys import SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST_BYTES = 16 * 2**20
MOST_SIGNATURES = 64
_PUBLIC_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What an envelope holds, and by whose signature; ``others``: signatures that were not needed."""

    payload: bytes
    key: str
    others: int


def pae(payload: bytes) -> bytes:
    """What is signed."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(payload: bytes, key: SigningKey) -> bytes:
    """The envelope, signed by the key; its public half is the hint for whoever looks for it."""
    signature = {"keyid": key.public_hex, "sig": base64.b64encode(key.sign(pae(payload))).decode()}
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [signature],
    }
    return write_json(envelope) + b"\n"


def read_file(path: Path) -> bytes:
    """The bytes of an envelope's file.

    Raises: NotAnAttestation: there is none, it is no plain file, or larger than any attestation.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotAnAttestation(f"{path}: expected a file, got something else")
            data = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise NotAnAttestation(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > LARGEST_BYTES:
        raise NotAnAttestation(f"{path}: larger than {LARGEST_BYTES} bytes, so not an attestation of ours")
    return data


def open_envelope(data: bytes, trusted: Collection[str], what: str) -> Opened:
    """What the envelope holds, once one signature has held; others, known or not, change nothing.

    trusted: public keys, one of which must have signed; where there are none, the key that a signature names as its
    own will do, which shows that nothing was changed since and not who signed.
    Raises: NotAnAttestation: another kind of envelope, or one that could be read in two ways. AttestationInvalid: no
    signature holds, or none by a trusted key.
    """
    envelope = _mapping(read_json(data, what), what)
    kind = _text(envelope, "payloadType", what)
    if kind != PAYLOAD_TYPE:
        refuse(f"{what}: payloadType", PAYLOAD_TYPE, kind)
    payload = _base64(_text(envelope, "payload", what), f"{what}: payload")
    signatures = [_signature(entry, what) for entry in _signatures(envelope, what)]
    signed = pae(payload)
    for hint, signature in signatures:
        for key in trusted or [hint]:
            if verify(key, signature, signed):
                return Opened(payload=payload, key=key, others=len(signatures) - 1)
    raise _unsigned(what, trusted, [hint for hint, _ in signatures])


def _unsigned(what: str, trusted: Collection[str], hints: list[str]) -> AttestationInvalid | NotAnAttestation:
    if trusted:
        return AttestationInvalid(f"{what}: no signature is by a trusted key ({', '.join(sorted(trusted))})")
    if not any(_PUBLIC_HEX.fullmatch(hint) for hint in hints):
        return NotAnAttestation(
            f"{what}: no signature names the public key that made it", remedy="Name the signer's public key with --key."
        )
    return AttestationInvalid(f"{what}: the signature is not that of the key that it names: something was changed")


def _signatures(envelope: dict[str, Any], what: str) -> list[Any]:
    found = envelope.get("signatures")
    if type(found) is not list or not found:
        raise NotAnAttestation(f"{what}: it bears no signature")
    if len(found) > MOST_SIGNATURES:
        raise NotAnAttestation(f"{what}: it bears {len(found)} signatures; at most {MOST_SIGNATURES} are read")
    return found


def _signature(entry: Any, what: str) -> tuple[str, bytes]:
    """The hint, "" where there is none, and the signature."""
    fields = _mapping(entry, f"{what}: signatures")
    hint = fields.get("keyid") or ""
    if type(hint) is not str:
        refuse(f"{what}: keyid", "text", hint)
    return hint, _base64(_text(fields, "sig", what), f"{what}: sig")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    return value if type(value) is dict else refuse(where, "a mapping", value)


def _text(fields: dict[str, Any], name: str, what: str) -> str:
    value = fields.get(name)
    return value if type(value) is str else refuse(f"{what}: {name}", "text", value)


def _base64(text: str, where: str) -> bytes:
    """The bytes, from either alphabet that DSSE allows; each byte string is written in one way in each.

    Raises: NotAnAttestation: a foreign character, no padding, or bits that belong to no byte.
    """
    url = "-" in text or "_" in text
    try:
        data = base64.b64decode(text, altchars=b"-_" if url else None, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAnAttestation(f"{where}: not base64: {error}") from error
    again = base64.urlsafe_b64encode(data) if url else base64.b64encode(data)
    if again.decode() != text:
        raise NotAnAttestation(f"{where}: not the one way in which base64 writes these bytes")
    return data
