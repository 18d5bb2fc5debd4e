"""A whole inventory held against the rules: destinations, shipments, allocations, in both modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.fleet.positions import Position, course, positions
from auditor.fleet.questions import of_shipment
from auditor.fleet.rulings import Ruling, rule_on
from auditor.fleet.shares import Universal, universal
from auditor.fleet.tiers import Destination, destinations
from auditor.rules.model import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from auditor.fleet.books import Books


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an inventory comes to on a day."""

    books: Books
    destinations: tuple[Destination, ...]
    rulings: Mapping[Mode, tuple[Ruling, ...]]
    positions: tuple[Position, ...]
    course: tuple[Position, ...]  # of the allocations that change, before the day and after it
    universal: tuple[Universal, ...]

    def lines(self) -> Iterator[Position]:
        """Every amount that is held against a line on the day."""
        yield from self.positions
        yield from (share.position for one in self.universal for share in one.shares)

    @property
    def schedule(self) -> tuple[Position, ...]:
        """The allocations to come, with what is planned by then."""
        return tuple(one for one in self.course if one.day > self.books.as_of)

    def against(self, mode: Mode) -> tuple[Ruling, ...]:
        """The shipments that are known to go without a way that is open."""
        return tuple(ruling for ruling in self.rulings[mode] if ruling.against)

    def over(self, mode: Mode) -> tuple[Position, ...]:
        """The amounts that are known to be over a line that binds."""
        return tuple(one for one in self.lines() if one.over and one.binds(self.books, mode))


def judge(books: Books) -> Judged:
    """All answers on the day that is looked at."""
    asked = [(one, of_shipment(books, one)) for one in books.inventory.shipments]
    return Judged(
        books=books,
        destinations=destinations(books),
        rulings={mode: tuple(rule_on(books, one, answers, mode) for one, answers in asked) for mode in Mode},
        positions=positions(books),
        course=course(books),
        universal=universal(books),
    )
