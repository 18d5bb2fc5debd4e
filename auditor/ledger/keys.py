"""The Ed25519 key that signs a ledger: made at first use, readable by its owner alone."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from auditor.errors import KeyFileError
from auditor.ledger.places import sync_directory

_LARGEST_KEY_BYTES = 16 * 2**10
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


class SigningKey:
    """Signs; shows its public half only."""

    __slots__ = ("_private", "public_hex")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_hex = private.public_key().public_bytes_raw().hex()

    def sign(self, data: bytes) -> bytes:
        """The 64 bytes of the signature; the same for the same data."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey({self.public_hex})"


def verify(public_hex: str, signature: bytes, data: bytes) -> bool:
    """Whether the key's owner signed the data; no for anything that is not a key or a signature."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def load_or_create(path: Path) -> SigningKey:
    """The key at ``path``; made with mode 0600 where there is none, and one key only when two processes race.

    Raises: KeyFileError: it cannot be made or read, is readable by others, or is not a plain Ed25519 key.
    """
    try:
        if not os.path.lexists(path):
            _create(path)
        data = _read_private(path)
    except OSError as error:
        raise KeyFileError(
            f"{path}: the signing key cannot be read or made: {error.strerror or error}",
            remedy="Name a key file in a directory that you can write to.",
        ) from error
    return SigningKey(_parse_private(data, path))


def load(path: Path) -> SigningKey:
    """The key at ``path``, which must be there.

    Raises: KeyFileError: it is not, cannot be read, is readable by others, or is not a plain Ed25519 key.
    """
    try:
        return SigningKey(_parse_private(_read_private(path), path))
    except OSError as error:
        raise KeyFileError(
            f"{path}: the signing key cannot be read: {error.strerror or error}",
            remedy="Name the file of a key with --key.",
        ) from error


def read_public_key(source: Path | str) -> str:
    """The public key, as 64 hex digits, that the text or the file writes (PEM, public or private, or hex).

    Raises: KeyFileError: neither.
    """
    text = str(source).strip().lower()
    if _HEX_KEY.fullmatch(text):
        return text
    path = Path(source)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_KEY_BYTES)
    except (OSError, ValueError) as error:
        raise KeyFileError(
            f"{path}: not a public key: neither 64 hex digits nor a file that can be read",
            remedy="Give the 64 hex digits of the key, as its owner told you them, or the path of its PEM file.",
        ) from error
    return _parse_public(data, path)


def _create(path: Path) -> None:
    """A key stands at ``path``: ours, or that of a process that was faster."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces: of two processes one wins, and nobody sees half a key.
        os.link(draft, path)
        sync_directory(path.parent)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _read_private(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path}: expected a key file, got something else")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"{path}: expected mode 0600, got {stat.S_IMODE(status.st_mode):04o}: others could use it",
                remedy=f"Run: chmod 600 {path}   (and make a new key if others may have read it).",
            )
        return file.read(_LARGEST_KEY_BYTES)


def _parse_private(data: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise KeyFileError(
            f"{path}: the key is encrypted, and nobody is there to type a password",
            remedy="Use a key without a password that only its owner can read.",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: not a private key in PEM, or cut short") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: expected an Ed25519 key, got {_kind(key)}")
    return key


def _parse_public(data: bytes, path: Path) -> str:
    if b"PRIVATE KEY" in data:
        return SigningKey(_parse_private(data, path)).public_hex
    text = data.strip().lower().decode("ascii", "replace")
    if _HEX_KEY.fullmatch(text):
        return text
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"{path}: not a public key in PEM or hex",
            remedy="Give the public half of the key that signed the ledger.",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: expected an Ed25519 key, got {_kind(key)}")
    return key.public_bytes_raw().hex()


def _kind(key: object) -> str:
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
