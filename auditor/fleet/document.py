"""An inventory from a YAML or CSV file, read strictly: every complaint names file, line, field and what was expected.

::

    schema: auditor.fleet/1
    name: Whose inventory it is
    companies:
      - {id: acme, headquarters: US, parent: acme, complete: group,
         authorisations: [{kind: NVEU, country: IN, since: 2025-08-01}]}
    sites:
      - {id: mumbai, country: IN, owner: acme}
    chips:                                    # one's own figures, where the catalogue lacks a part
      - {id: accelerator-x, tpp: 9000, data_centre: true, source: "letter of its maker, 2026-03-02"}
    shipments:
      - {id: first, site: mumbai, chip: h100-sxm5-80gb, count: 2048, date: 2025-09-01, under: NVEU, from: TW}
    licensed_elsewhere:                       # what others were licensed for to a country
      - {country: IN, tpp: 120000000, source: "who says so, and when"}

Beside these, a company, a site or a shipment may answer by name any question of the rules that is yes or no.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from auditor.documents import parse_yaml
from auditor.errors import InventoryError
from auditor.fleet import fields, parts, rows
from auditor.fleet.companies import read_companies
from auditor.fleet.inventory import Company, Elsewhere, Inventory, Shipment, Site, Under
from auditor.rules.circuits import Circuit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from auditor.documents import Node
    from auditor.fleet.parts import Part
    from auditor.hardware.chips import Catalogue

SCHEMA = "auditor.fleet/1"
_SECTIONS = ("name", "chips", "licensed_elsewhere")
_OF_A_CHIP = ("performance_density", "data_centre", "memory_gb_per_s", "link_gb_per_s")
_OF_A_SHIPMENT = ("date", "gone", "under", "from")
_LARGEST_BYTES = 16 * 2**20
_MOST_CHIPS = 10**12

Item = TypeVar("Item")


def read(path: Path, catalogue: Catalogue, questions: tuple[str, ...]) -> Inventory:
    """The inventory in a file: rows where its name ends in ``.csv``, else YAML.

    ``questions``: the names of the rules' questions that are answered yes or no.
    Raises: InventoryError: it cannot be read, does not fit, or contradicts itself.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise InventoryError(f"{path}: larger than {_LARGEST_BYTES} bytes")
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise InventoryError(
            f"{path}: cannot be read: {problem}", remedy="Name a YAML or CSV file in UTF-8."
        ) from problem
    name = str(path)
    if path.suffix.casefold() == ".csv":
        document = rows.document(text, name, SCHEMA, questions)
    else:
        document = parse_yaml(text, name, InventoryError)
    return _Reader(catalogue, questions).inventory(document, hashlib.sha256(data).hexdigest(), path.stem)


class _Reader:
    """Reads a document from the top; later sections refer to earlier ones."""

    def __init__(self, catalogue: Catalogue, questions: tuple[str, ...]) -> None:
        self.catalogue = catalogue
        self.questions = questions
        self.own: dict[str, Part] = {}
        self.used: dict[str, Part] = {}

    def inventory(self, document: Node, digest: str, stem: str) -> Inventory:
        top = document.fields(required=("schema", "companies", "sites", "shipments"), optional=_SECTIONS)
        if top["schema"].text() != SCHEMA:
            top["schema"].fail(f"{SCHEMA!r}")
        self.own = _by_id(top.get("chips"), self._chip)
        companies = read_companies(top["companies"], self.questions)
        sites = _by_id(top["sites"], lambda node: self._site(node, companies))
        shipments = _by_id(top["shipments"], lambda node: self._shipment(node, sites, companies))
        return Inventory(
            name=top["name"].text() if "name" in top else stem,
            companies=companies,
            sites=sites,
            parts=self.used,
            shipments=tuple(shipments.values()),
            elsewhere=_elsewhere(top.get("licensed_elsewhere")),
            digest=digest,
        )

    def _chip(self, node: Node) -> Part:
        given = node.fields(required=("id", "tpp", "source"), optional=_OF_A_CHIP)
        name = given["id"].text()
        if name == parts.UNKNOWN or any(chip.id == name for chip in self.catalogue.chips):
            given["id"].fail("an id that the catalogue does not have: its parts have their own figures")
        circuit = Circuit(
            tpp=fields.decimal(given["tpp"]),
            performance_density=fields.decimal_or_none(given.get("performance_density")),
            memory_gb_per_s=fields.decimal_or_none(given.get("memory_gb_per_s")),
            link_gb_per_s=fields.decimal_or_none(given.get("link_gb_per_s")),
            data_centre=fields.flag_or_none(given.get("data_centre")),
        )
        return parts.stated(name, circuit, given["source"].text())

    def _site(self, node: Node, companies: Mapping[str, Company]) -> Site:
        given = node.fields(required=("id", "country", "owner"), optional=self.questions)
        return Site(
            id=given["id"].text(),
            country=fields.country(given["country"]),
            owner=fields.known(given["owner"], companies),
            answers=fields.answers(given, self.questions),
            place=fields.place(node),
        )

    def _shipment(self, node: Node, sites: Mapping[str, Site], companies: Mapping[str, Company]) -> Shipment:
        given = node.fields(required=("id", "site", "chip", "count"), optional=(*_OF_A_SHIPMENT, *self.questions))
        site = sites[fields.known(given["site"], sites)]
        owner = companies[site.owner]
        day, gone = fields.day_or_none(given.get("date")), fields.day_or_none(given.get("gone"))
        if gone is not None and (day is None or gone <= day):
            given["gone"].fail(f"a day after the shipment's, {day}" if day else "a `date` of the shipment before it")
        under = given.get("under")
        return Shipment(
            id=given["id"].text(),
            site=site,
            owner=owner,
            part=self._part(given["chip"]),
            count=fields.whole(given["count"], 1, _MOST_CHIPS),
            day=day,
            gone=gone,
            under=None if under is None or under.value is None else fields.word(under, Under),
            origin=fields.country_or_none(given.get("from")),
            answers=fields.together(node, owner, site, fields.answers(given, self.questions)),
            place=fields.place(node),
        )

    def _part(self, node: Node) -> Part:
        name = node.text()
        if name == parts.UNKNOWN:
            found = parts.unknown()
        else:
            found = self.own[name] if name in self.own else parts.find(node, self.catalogue, self.own)
        return self.used.setdefault(found.id, found)


def _by_id(node: Node | None, read_one: Callable[[Node], Item]) -> dict[str, Item]:
    return {} if node is None else fields.by_id(node, read_one)


def _elsewhere(node: Node | None) -> dict[str, Elsewhere]:
    found: dict[str, Elsewhere] = {}
    for part in node.items() if node is not None else ():
        given = part.fields(required=("country", "tpp", "source"), optional=())
        country = fields.country(given["country"])
        if country in found:
            given["country"].fail(f"each country once; it stands at {found[country].place} already")
        tpp = fields.decimal(given["tpp"])
        found[country] = Elsewhere(
            country=country, tpp=Fraction(tpp), source=given["source"].text(), place=fields.place(part)
        )
    return found
