"""Parts that entries of a rule pack have in common, each read strictly from its place in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from auditor.errors import RuleError
from auditor.rules.model import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.documents import Node
    from auditor.rules.counter import Counter
    from auditor.rules.model import Fact, Group, Status

Word = TypeVar("Word", bound=StrEnum)


@dataclass(slots=True)
class Names:
    """What has been named so far, over all packs."""

    sources: dict[str, Source] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    histories: dict[str, tuple[Status, ...]] = field(default_factory=dict)
    counters: dict[str, Counter] = field(default_factory=dict)


def refuse_taken(node: Node, name: str, taken: Mapping[str, object]) -> None:
    """Raise where the name is in use.

    Raises: RuleError: it is.
    """
    if name in taken:
        raise RuleError(
            f"{node.file}:{node.line}: {node.path}: the id {name!r} is taken already, here or in another pack",
            remedy="Give it an id of its own; a shipped rule is added to, not replaced.",
        )


def span(fields: Mapping[str, Node]) -> tuple[date | None, date | None]:
    """The days since and until which something holds."""
    since, until = (day_or_none(fields.get(name)) for name in ("since", "until"))
    if since is not None and until is not None and not since < until:
        fields["until"].fail(f"a day after {since}, from which on it holds")
    return since, until


def sources(node: Node, names: Names) -> tuple[str, ...]:
    """The ids of sources that are known, at least one."""
    for part in node:
        if part.text() not in names.sources:
            part.unknown(part.text(), tuple(names.sources))
    if not node.items():
        node.fail("at least one source")
    return tuple(part.text() for part in node)


def texts(node: Node | None) -> tuple[str, ...]:
    """The texts of a list; none where it is left out."""
    return () if node is None else tuple(part.text() for part in node)


def words(node: Node | None, known: type[Word]) -> frozenset[Word]:
    """The words of a list, each one that is known."""
    return frozenset() if node is None else frozenset(word(part, known) for part in node)


def word(node: Node, known: type[Word]) -> Word:
    """The word, if it is known."""
    try:
        return known(node.text())
    except ValueError:
        node.unknown(node.text(), tuple(map(str, known)))


def whole(node: Node) -> int:
    """A whole number."""
    text = node.text()
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        node.fail("a whole number")
    return int(text)


def day(node: Node) -> date:
    """A day."""
    try:
        return date.fromisoformat(node.text())
    except ValueError:
        node.fail("a date such as 2025-05-15")


def day_or_none(node: Node | None) -> date | None:
    """A day; None where nothing stands."""
    return None if node is None or node.value is None else day(node)


def source(name: str, node: Node) -> Source:
    """Where something was read."""
    fields = node.fields(required=("title", "locator", "read"), optional=())
    return Source(id=name, title=fields["title"].text(), locator=fields["locator"].text(), read=day(fields["read"]))
