"""Sums of TPP that rules hold against their lines, as far as the inventory shows them.

Each sum is a range. What may belong to it and what does not count stretch it upwards, and it has no upper end where
others may add to it that the inventory does not show. Two shipments of one day, and those without a day, may have come
in either order; so no sum depends on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from auditor.fleet.books import LIST, NOTHING
from auditor.fleet.inventory import Extent, Shipment, Under, same_group
from auditor.fleet.series import Names, Series, Tally, tally_of
from auditor.rules.ranges import Range, greatest, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auditor.fleet.books import Books
    from auditor.fleet.inventory import Company

_LICENSED_FROM = date(2025, 1, 1)  # the question of licensed_tpp_to_country: licensed since 2025


@dataclass(frozen=True, slots=True)
class Sum:
    """Where a sum lies, and why it is no exact number where it is not."""

    tpp: Range
    because: tuple[str, ...] = ()

    def plus(self, other: Range) -> Sum:
        """With more added to it."""
        return Sum(sum_of(self.tpp, other), self.because)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a sum is taken: at the end of a day, or on it around a shipment, which is ``included`` or still to come."""

    books: Books
    day: date
    shipment: Shipment | None = None
    included: bool = False

    def total(
        self,
        pool: tuple[str, ...],
        among: Callable[[], Iterable[Shipment]],
        belongs: Callable[[Shipment], bool | None],
        *,
        missing: str,
        present: bool = False,
    ) -> Sum:
        """What shipments that belong come to; ``missing``: what else may, or "" where nothing else does.

        ``pool``: a name for what is among and belongs, which are looked at once. ``present``: what is gone is left out.
        """
        series = self._series(pool, among, belongs, present=present)
        tally = self._tally(series, self.shipment)
        because = (missing, _open_words(tally.open_ids), _chip_words(tally.open_chips))
        return Sum(Range(tally.low, None) if missing else tally.tpp, tuple(filter(None, because)))

    def _series(
        self,
        pool: tuple[str, ...],
        among: Callable[[], Iterable[Shipment]],
        belongs: Callable[[Shipment], bool | None],
        *,
        present: bool,
    ) -> Series:
        key = (pool, self.books.law_of_classes(self.day))
        if key not in self.books.series:
            each = ((one, belongs(one)) for one in among())
            members = ((one, counts) for one, counts in each if counts is not False)
            self.books.series[key] = Series(members, self._part, leaving=present)
        return self.books.series[key]

    def _tally(self, series: Series, one: Shipment | None) -> Tally:
        """The sum at this moment; what may have come before a shipment is without itself, which is no question."""
        if one is None:
            return series.at_end_of(self.day)
        as_of = self.books.as_of
        tally = series.around_undated(as_of) if one.day is None else series.around(self.day, undated=self.day >= as_of)
        counts, part = series.belongs.get(one.id, False), self._part(one, None)
        if counts is False:
            return tally
        tally = tally.without(one.id, part) if part.low != part.high else tally
        return tally.plus(tally_of([(one.id, self._part(one, counts), counts)])) if self.included else tally

    def _part(self, shipment: Shipment, counts: bool | None) -> Range:
        counted = self.books.counted_tpp(shipment, self.day)
        return counted if counts else Range(NOTHING.low, counted.high)

    # ------------------------------------------------------------------ the sums that rules ask for
    def licensed_to(self, country: str) -> Sum:
        """Licensed to a country since 2025, by everybody; without end where nobody says what others were."""
        others = self.books.inventory.elsewhere.get(country)
        own = self.total(
            ("licensed", country),
            lambda: self.books.shipments_to(country),
            lambda one: _counts_from_2025(one) and under(one, Under.LICENCE),
            missing="" if others else f"what others were licensed for to {country} is not stated (licensed_elsewhere)",
        )
        return own if others is None else own.plus(Range.exactly(others.tpp))

    def received_as_lpp(self, company: Company, year: int) -> Sum:
        """Received under the exception LPP in a calendar year by everybody with the company's ultimate parent."""
        return self.total(
            ("lpp", company.id, str(year)),
            lambda: self.books.shipments_of_group(company),
            lambda one: _both(
                (one.day or self.books.as_of).year == year and under(one, Under.LPP), same_group(one.owner, company)
            ),
            missing=self._missing(company, of_group=True),
        )

    def received_as_aia(self, company: Company) -> Sum:
        """Received under the exception AIA by the company."""
        return self.total(
            ("aia", company.id),
            lambda: self.books.shipments_of_group(company),
            lambda one: one.owner.id == company.id and under(one, Under.AIA),
            missing=self._missing(company, of_group=False),
        )

    def installed_by(self, company: Company, country: str) -> Sum:
        """Installed by the company in a country."""
        return self.total(
            ("installed", company.id, country),
            lambda: self.books.shipments_to(country),
            lambda one: one.owner.id == company.id,
            missing=self._missing(company, of_group=False),
            present=True,
        )

    def installed_in(self, country: str) -> Sum:
        """Installed in a country by all companies of the inventory."""
        return self.total(
            ("installed", country), lambda: self.books.shipments_to(country), lambda _: True, missing="", present=True
        )

    def group_total(self, company: Company) -> Sum:
        """Installed by everybody with the company's ultimate parent."""
        return self._of_group(company, (), lambda _: True)

    def group_in(self, company: Company, country: str) -> Sum:
        """Of the group's total, what is in a country."""
        return self._of_group(company, (country,), lambda other: other == country)

    def _of_group(self, company: Company, name: tuple[str, ...], where: Callable[[str], bool | None]) -> Sum:
        return self.total(
            ("group", company.id, *name),
            lambda: self.books.shipments_of_group(company),
            lambda one: _both(where(one.site.country), same_group(one.owner, company)),
            missing=self._missing(company, of_group=True),
            present=True,
        )

    def outside_list(self, company: Company) -> Sum:
        """Of the group's total, what is outside the AI-authorization list."""
        listed = self.books.members(LIST, self.day)
        members = ("outside the list", *sorted(listed.inside), "", *sorted(listed.uncertain))
        return self._of_group(company, members, self._is_outside)

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
        return self._of_group(company, ("outside the United States",), lambda country: country != "US")

    def _is_outside(self, country: str) -> bool | None:
        inside = self.books.inside(country, LIST, self.day)
        return None if inside is None else not inside

    def _missing(self, company: Company, *, of_group: bool) -> str:
        """What is not in the file of the company, or of its whole group; "" where nobody holds anything back."""
        key = (company.id, of_group)
        if key not in self.books.missing:
            self.books.missing[key] = self._missing_words(company, of_group=of_group)
        return self.books.missing[key]

    def _missing_words(self, company: Company, *, of_group: bool) -> str:
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


def _open_words(ids: Names) -> str:
    """Of shipments that may count or not."""
    if not ids.number:
        return ""
    return (
        f"whether these count is open, by what they go under, in which order they came, or whose their owners are:"
        f" {ids.words}"
    )


def _chip_words(ids: Names) -> str:
    """Of shipments that count, as far as their chips do."""
    return f"how much TPP of 3A090.a these are is not known: {ids.words}" if ids.number else ""
