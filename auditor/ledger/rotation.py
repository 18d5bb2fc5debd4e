"""How one signing key follows another: statements by the key that is followed, and the order that they make."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from auditor.errors import LedgerInvalid
from auditor.ledger.keys import verify
from auditor.records import Rotation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditor.ledger.keys import SigningKey

_TITLE = "auditor.key-rotation/1"
_KEY = re.compile(r"[0-9a-f]{64}")


def statement(rotation: Rotation) -> bytes:
    """What the previous key signs; no checkpoint reads like it."""
    said = (_TITLE, rotation.number, rotation.previous, rotation.following, rotation.made_us)
    return "".join(f"{line}\n" for line in said).encode()


def make_rotation(previous: SigningKey, following: str, *, number: int, made_us: int) -> Rotation:
    """The statement that ``following``, a public key, follows the previous one."""
    said = Rotation(number=number, previous=previous.public_hex, following=following, made_us=made_us, signature="")
    return signed(said, previous)


def signed(said: Rotation, key: SigningKey) -> Rotation:
    """The statement with the key's signature."""
    signature = base64.b64encode(key.sign(statement(said))).decode()
    return Rotation(
        number=said.number,
        previous=said.previous,
        following=said.following,
        made_us=said.made_us,
        signature=signature,
    )


def check_rotation(rotation: Rotation) -> None:
    """The statement is signed by the key that is followed.

    Raises: LedgerInvalid: it is not, or follows itself.
    """
    try:
        signature = base64.b64decode(rotation.signature, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if not verify(rotation.previous, signature, statement(rotation)):
        raise LedgerInvalid("a rotation is not signed by the key that it says is followed")
    if rotation.previous == rotation.following or rotation.number < 1:
        raise LedgerInvalid("a rotation names one key twice, or has no number")
    if not all(map(_KEY.fullmatch, (rotation.previous, rotation.following))):
        raise LedgerInvalid("a rotation names a key that is not written in 64 hex digits")


class Succession:
    """Which key follows which, from statements that were checked; each key has one follower at most."""

    def __init__(self, rotations: Iterable[Rotation]) -> None:
        self._after: dict[str, Rotation] = {}
        self.faults: list[str] = []
        for rotation in rotations:
            known = self._after.setdefault(rotation.previous, rotation)
            if known.following != rotation.following:
                self.faults.append(
                    f"the key {rotation.previous} is followed by two: {known.following} and {rotation.following}"
                )
        self._check_order()

    def _check_order(self) -> None:
        """Numbers count up by one from each key to the next."""
        for rotation in self._after.values():
            after = self._after.get(rotation.following)
            if after is not None and after.number != rotation.number + 1:
                self.faults.append(
                    f"the key {after.previous} was number {rotation.number} of its line, and says that its follower"
                    f" is number {after.number}: one is missing, or they are out of order"
                )

    def line_from(self, key: str) -> list[str]:
        """The key, and those that follow it, in their order."""
        line = [key]
        while (rotation := self._after.get(line[-1])) and rotation.following not in line:
            line.append(rotation.following)
        return line

    def line_through(self, key: str) -> list[str]:
        """As `line_from`, with those that it follows before it."""
        before = {rotation.following: rotation.previous for rotation in self._after.values()}
        first = key
        while (earlier := before.get(first)) and earlier != key and first in before:
            first = earlier
        return self.line_from(first)
