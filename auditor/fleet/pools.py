"""Sums of TPP that rules hold against their lines, as far as the inventory shows them.

Each sum is a range. What may belong to it and what does not count stretch it upwards, and it has no upper end where
others may add to it that the inventory does not show. Two shipments of one day, and those without a day, may have come
in either order; so no sum depends on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.fleet.books import LIST, NOTHING
from auditor.fleet.inventory import Extent, Shipment, Under, same_group
from auditor.rules.ranges import Range, greatest, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auditor.fleet.books import Books
    from auditor.fleet.inventory import Company

_NOTHING = Fraction(0)
_LICENSED_FROM = date(2025, 1, 1)  # the question of licensed_tpp_to_country: licensed since 2025


@dataclass(frozen=True, slots=True)
class Sum:
    """Where a sum lies, and why it is no exact number where it is not."""

    tpp: Range
    because: tuple[str, ...] = ()

    def plus(self, other: Range) -> Sum:
        """With more added to it."""
        return Sum(sum_of(self.tpp, other), self.because)


@dataclass(slots=True)
class Tally:
    """Shipments added up. ``endless``: of how many there may be any amount."""

    low: Fraction = _NOTHING
    high: Fraction = _NOTHING
    endless: int = 0
    open_ids: set[str] = field(default_factory=set)  # of those that may count or not
    open_chips: set[str] = field(default_factory=set)  # of those that count, as far as their chips do

    @property
    def tpp(self) -> Range:
        """Where the sum lies."""
        return Range(self.low, None if self.endless else self.high)

    def add(self, name: str, part: Range, counts: bool | None) -> None:
        """Take a shipment in: surely, or perhaps."""
        self.low += part.low or _NOTHING
        self.high += part.high or _NOTHING
        self.endless += part.high is None
        if part.low != part.high:
            (self.open_ids if counts is None else self.open_chips).add(name)

    def without(self, name: str, part: Range) -> Tally:
        """The same without one that may count or not."""
        return Tally(
            low=self.low,
            high=self.high - (part.high or _NOTHING),
            endless=self.endless - (part.high is None),
            open_ids=self.open_ids - {name},
            open_chips=set(self.open_chips),
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """When a sum is taken: at the end of a day, or on it around a shipment, which is ``included`` or still to come."""

    books: Books
    day: date
    shipment: Shipment | None = None
    included: bool = False

    def precedes(self, other: Shipment) -> bool | None:
        """Whether another shipment came before; None where nobody says in which order."""
        if self.shipment is None:
            return other.made_by(self.day)
        if other.day is None:
            return None if self.day >= self.books.as_of else False
        if self.shipment.day is None:
            return True if other.made_by(self.books.as_of) else None
        return None if other.day == self.day else other.day < self.day

    def present(self, other: Shipment) -> bool | None:
        """Whether chips of a shipment that came before are there."""
        return False if other.gone is not None and other.gone <= self.day else self.precedes(other)

    def total(
        self,
        pool: tuple[str, ...],
        among: Iterable[Shipment],
        belongs: Callable[[Shipment], bool | None],
        *,
        missing: str,
        present: bool = False,
    ) -> Sum:
        """What shipments that belong come to; ``missing``: what else may, or "" where nothing else does.

        ``pool``: a name for what is among and belongs. Around all shipments of a day such a sum is the same but for
        themselves, so it is drawn up once.
        """
        one = self.shipment
        key = (pool, self.day, None if one is None else one.day is None)
        if key not in self.books.tallies:
            self.books.tallies[key] = self._tally(among, belongs, present=present)
        tally = self.books.tallies[key]
        if one is not None and one.id in tally.open_ids:  # as another of its day, it may have come before or not
            tally = tally.without(one.id, self._part(one, None))
            if self.included:
                counts = belongs(one)
                tally.add(one.id, self._part(one, counts), counts)
        because = (missing, _open_words(tally.open_ids), _chip_words(tally.open_chips))
        return Sum(Range(tally.low, None) if missing else tally.tpp, tuple(filter(None, because)))

    def _tally(self, among: Iterable[Shipment], belongs: Callable[[Shipment], bool | None], *, present: bool) -> Tally:
        each = self.present if present else self.precedes
        found = Tally()
        for one in among:
            counts = belongs(one)
            counts = counts if counts is False else _both(counts, each(one))
            if counts is not False:
                found.add(one.id, self._part(one, counts), counts)
        return found

    def _part(self, shipment: Shipment, counts: bool | None) -> Range:
        counted = self.books.counted_tpp(shipment, self.day)
        return counted if counts else Range(NOTHING.low, counted.high)

    # ------------------------------------------------------------------ the sums that rules ask for
    def licensed_to(self, country: str) -> Sum:
        """Licensed to a country since 2025, by everybody; without end where nobody says what others were."""
        others = self.books.inventory.elsewhere.get(country)
        own = self.total(
            ("licensed", country),
            self.books.shipments_to(country),
            lambda one: _counts_from_2025(one) and under(one, Under.LICENCE),
            missing="" if others else f"what others were licensed for to {country} is not stated (licensed_elsewhere)",
        )
        return own if others is None else own.plus(Range.exactly(others.tpp))

    def received_as_lpp(self, company: Company, year: int) -> Sum:
        """Received under the exception LPP in a calendar year by everybody with the company's ultimate parent."""
        return self.total(
            ("lpp", company.id, str(year)),
            self.books.shipments_of_group(company),
            lambda one: _both(
                (one.day or self.books.as_of).year == year and under(one, Under.LPP), same_group(one.owner, company)
            ),
            missing=self._missing(company, of_group=True),
        )

    def received_as_aia(self, company: Company) -> Sum:
        """Received under the exception AIA by the company."""
        return self.total(
            ("aia", company.id),
            self.books.shipments_of_group(company),
            lambda one: one.owner.id == company.id and under(one, Under.AIA),
            missing=self._missing(company, of_group=False),
        )

    def installed_by(self, company: Company, country: str) -> Sum:
        """Installed by the company in a country."""
        return self.total(
            ("installed", company.id, country),
            self.books.shipments_to(country),
            lambda one: one.owner.id == company.id,
            missing=self._missing(company, of_group=False),
            present=True,
        )

    def installed_in(self, country: str) -> Sum:
        """Installed in a country by all companies of the inventory."""
        every = self.books.shipments_to(country)
        return self.total(("installed", country), every, lambda _: True, missing="", present=True)

    def group_total(self, company: Company) -> Sum:
        """Installed by everybody with the company's ultimate parent."""
        return self._of_group(company, "", lambda _: True)

    def group_in(self, company: Company, country: str) -> Sum:
        """Of the group's total, what is in a country."""
        return self._of_group(company, country, lambda other: other == country)

    def _of_group(self, company: Company, name: str, where: Callable[[str], bool | None]) -> Sum:
        return self.total(
            ("group", company.id, name),
            self.books.shipments_of_group(company),
            lambda one: _both(where(one.site.country), same_group(one.owner, company)),
            missing=self._missing(company, of_group=True),
            present=True,
        )

    def outside_list(self, company: Company) -> Sum:
        """Of the group's total, what is outside the AI-authorization list."""
        return self._of_group(company, "outside the list", self._is_outside)

    def largest_outside(self, company: Company) -> Sum:
        """Of the group's total, what is in the one country outside the list that has most of it."""
        totals, because = [NOTHING], dict[str, None]()
        for country in sorted({site.country for site in self.books.inventory.sites.values()}):
            outside = self._is_outside(country)
            if outside is not False:
                found = self.group_in(company, country)
                totals.append(found.tpp if outside else Range(NOTHING.low, found.tpp.high))
                because |= dict.fromkeys(found.because)
        return Sum(greatest(*totals), tuple(because))

    def outside_us(self, company: Company) -> Sum:
        """Of the group's total, what is outside the United States."""
        return self._of_group(company, "outside the United States", lambda country: country != "US")

    def _is_outside(self, country: str) -> bool | None:
        inside = self.books.inside(country, LIST, self.day)
        return None if inside is None else not inside

    def _missing(self, company: Company, *, of_group: bool) -> str:
        """What is not in the file of the company, or of its whole group; "" where nobody holds anything back."""
        group = [one for one in self.books.inventory.companies.values() if same_group(one, company)]
        whole = any(one.complete is Extent.GROUP for one in group)
        if whole or (company.complete is Extent.COMPANY and not of_group):
            return ""
        of = f"{company.name} and everybody under the same parent have" if of_group else f"{company.name} has"
        wanted = Extent.GROUP if of_group else Extent.COMPANY
        return f"nobody says that all that {of} is listed (`complete: {wanted}`, {company.place})"


def _counts_from_2025(shipment: Shipment) -> bool:
    return shipment.day is None or shipment.day >= _LICENSED_FROM


def under(shipment: Shipment, way: Under) -> bool | None:
    """Whether a shipment goes under that; None where nobody says."""
    return None if shipment.under is None else shipment.under is way


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _open_words(ids: set[str]) -> str:
    """Of shipments that may count or not."""
    if not ids:
        return ""
    return (
        f"whether these count is open, by what they go under, in which order they came, or whose their owners are:"
        f" {', '.join(sorted(ids))}"
    )


def _chip_words(ids: set[str]) -> str:
    """Of shipments that count, as far as their chips do."""
    return f"how much TPP of 3A090.a these are is not known: {', '.join(sorted(ids))}" if ids else ""
