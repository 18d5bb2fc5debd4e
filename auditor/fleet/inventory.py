"""What an inventory says: companies, where they have sites, and what was or will be shipped there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date
    from fractions import Fraction

    from auditor.fleet.parts import Part


class Under(StrEnum):
    """What a shipment goes, or went, under."""

    NOTHING = "nothing"  # no licence was needed
    LICENCE = "licence"
    AIA = "AIA"
    ACM = "ACM"
    LPP = "LPP"
    NAC_ACA = "NAC/ACA"
    UVEU = "UVEU"
    NVEU = "NVEU"
    UAE = "UAE"  # a recipient that the rule on the United Arab Emirates names


class Extent(StrEnum):
    """How much of what a company has stands in the file."""

    PART = "part"  # or nobody says how much
    COMPANY = "company"  # all of the company itself
    GROUP = "group"  # all of everybody under the same ultimate parent


class Authority(StrEnum):
    """The authorisations that a company may hold."""

    UVEU = "UVEU"
    NVEU = "NVEU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorisation:
    """An authorisation, from ``since`` on up to the day before ``until``; an NVEU is for one ``country``."""

    kind: Authority
    country: str | None
    since: date
    until: date | None

    def holds_on(self, day: date) -> bool:
        """Whether it holds on a day."""
        return self.since <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """An owner of chips. ``parent`` is the ultimate parent, itself where nobody is above it; None: not known."""

    id: str
    name: str
    headquarters: str | None
    parent: str | None
    parent_headquarters: str | None
    complete: Extent
    authorisations: tuple[Authorisation, ...]
    answers: Mapping[str, bool]
    place: str  # where it stands: file and line


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where chips are."""

    id: str
    country: str
    owner: str
    answers: Mapping[str, bool]
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """So many chips to a site, on a day or on one that is not set; ``gone`` is the first day without them."""

    id: str
    site: Site
    owner: Company
    part: Part
    count: int
    day: date | None
    gone: date | None
    under: Under | None  # None: nobody says
    origin: str | None  # the country from which it is shipped
    answers: Mapping[str, bool]
    place: str

    def made_by(self, day: date) -> bool:
        """Whether it was made on that day or before."""
        return self.day is not None and self.day <= day

    def there_on(self, day: date) -> bool:
        """Whether its chips are there on a day: shipped, and neither lost nor failed nor gone elsewhere."""
        return self.made_by(day) and (self.gone is None or day < self.gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """What others were licensed for to a country, and who says so: a rule counts it, and no inventory shows it."""

    country: str
    tpp: Fraction
    source: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """A whole file."""

    name: str
    companies: Mapping[str, Company]
    sites: Mapping[str, Site]
    parts: Mapping[str, Part]  # those that shipments name
    shipments: tuple[Shipment, ...]
    elsewhere: Mapping[str, Elsewhere]  # by country
    digest: str  # SHA-256 of the file


def same_group(one: Company, other: Company) -> bool | None:
    """Whether two companies have the same ultimate parent; None where a parent is not known."""
    if one.id == other.id:
        return True
    if one.parent is None or other.parent is None:
        return None
    return one.parent == other.parent
