"""Single values of the catalogue's tables, read out of their nodes; each complaint names file, line and field."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.hardware.chips import Confidence

if TYPE_CHECKING:
    from collections.abc import Container

    from auditor.documents import Node

PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_SUBSYSTEM = re.compile(r"([0-9a-f]{4}|\*):[0-9a-f]{4}")


def mapping(node: Node | None) -> dict[str, Node]:
    """The fields of a mapping; none where nothing stands."""
    return {} if node is None else node.fields()


def texts(node: Node | None) -> tuple[str, ...]:
    """The texts of a list; none where nothing stands."""
    return () if node is None else tuple(part.text() for part in node)


def optional_text(node: Node | None) -> str | None:
    """A text, or None."""
    return None if node is None or node.value is None else node.text()


def flag_or_none(node: Node) -> bool | None:
    """``true``, ``false``, or None for ``unknown``."""
    return None if node.value == "unknown" else node.flag()


def positive(node: Node) -> Decimal:
    """A number above zero."""
    number = Decimal(node.number())
    if number <= 0:
        node.fail("a number above zero")
    return number


def whole(node: Node) -> int:
    """A whole number above zero."""
    number = positive(node)
    if number != number.to_integral_value():
        node.fail("a whole number")
    return int(number)


def optional_positive(node: Node | None) -> Decimal | None:
    """A number above zero, or None."""
    return None if node is None or node.value is None else positive(node)


def optional_whole(node: Node | None) -> int | None:
    """A whole number above zero, or None."""
    return None if node is None or node.value is None else whole(node)


def day(node: Node) -> date:
    """A calendar day."""
    try:
        return date.fromisoformat(node.text())
    except ValueError:
        node.fail("a date such as 2025-05-15")


def confidence(node: Node) -> Confidence:
    """A word of confidence."""
    try:
        return Confidence(node.text())
    except ValueError:
        node.unknown(node.text(), tuple(map(str, Confidence)))


def named(node: Node | None, known: Container[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of a list, each of which is known."""
    for part in node or ():
        if part.text() not in known:
            part.unknown(part.text(), names)
    return texts(node)


def pci_device(node: Node) -> str:
    """Vendor and device of a PCI id."""
    text = node.text()
    if not PCI.fullmatch(text):
        node.fail("vendor and device in lower-case hexadecimal, such as '10de:2335'")
    return text


def pci_subsystems(node: Node | None) -> tuple[str, ...]:
    """Vendors and models of boards."""
    found = texts(node)
    for subsystem in found:
        if node is not None and not _SUBSYSTEM.fullmatch(subsystem):
            node.fail("subsystems such as '10de:18be' or '*:18be'")
    return found
