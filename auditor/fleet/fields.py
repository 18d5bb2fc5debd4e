"""Fields of an inventory, each read strictly from its place in the file."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from auditor.errors import InventoryError, UnitError
from auditor.rules import countries
from auditor.units import parse_exact, without_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from auditor.documents import Node
    from auditor.fleet.inventory import Company, Site

Item = TypeVar("Item")
Word = TypeVar("Word", bound=StrEnum)
UNKNOWN = "unknown"  # what may stand where a country or company is not known


def by_id(node: Node, read_one: Callable[[Node], Item]) -> dict[str, Item]:
    """The entries of a list by their ids, each of which stands once."""
    found: dict[str, Item] = {}
    lines: dict[str, int] = {}
    for part in node:
        name = part.fields(required=("id",))["id"]
        if name.text() in found:
            name.fail(f"an id of its own; it stands in line {lines[name.text()]} already")
        found[name.text()], lines[name.text()] = read_one(part), part.line
    return found


def place(node: Node) -> str:
    """Where it stands."""
    return f"{node.file}:{node.line}"


def known(node: Node, names: Collection[str]) -> str:
    """The id of something that the file holds."""
    if node.text() not in names:
        node.unknown(node.text(), tuple(names))
    return node.text()


def word(node: Node, words: type[Word]) -> Word:
    """The word, if it is known."""
    try:
        return words(node.text())
    except ValueError:
        node.unknown(node.text(), tuple(map(str, words)))


def country(node: Node) -> str:
    """A country's code."""
    code = node.text()
    if code not in countries.CODES:
        node.fail(f"a country; {countries.near(code)}")
    return code


def country_or_none(node: Node | None) -> str | None:
    """A country's code; None where nothing or ``unknown`` stands."""
    return None if _is_open(node) or node is None else country(node)


def text_or_none(node: Node | None) -> str | None:
    """A text; None where nothing or ``unknown`` stands."""
    return None if _is_open(node) or node is None else node.text()


def _is_open(node: Node | None) -> bool:
    return node is None or node.value is None or node.value == UNKNOWN


def day(node: Node) -> date:
    """A day."""
    try:
        return date.fromisoformat(node.text())
    except ValueError:
        node.fail("a date such as 2025-05-15")


def day_or_none(node: Node | None) -> date | None:
    """A day; None where nothing or ``unknown`` stands."""
    return None if _is_open(node) or node is None else day(node)


def decimal(node: Node) -> Decimal:
    """A number above zero, exactly as written."""
    try:
        found = parse_exact(node.text())
    except UnitError:
        node.fail("a number", without_groups(node.text()))
    if found <= 0:
        node.fail("a number above zero")
    return found


def decimal_or_none(node: Node | None) -> Decimal | None:
    """A number above zero; None where nothing or ``unknown`` stands."""
    return None if _is_open(node) or node is None else decimal(node)


def whole(node: Node, low: int, high: int) -> int:
    """A whole number between two others, both included."""
    text = node.text()
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
        node.fail(f"a whole number from {low} to {high}", without_groups(text))
    return int(text)


def flag_or_none(node: Node | None) -> bool | None:
    """``true`` or ``false``; None where nothing or ``unknown`` stands."""
    return None if _is_open(node) or node is None else node.flag()


def answers(given: Mapping[str, Node], questions: Collection[str]) -> dict[str, bool]:
    """The rules' questions that are answered here."""
    found = {name: flag_or_none(given.get(name)) for name in questions}
    return {name: answer for name, answer in found.items() if answer is not None}


def together(node: Node, owner: Company, site: Site, own: Mapping[str, bool]) -> dict[str, bool]:
    """The answers that hold for a shipment: its company's, its site's and its own, which agree.

    Raises: InventoryError: two of them answer a question differently.
    """
    found: dict[str, tuple[bool, str]] = {}
    for given, where in ((owner.answers, owner.place), (site.answers, site.place), (own, place(node))):
        for name, answer in given.items():
            before = found.setdefault(name, (answer, where))
            if before[0] is not answer:
                raise InventoryError(
                    f"{where}: {name}: expected what {before[1]} says, {str(before[0]).lower()}, got"
                    f" {str(answer).lower()}",
                    remedy="Answer it for the shipments alone, where it differs between those of one company or site.",
                )
    return {name: answer for name, (answer, _) in found.items()}
