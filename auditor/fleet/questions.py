"""The questions of the rules put to a shipment: each answer as expressions take it, and why it is open where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from auditor.fleet.books import is_open, tpp_of
from auditor.fleet.inventory import Authority
from auditor.fleet.parts import UNKNOWN
from auditor.fleet.pools import Moment
from auditor.rules.expressions import Result
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from auditor.fleet.books import Books
    from auditor.fleet.inventory import Company, Shipment
    from auditor.rules.expressions import Values

ECCN = "item_eccn"


@dataclass(frozen=True, slots=True)
class Asked:
    """``values``: the answers by name; ``because``: of each that is open, why; ``classes``: what the items may be."""

    values: Values
    because: Mapping[str, str]
    classes: tuple[str | None, ...]

    def with_class(self, eccn: str | None) -> Values:
        """The answers, with the items' class taken to be that."""
        return {**self.values, ECCN: Result(eccn, frozenset({ECCN}) if eccn is None else frozenset())}


@dataclass(slots=True)
class _Sheet:
    values: dict[str, Result] = field(default_factory=dict)
    because: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: bool | str | Range | None, why: str) -> None:
        result = Result(value, frozenset({name}))
        if is_open(result):
            self.because[name] = why
        self.values[name] = result if is_open(result) else Result(value)


def of_shipment(books: Books, shipment: Shipment) -> Asked:
    """What the rules ask of a shipment, on the day whose law it is judged by."""
    day = books.day_of(shipment)
    sheet = _Sheet()
    _parties(sheet, books, shipment, day)
    _items(sheet, shipment)
    _amounts(sheet, books, shipment, day)
    klass = books.class_of(shipment.part, day)
    sheet.because[ECCN] = _class_words(shipment, klass.reasons)
    for name, answer in shipment.answers.items():
        sheet.put(name, answer, "")
    return Asked(sheet.values, sheet.because, klass.possible or (None,))


def of_group(books: Books, company: Company, day: date) -> Asked:
    """What the rule on shares asks of the group of a company that holds a UVEU, at the end of a day."""
    sheet = _Sheet()
    _shares(sheet, books, company, Moment(books, day))
    return Asked(sheet.values, sheet.because, (None,))


def _parties(sheet: _Sheet, books: Books, shipment: Shipment, day: date) -> None:
    owner, place = shipment.owner, shipment.owner.place
    unsaid = f"the headquarters of {owner.name} are not stated ({place})"
    sheet.put("destination", shipment.site.country, "")
    sheet.put("recipient_headquarters", owner.headquarters, unsaid)
    sheet.put(
        "recipient_parent",
        owner.parent_headquarters,
        f"the headquarters of the ultimate parent of {owner.name} are not stated ({place})",
    )
    unsure = f"whether the ultimate parent of {owner.name}, which is not stated ({place}), holds a UVEU"
    sheet.put("holds_uveu", holds_uveu(books, owner, day), unsure)
    sheet.put("holds_nveu", holds_nveu(owner, shipment.site.country, day), "")


def uveu_holder(books: Books, company: Company, day: date) -> Company | None:
    """The company, or else its ultimate parent, where it holds a UVEU on a day."""
    top = books.inventory.companies.get(company.parent or "")
    for one in (company, top):
        if one is not None and any(each.kind is Authority.UVEU and each.holds_on(day) for each in one.authorisations):
            return one
    return None


def holds_uveu(books: Books, company: Company, day: date) -> bool | None:
    """Whether the company or its ultimate parent holds a UVEU; None where a holder may be the parent, nobody knows."""
    if uveu_holder(books, company, day) is not None:
        return True
    tops = [one for one in books.inventory.companies.values() if one.parent in (None, one.id) and one is not company]
    may_be = any(uveu_holder(books, one, day) is one for one in tops)
    return None if company.parent is None and may_be else False


def holds_nveu(company: Company, country: str, day: date) -> bool:
    """Whether the company holds an NVEU for a country on a day."""
    return any(
        one.kind is Authority.NVEU and one.country == country and one.holds_on(day) for one in company.authorisations
    )


def _items(sheet: _Sheet, shipment: Shipment) -> None:
    part, place = shipment.part, shipment.place
    market = f"whether {part.words} is for data centres is not known"
    sheet.put("item_for_data_centres", part.circuit.data_centre, market)
    sheet.put("item_tpp", part.tpp, f"the TPP of {part.words} is not known exactly")
    sheet.put("item_memory_gb_per_s", part.memory_gb_per_s, f"the memory bandwidth of {part.words} is not known")
    sheet.put("item_link_gb_per_s", part.link_gb_per_s, f"the link of {part.words} is not known")
    sheet.put("shipped_from", shipment.origin, f"from where it is shipped is not stated ({place})")
    moved = None if shipment.origin is None else shipment.origin == shipment.site.country
    sheet.put("in_country_transfer", moved, f"from where it is shipped is not stated ({place})")


def _amounts(sheet: _Sheet, books: Books, shipment: Shipment, day: date) -> None:
    before, after = Moment(books, day, shipment), Moment(books, day, shipment, included=True)
    owner, country = shipment.owner, shipment.site.country
    sheet.put("requested_tpp", tpp_of(shipment), f"the TPP of {shipment.part.words} is not known ({shipment.place})")
    as_aia = before.received_as_aia(owner).plus(books.counted_tpp(shipment, day))
    for name, found, subject in (
        ("licensed_tpp_to_country", before.licensed_to(country), f"was licensed to {country} since 2025"),
        ("tpp_received_this_year", before.received_as_lpp(owner, day.year), f"was received under LPP in {day.year}"),
        ("cumulative_tpp_to_consignee", as_aia, f"{owner.name} has received under AIA"),
        ("installed_tpp_of_company", after.installed_by(owner, country), f"{owner.name} has installed in {country}"),
    ):
        sheet.put(name, found.tpp, f"how much {subject} is open: {'; '.join(found.because)}")
    if sheet.values["holds_uveu"].value is not False:  # else there is nobody whose shares are asked about
        _shares(sheet, books, owner, after)


def _shares(sheet: _Sheet, books: Books, company: Company, moment: Moment) -> None:
    """What the group has, and where."""
    holder = uveu_holder(books, company, moment.day)
    unsaid = f"the headquarters of {holder.name} are not stated" if holder else "who holds the UVEU is not known"
    sheet.put("group_headquarters", holder.headquarters if holder else None, unsaid)
    whole = moment.group_total(company)
    for name, found in (
        ("group_tpp", whole),
        ("tpp_outside_ai_authorization", moment.outside_list(company)),
        ("tpp_outside_us", moment.outside_us(company)),
        ("largest_tpp_in_one_country_outside", moment.largest_outside(company)),
    ):
        because = whole.because or found.because  # what keeps a part of it open keeps the whole open, but for tiers
        sheet.put(name, found.tpp, f"what the group of {company.name} has is open: {'; '.join(because)}")


def _class_words(shipment: Shipment, reasons: tuple[str, ...]) -> str:
    if shipment.part.id == UNKNOWN:
        return f"which chip it is is not known ({shipment.place})"
    return f"the class of {shipment.part.words} is open: {' '.join(reasons)}"
