"""The tier of each destination, as the regulations print it: on the AI-authorization list, D:5 or Macau, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.fleet.books import ARMS, LIST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.fleet.books import Books
    from auditor.rules.model import Group, Member


class Tier(StrEnum):
    """Where a destination stands."""

    LISTED = "AI-authorization list"
    ARMS = "D:5 or Macau"
    REST = "neither list"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A country that the inventory names, and its tier on a day. ``notes``: what is printed or known of its place."""

    country: str
    tier: Tier
    title: str
    notes: tuple[str, ...]
    source: str
    certainty: str


def destinations(books: Books) -> tuple[Destination, ...]:
    """The countries of all sites, in the order of their codes."""
    countries = sorted({site.country for site in books.inventory.sites.values()})
    return tuple(_destination(books, country) for country in countries)


def tier_of(books: Books, country: str) -> Tier:
    """The tier of a country on the day that is looked at."""
    for group, tier in ((LIST, Tier.LISTED), (ARMS, Tier.ARMS)):
        inside = books.inside(country, group, books.as_of)
        if inside is not False:
            return tier if inside else Tier.UNDETERMINED
    return Tier.REST


def _destination(books: Books, country: str) -> Destination:
    tier = tier_of(books, country)
    listed, arms = books.ruleset.groups[LIST], books.ruleset.groups[ARMS]
    groups = {Tier.LISTED: (listed,), Tier.ARMS: (arms,), Tier.UNDETERMINED: (arms,)}.get(tier, (listed, arms))
    members = [member for group in groups for member in group.members if member.code == country]
    sure = {str(member.certainty) for member in members} or {str(group.certainty) for group in groups}
    title = f"in neither of: {listed.title}; {arms.title}" if tier is Tier.REST else groups[0].title
    return Destination(
        country=country,
        tier=tier,
        title=title,
        notes=tuple(_notes(groups, members)),
        source=books.ruleset.cite(tuple(dict.fromkeys(name for group in groups for name in group.sources))),
        certainty=" and ".join(sorted(sure)),
    )


def _notes(groups: tuple[Group, ...], members: list[Member]) -> Iterator[str]:
    for member in members:
        days = [f"since {member.since}" if member.since else "", f"until {member.until}" if member.until else ""]
        told = ", ".join(filter(None, days))
        if member.note or told:
            yield " ".join(filter(None, (f"{member.name} ({told})." if told else "", member.note)))
    for group in groups:
        yield from group.notes
