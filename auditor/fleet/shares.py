"""The shares of a UVEU: how its group's TPP is spread, how near each share that is, and what may still go where.

There are two ways to use room: chips that the group has elsewhere are moved, and its total stays; or chips are new, and
its total grows with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.fleet import questions, ways
from auditor.fleet.books import ARMS, LIST, is_open
from auditor.fleet.inventory import same_group
from auditor.fleet.lines import MOST, left, most
from auditor.fleet.pools import Moment, Sum
from auditor.fleet.positions import Position
from auditor.rules.expressions import Result
from auditor.rules.ranges import Range, opposite, sum_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.fleet.books import Books
    from auditor.fleet.inventory import Company
    from auditor.rules.model import Paragraph

OUTSIDE = "tpp_outside_ai_authorization"
LARGEST = "largest_tpp_in_one_country_outside"
ABROAD = "tpp_outside_us"
ANY_OTHER = "any other country in neither list"
_TOTAL = "group_tpp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of a group's total. ``measured``: the name of the amount; ``country``: of a share of one country.

    ``new``: how much may be added there, the total growing with it.
    """

    position: Position
    measured: str
    country: str
    total: Range
    new: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much new TPP may still go to a place, under every share at once; None: the shares set no end."""

    place: str
    tpp: Range | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Universal:
    """A company that holds a UVEU, with the shares of its group."""

    company: Company
    total: Range
    shares: tuple[Share, ...]
    rooms: tuple[Room, ...]


def universal(books: Books) -> tuple[Universal, ...]:
    """Each company that holds a UVEU on the day that is looked at."""
    companies = books.inventory.companies.values()
    holders = [one for one in companies if questions.uveu_holder(books, one, books.as_of) is one]
    return tuple(_Group(books, company).universal() for company in holders)


class _Group:
    """The group of a company, held against each share of the rule."""

    def __init__(self, books: Books, company: Company) -> None:
        self.books, self.company = books, company
        self.moment = Moment(books, books.as_of)
        self.total = self.moment.group_total(company)
        self.fixed = {
            **questions.of_group(books, company, books.as_of).values,
            **books.printed(ways.UVEU_SHARES, books.as_of),
        }

    def universal(self) -> Universal:
        """All shares, and what they leave room for."""
        shares = tuple(share for part in self._paragraphs() for share in self._shares(part))
        return Universal(company=self.company, total=self.total.tpp, shares=shares, rooms=tuple(self._rooms(shares)))

    def _paragraphs(self) -> tuple[Paragraph, ...]:
        return self.books.ruleset.find(ways.UVEU_SHARES).paragraphs

    def _shares(self, part: Paragraph) -> Iterator[Share]:
        if LARGEST in part.when.names:
            for country in self._countries():
                if self.books.inside(country, LIST, self.books.as_of) is False:
                    yield self._share(part, self._in(country), country)
        elif self._over(part, Range.exactly(MOST), Range.exactly(MOST)) is not False:  # else it leaves the group alone
            outside = OUTSIDE in part.when.names
            yield self._share(part, getattr(self.moment, "outside_list" if outside else "outside_us")(self.company))

    def _countries(self) -> list[str]:
        """Where the group has sites, or may have."""
        inventory = self.books.inventory
        sites = inventory.sites.values()
        return sorted(
            {one.country for one in sites if same_group(inventory.companies[one.owner], self.company) is not False}
        )

    def _in(self, country: str) -> Sum:
        return self.moment.group_in(self.company, country)

    def _over(self, part: Paragraph, amount: Range, whole: Range) -> bool | None:
        """Whether the paragraph is met, which speaks of what is over a share."""
        put = {_measured(part): _of(_measured(part), amount), _TOTAL: _of(_TOTAL, whole)}
        answer = part.when.evaluate({**self.fixed, **put}).value
        return answer if isinstance(answer, bool) else None

    def _share(self, part: Paragraph, used: Sum, country: str = "") -> Share:
        over, line = self._over(part, used.tpp, self.total.tpp), self._line(part)
        is_known = over is not None and not is_open(Result(used.tpp))
        position = Position(
            rule=ways.UVEU_SHARES,
            paragraph=part.id,
            subject=f"{self.company.name} {f'in {country}' if country else _WORDS[_measured(part)]}",
            country=country,
            measure="what the group has there of its TPP of 3A090.a",
            day=self.books.as_of,
            used=used.tpp,
            line=line,
            left=None if line is None else left(line, used.tpp),
            over=over,
            because=() if is_known else tuple(dict.fromkeys((*self.total.because, *used.because))),
        )
        least = self._new(part, used.tpp.high, self.total.tpp.low)
        new = Range(_NONE if least is None else least, self._new(part, used.tpp.low, self.total.tpp.high))
        return Share(position=position, measured=_measured(part), country=country, total=self.total.tpp, new=new)

    def _line(self, part: Paragraph) -> Range | None:
        """Up to where the amount may go while the total stays."""
        ends = [None if whole is None else self._most(part, None, whole) for whole in self.total.tpp]
        return None if ends[0] is None else Range(*ends)

    def _new(self, part: Paragraph, used: Fraction | None, total: Fraction | None) -> Fraction | None:
        """How much may be added while the total grows with it."""
        return None if used is None or total is None else self._most(part, used, total)

    def _most(self, part: Paragraph, used: Fraction | None, total: Fraction) -> Fraction | None:
        def within(number: int) -> bool | None:
            amount = Range.exactly(number)
            if used is None:
                return opposite(self._over(part, amount, Range.exactly(total)))
            grown = (sum_of(Range.exactly(before), amount) for before in (used, total))
            return opposite(self._over(part, *grown))

        found = most(within)
        return None if found is None else Range.exactly(found).low

    def _rooms(self, shares: tuple[Share, ...]) -> Iterator[Room]:
        """Each country outside the list with a site, any other, and the list but for the United States."""
        general = [share for share in shares if not share.country]
        for share in shares:
            barred = share.country and self.books.inside(share.country, ARMS, self.books.as_of)
            if share.country and barred is not True:
                room = _least([share, *general])
                yield Room(
                    place=share.country, tpp=room if barred is False or room is None else Range(_NONE, room.high)
                )
        part = next(part for part in self._paragraphs() if LARGEST in part.when.names)
        yield Room(place=ANY_OTHER, tpp=_least([self._share(part, Sum(Range.exactly(0)), ANY_OTHER), *general]))
        yield Room(
            place="the list, outside the United States",
            tpp=_least([share for share in general if share.measured == ABROAD]),
        )


_NONE = Fraction(0)
_WORDS = {OUTSIDE: "outside the AI-authorization list", ABROAD: "outside the United States"}


def _measured(part: Paragraph) -> str:
    return next(name for name in (OUTSIDE, LARGEST, ABROAD) if name in part.when.names)


def _least(shares: list[Share]) -> Range | None:
    found = [share.new for share in shares]
    highs = [one.high for one in found if one.high is not None]
    return Range(min(one.low or _NONE for one in found), min(highs, default=None)) if found else None


def _of(name: str, amount: Range) -> Result:
    result = Result(amount, frozenset({name}))
    return result if is_open(result) else Result(amount)
