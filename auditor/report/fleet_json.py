"""What `auditor fleet` says as JSON, under the names of configs/schema/fleet.schema.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auditor.fleet.books import tpp_of
from auditor.fleet.parts import EQUIVALENT, equivalent_tpp
from auditor.report import fleet_words as say
from auditor.rules.model import Mode

if TYPE_CHECKING:
    from datetime import date

    from auditor.fleet.inventory import Shipment
    from auditor.fleet.judged import Judged
    from auditor.fleet.positions import Position
    from auditor.fleet.rulings import Ruling
    from auditor.fleet.shares import Universal
    from auditor.fleet.ways import Said
    from auditor.hardware.chips import Catalogue
    from auditor.rules.model import Rule
    from auditor.rules.ranges import Range

SCHEMA = "auditor.fleet_report/1"


def to_plain(judged: Judged, catalogue: Catalogue, mode: Mode) -> dict[str, Any]:
    """The page as lists and mappings."""
    books = judged.books
    return {
        "schema": SCHEMA,
        "inventory": {"name": books.inventory.name, "digest": books.inventory.digest},
        "as_of": books.as_of.isoformat(),
        "mode": str(mode),
        "reached": bool(judged.against(mode) or judged.over(mode)),
        "equivalent": {"chip": EQUIVALENT, "tpp": say.exact(equivalent_tpp(catalogue))},
        "destinations": [
            {
                "country": one.country,
                "tier": str(one.tier),
                "title": one.title,
                "certainty": one.certainty,
                "notes": list(one.notes),
                "source": one.source,
            }
            for one in judged.destinations
        ],
        "shipments": [_shipment(judged, index) for index in range(len(books.inventory.shipments))],
        "lines": [_line(judged, one, catalogue) for one in judged.positions],
        "schedule": [_line(judged, one, catalogue) for one in judged.schedule],
        "universal": [_universal(judged, one, catalogue) for one in judged.universal],
        "rules": [_rule(judged, rule) for rule in say.rules_cited(judged)],
        "packs": [{"name": one.name, "version": one.version, "digest": one.digest} for one in books.ruleset.packs],
        "catalogue": catalogue.digest,
        "notice": say.NOTICE,
    }


def _amount(amount: Range | None) -> dict[str, str | None] | None:
    if amount is None:
        return None
    low, high = amount
    return {"at_least": None if low is None else say.exact(low), "at_most": None if high is None else say.exact(high)}


def _shipment(judged: Judged, index: int) -> dict[str, Any]:
    one = judged.books.inventory.shipments[index]
    klass = judged.books.class_of(one.part, judged.books.day_of(one))
    return {
        **_stated(one),
        "tpp": _amount(tpp_of(one)),
        "class": {"outcome": klass.outcome, "possible": list(klass.possible), "reasons": list(klass.reasons)},
        "figures": one.part.source,
        "rulings": {str(mode): _ruling(judged, rulings[index]) for mode, rulings in judged.rulings.items()},
    }


def _stated(one: Shipment) -> dict[str, Any]:
    return {
        "id": one.id,
        "place": one.place,
        "site": one.site.id,
        "destination": one.site.country,
        "owner": one.owner.id,
        "headquarters": one.owner.headquarters,
        "parent_headquarters": one.owner.parent_headquarters,
        "chip": one.part.id,
        "count": one.count,
        "date": None if one.day is None else one.day.isoformat(),
        "gone": None if one.gone is None else one.gone.isoformat(),
        "under": None if one.under is None else str(one.under),
    }


def _ruling(judged: Judged, ruling: Ruling) -> dict[str, Any]:
    return {
        "law_of": ruling.day.isoformat(),
        "outcome": str(ruling.outcome),
        "licence_needed": ruling.needed,
        "required_by": [_said(judged, one, ruling.day) for one in ruling.required_by],
        "ways": [
            {
                "under": str(path.under),
                "open": path.answer,
                "rules": [_said(judged, one, ruling.day) for one in path.said],
                "because": list(path.because),
            }
            for path in ruling.paths
        ],
        "stated_is_open": ruling.stated,
        "against": ruling.against,
        "because": list(ruling.because),
    }


def _said(judged: Judged, said: Said, day: date) -> dict[str, Any]:
    rule = judged.books.ruleset.find(said.rule)
    return {
        "rule": said.rule,
        "possible": list(said.possible),
        "paragraphs": list(said.paragraphs),
        "status": str(rule.status_on(day).standing),
        "certainty": str(rule.certainty),
    }


def _line(judged: Judged, one: Position, catalogue: Catalogue) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "paragraph": one.paragraph,
        "subject": one.subject,
        "measure": one.measure,
        "day": one.day.isoformat(),
        "used": _amount(one.used),
        "line": _amount(one.line),
        "left": _amount(one.left),
        "left_in_equivalents": _amount(say.in_equivalents(one.left, equivalent_tpp(catalogue))),
        "over": one.over,
        "binds": {str(mode): one.binds(judged.books, mode) for mode in Mode},
        "because": list(one.because),
    }


def _universal(judged: Judged, one: Universal, catalogue: Catalogue) -> dict[str, Any]:
    each = equivalent_tpp(catalogue)
    return {
        "company": one.company.id,
        "group_tpp": _amount(one.total),
        "shares": [
            {
                **_line(judged, share.position, catalogue),
                "measured": share.measured,
                "country": share.country or None,
                "left_if_new": _amount(share.new),
            }
            for share in one.shares
        ],
        "rooms": [
            {
                "place": room.place,
                "tpp": _amount(room.tpp),
                "in_equivalents": _amount(say.in_equivalents(room.tpp, each)),
            }
            for room in one.rooms
        ],
    }


def _rule(judged: Judged, rule: Rule) -> dict[str, Any]:
    ruleset, day = judged.books.ruleset, judged.books.as_of
    status = rule.status_on(day)
    return {
        "id": rule.id,
        "title": rule.title,
        "authority": rule.authority,
        "citation": rule.citation,
        "status": str(status.standing),
        "status_note": rule.note_on(day),
        "status_sources": ruleset.cite(status.sources),
        "enforced": status.enforced,
        "binds": {str(mode): rule.binds_on(day, mode) for mode in Mode},
        "certainty": str(rule.certainty),
        "checked": rule.checked.isoformat(),
        "notes": list(rule.notes),
        "source": ruleset.cite(rule.sources),
    }
