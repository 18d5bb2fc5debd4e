"""Where a fleet stands against each allocation, share and yearly amount: used, the line, and what is left.

Every line is found by asking its rule, so that no number of the law stands here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from auditor.fleet import ways
from auditor.fleet.books import is_open
from auditor.fleet.inventory import Authority
from auditor.fleet.lines import left, most
from auditor.fleet.pools import Moment, Sum
from auditor.fleet.tiers import Tier, tier_of
from auditor.rules.expressions import Result
from auditor.rules.ranges import Range, opposite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from auditor.fleet.books import Books
    from auditor.fleet.inventory import Company
    from auditor.rules.expressions import Values
    from auditor.rules.model import Mode

Within = Callable[[Range], "bool | None"] if TYPE_CHECKING else object


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """An amount held against a line. ``over``: None where that is open, ``because`` of these.

    ``subject``: whose or where; ``country``: the code that it ends in, or ""; ``line``: None where the rule gives no
    number for that day; ``left``: up to it.
    """

    rule: str
    paragraph: str
    subject: str
    country: str
    measure: str
    day: date
    used: Range
    line: Range | None
    left: Range | None
    over: bool | None
    because: tuple[str, ...]

    def binds(self, books: Books, mode: Mode) -> bool:
        """Whether the rule does, on that day in that mode."""
        return books.ruleset.find(self.rule).binds_on(self.day, mode)


def positions(books: Books) -> tuple[Position, ...]:
    """All positions on the day that is looked at, but those of shares."""
    return (*_country_caps(books), *_national(books), *_low(books))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An amount that a rule is asked about: whose, what of, and how much on a day."""

    books: Books
    step: ways.Step
    subject: str
    country: str = ""
    measure: str
    day: date
    used: Sum

    def position(self, within: Callable[[Range], bool | None]) -> Position:
        """Its position, where the rule says of an amount whether it is within its line."""
        line = most(lambda amount: within(Range.exactly(amount)))
        answer = within(self.used.tpp)
        limit = None if line is None else Range.exactly(line)
        because = self.used.because if answer is None or is_open(Result(self.used.tpp)) else ()
        return Position(
            rule=self.step.rule,
            paragraph=self.books.ruleset.find(self.step.rule).paragraphs[0].id,
            subject=self.subject,
            country=self.country,
            measure=self.measure,
            day=self.day,
            used=self.used.tpp,
            line=limit,
            left=None if limit is None else left(limit, self.used.tpp),
            over=opposite(answer),
            because=(*because, *(() if limit else (f"no line is held for {self.day}",))),
        )


def opens(books: Books, step: ways.Step, values: Values, day: date) -> bool | None:
    """Whether a rule's outcome is one that opens; None where that is open."""
    kinds = {outcome in step.opens for outcome in books.walk(step.rule, values, day).possible}
    return kinds.pop() if len(kinds) == 1 else None


def _country_caps(books: Books) -> Iterator[Position]:
    """Of each destination outside the list and outside D:5 and Macau."""
    step = next(one.then for one in ways.REVIEWS if one.then is not None)
    day = books.as_of
    countries = {site.country for site in books.inventory.sites.values()} | books.inventory.elsewhere.keys()
    for country in sorted(countries):
        if tier_of(books, country) is not Tier.REST:
            continue
        fixed = {"destination": Result(country), "requested_tpp": _exactly(0)}

        def within(amount: Range, fixed: Values = fixed) -> bool | None:
            return opens(books, step, {**fixed, "licensed_tpp_to_country": _of(amount)}, day)

        yield _Held(
            books=books,
            step=step,
            subject=country,
            country=country,
            measure="licensed to the country since 2025",
            day=day,
            used=Moment(books, day).licensed_to(country),
        ).position(within)


def _national(books: Books) -> Iterator[Position]:
    """Of each NVEU that holds on the day, in its country."""
    for company in books.inventory.companies.values():
        for one in company.authorisations:
            if one.kind is Authority.NVEU and one.country is not None and one.holds_on(books.as_of):
                yield national(books, company, one.country, books.as_of)


def national(books: Books, company: Company, country: str, day: date) -> Position:
    """The position of an NVEU on a day."""
    step = ways.Step(ways.NVEU_ALLOCATION, frozenset({"within the allocation"}))

    def within(amount: Range) -> bool | None:
        return opens(books, step, {"installed_tpp_of_company": _of(amount)}, day)

    return _Held(
        books=books,
        step=step,
        subject=f"{company.name} in {country}",
        country=country,
        measure="installed by the company in the country",
        day=day,
        used=Moment(books, day).installed_by(company, country),
    ).position(within)


def course(books: Books) -> tuple[Position, ...]:
    """The positions of each NVEU whenever its allocation changes, and on the day that is looked at, in order."""
    rule = books.ruleset.find(ways.NVEU_ALLOCATION)
    days = sorted({value.since for value in rule.values if value.since is not None} | {books.as_of})
    return tuple(
        national(books, company, one.country, day)
        for company in books.inventory.companies.values()
        for one in company.authorisations
        for day in days
        if one.kind is Authority.NVEU and one.country is not None and one.holds_on(day)
    )


def _low(books: Books) -> Iterator[Position]:
    """Of each ultimate parent, what was received under LPP in the calendar year of the day."""
    step = next(one for way in ways.WAYS for one in way.steps if one.rule == ways.LPP)
    day, seen = books.as_of, set[str]()
    for company in books.inventory.companies.values():
        places = [site.country for site in books.inventory.sites.values() if site.owner == company.id]
        places = [country for country in places if tier_of(books, country) in (Tier.LISTED, Tier.REST)]
        if not places or (company.parent or company.id) in seen or not _may_receive(books, company):
            continue
        seen.add(company.parent or company.id)
        fixed = {
            "destination": Result(places[0]),
            "recipient_headquarters": Result(company.headquarters),
            "recipient_parent": Result(company.parent_headquarters),
            "in_country_transfer": Result(False),
            "requested_tpp": _exactly(0),
        }

        def within(amount: Range, fixed: Values = fixed) -> bool | None:
            return opens(books, step, {**fixed, "tpp_received_this_year": _of(amount)}, day)

        yield _Held(
            books=books,
            step=step,
            subject=f"{_top(books, company)}, {day.year}",
            measure="received under LPP in the calendar year",
            day=day,
            used=Moment(books, day).received_as_lpp(company, day.year),
        ).position(within)


def _top(books: Books, company: Company) -> str:
    """What the ultimate parent is called, or the company where it is not known."""
    top = books.inventory.companies.get(company.parent or company.id)
    return top.name if top else company.parent or company.name


def _may_receive(books: Books, company: Company) -> bool:
    """Whether neither headquarters nor parent bar the company for sure."""
    where = (company.headquarters, company.parent_headquarters)
    return all(country is not None and tier_of(books, country) is not Tier.ARMS for country in where)


def _exactly(amount: int) -> Result:
    return Result(Range.exactly(amount))


def _of(amount: Range) -> Result:
    result = Result(amount, frozenset({"amount"}))
    return result if is_open(result) else Result(amount)
