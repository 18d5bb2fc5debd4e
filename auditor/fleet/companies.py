"""The companies of an inventory: who is above whom, and what each is authorised for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.errors import InventoryError
from auditor.fleet import fields
from auditor.fleet.inventory import Authorisation, Authority, Company, Extent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.documents import Node

_OPTIONAL = ("name", "headquarters", "parent", "parent_headquarters", "complete", "authorisations")


def read_companies(node: Node, questions: tuple[str, ...]) -> dict[str, Company]:
    """The companies by their ids, each with the country of its ultimate parent as far as that follows.

    Raises: InventoryError: one contradicts itself or another.
    """
    found = fields.by_id(node, lambda part: _company(part, questions))
    nodes = {part.fields()["id"].text(): part for part in node}
    tops: dict[str, tuple[str, Node]] = {}
    for name, company in found.items():
        if company.parent is not None and company.parent_headquarters is not None:
            before = tops.setdefault(company.parent, (company.parent_headquarters, nodes[name]))
            if before[0] != company.parent_headquarters:
                _contradiction(
                    nodes[name], "parent_headquarters", before[0], company.parent_headquarters, fields.place(before[1])
                )
    return {name: _with_parent(company, found, tops, nodes[name]) for name, company in found.items()}


def _with_parent(
    company: Company, found: Mapping[str, Company], tops: Mapping[str, tuple[str, Node]], node: Node
) -> Company:
    """The company with what the rest of the file says of its ultimate parent."""
    if company.parent is None and any(other.parent == company.id for other in found.values()):
        company = replace(company, parent=company.id)
    if company.parent is None:
        return company
    top = found.get(company.parent)
    if top is not None and top.parent not in (None, top.id):
        raise InventoryError(
            f"{fields.place(node)}: parent: expected the ultimate parent, got {company.parent!r}, which has the parent"
            f" {top.parent!r} ({top.place})",
            remedy="Name the company that nobody is above.",
        )
    headquarters = tops[company.parent][0] if company.parent in tops else None
    if top is not None and top.headquarters is not None:
        if headquarters not in (None, top.headquarters):
            _contradiction(node, "parent_headquarters", top.headquarters, str(headquarters), top.place)
        headquarters = top.headquarters
    return replace(company, parent_headquarters=headquarters)


def _company(node: Node, questions: tuple[str, ...]) -> Company:
    given = node.fields(required=("id",), optional=(*_OPTIONAL, *questions))
    name = given["id"].text()
    headquarters, parent = fields.country_or_none(given.get("headquarters")), fields.text_or_none(given.get("parent"))
    above = fields.country_or_none(given.get("parent_headquarters"))
    if parent == name and above is not None and above != headquarters:
        _contradiction(node, "parent_headquarters", f"{headquarters}, its headquarters", above, "it is its own parent")
    complete = _extent(given.get("complete"))
    if complete is Extent.GROUP and parent is None:
        given["complete"].fail("part or company: a group that is whole has a `parent` that is known")
    return Company(
        id=name,
        name=given["name"].text() if "name" in given else name,
        headquarters=headquarters,
        parent=parent,
        parent_headquarters=headquarters if parent == name else above,
        complete=complete,
        authorisations=_authorisations(given.get("authorisations")),
        answers=fields.answers(given, questions),
        place=fields.place(node),
    )


def _extent(node: Node | None) -> Extent:
    return Extent.PART if node is None or node.value is None else fields.word(node, Extent)


def _authorisations(node: Node | None) -> tuple[Authorisation, ...]:
    found: list[Authorisation] = []
    for part in node.items() if node is not None and node.value is not None else ():
        one = _authorisation(part)
        if any((one.kind, one.country) == (other.kind, other.country) and _meet(one, other) for other in found):
            part.fail("days that no other authorisation of that kind and country has")
        found.append(one)
    return tuple(found)


def _meet(one: Authorisation, other: Authorisation) -> bool:
    first, second = sorted((one, other), key=lambda each: each.since)
    return first.until is None or second.since < first.until


def _authorisation(node: Node) -> Authorisation:
    given = node.fields(required=("kind", "since"), optional=("country", "until"))
    kind = fields.word(given["kind"], Authority)
    country = given.get("country")
    if (kind is Authority.NVEU) != (country is not None):
        node.fail("a country for an NVEU, which is for one, and none for a UVEU")
    since, until = fields.day(given["since"]), fields.day_or_none(given.get("until"))
    if until is not None and until <= since:
        given["until"].fail(f"a day after {since}, from which on it holds")
    return Authorisation(
        kind=kind, country=None if country is None else fields.country(country), since=since, until=until
    )


def _contradiction(node: Node, field: str, expected: str, got: str, why: str) -> None:
    raise InventoryError(
        f"{fields.place(node)}: {field}: expected {expected} ({why}), got {got}",
        remedy="One of the two is wrong: correct it, or write `unknown` where it is not known.",
    )
