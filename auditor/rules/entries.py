"""The rules of a pack, each read strictly from its place in the file."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.errors import RuleError, UnitError
from auditor.rules import duties
from auditor.rules.certainty import Certainty
from auditor.rules.counter import Counter
from auditor.rules.expressions import Expression, Name, Unit
from auditor.rules.model import (
    Clause,
    Milestone,
    Paragraph,
    Rule,
    RuleKind,
    Threshold,
    Value,
)
from auditor.rules.naming import names_of, refuse_supplied
from auditor.rules.parsing import parse
from auditor.rules.places import Names, day, day_or_none, refuse_taken, sources, span, texts, word
from auditor.rules.standings import check_dates, history
from auditor.units import parse_exact, parse_ops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.documents import Node

_EVERY_RULE = ("id", "kind", "title", "authority", "citation", "checked", "history", "sources", "certainty")
_DATES = ("published", "effective", "compliance", "ended")
_ANY_RULE = (*_DATES, "conditions", "exclusions", "values", "milestones", "definitions", "notes")
_OF_KIND: Mapping[RuleKind, tuple[str, ...]] = {
    RuleKind.MODEL_THRESHOLD: ("threshold", "counter"),
    RuleKind.CHIP_CLASS: ("paragraphs",),
    RuleKind.CHIP_TEST: ("paragraphs",),
    RuleKind.CHIP_HOLDER: ("paragraphs",),
    RuleKind.CASE_TEST: ("paragraphs",),
    RuleKind.STATEMENT: (),
}
_ALSO_OF_KIND: Mapping[RuleKind, tuple[str, ...]] = {
    RuleKind.CASE_TEST: ("counter", "models"),
    RuleKind.MODEL_THRESHOLD: ("duties",),
}


def rule(node: Node, names: Names) -> Rule:
    """One rule, its dates in order and its expressions over names that are known."""
    kind = word(node.fields(required=("kind",))["kind"], RuleKind)
    fields = node.fields(required=(*_EVERY_RULE, *_OF_KIND[kind]), optional=(*_ANY_RULE, *_ALSO_OF_KIND.get(kind, ())))
    values = _values(fields.get("values"), names)
    known = names_of(kind, fields, values, names)
    past = history(fields["history"], names)
    dates = {name: day_or_none(fields.get(name)) for name in _DATES}
    check_dates(fields["history"], past, dates)
    return Rule(
        id=fields["id"].text(),
        kind=kind,
        title=fields["title"].text(),
        authority=fields["authority"].text(),
        citation=fields["citation"].text(),
        published=dates["published"],
        effective=dates["effective"],
        compliance=dates["compliance"],
        ended=dates["ended"],
        checked=day(fields["checked"]),
        history=past,
        threshold=_threshold(fields["threshold"]) if "threshold" in fields else None,
        counter=_counter_named(fields["counter"], names) if "counter" in fields else None,
        conditions=_clauses(fields.get("conditions"), known, names),
        exclusions=_clauses(fields.get("exclusions"), known, names),
        paragraphs=_paragraphs(fields.get("paragraphs"), known),
        values=values,
        milestones=tuple(_milestone(part) for part in fields["milestones"]) if "milestones" in fields else (),
        models=texts(fields.get("models")),
        duties=duties.read(fields.get("duties"), values, names, lambda part: _expression(part, known)),
        definitions={name: part.text() for name, part in _mapping(fields.get("definitions")).items()},
        notes=texts(fields.get("notes")),
        sources=sources(fields["sources"], names),
        certainty=word(fields["certainty"], Certainty),
    )


def _values(node: Node | None, names: Names) -> tuple[Value, ...]:
    found: list[Value] = []
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("name", "amount", "unit"), optional=("since", "until"))
        name = fields["name"].text()
        refuse_supplied(fields["name"], name)
        refuse_taken(fields["name"], name, {**names.facts, **names.groups})
        since, until = span(fields)
        one = Value(
            name=name,
            amount=Fraction(parse_exact(fields["amount"].number())),
            unit=word(fields["unit"], Unit),
            since=since,
            until=until,
        )
        _refuse_overlap(part, found, one)
        found.append(one)
    return tuple(found)


def _refuse_overlap(node: Node, before: Sequence[Value], value: Value) -> None:
    earlier = [one for one in before if one.name == value.name]
    if earlier and (earlier[-1].until is None or value.since is None or value.since < earlier[-1].until):
        node.fail(f"days after those of the {value.name} before it")
    if earlier and earlier[-1].unit is not value.unit:
        node.fail(f"the unit {earlier[-1].unit} of the {value.name} before it")


def _milestone(node: Node) -> Milestone:
    fields = node.fields(required=("date", "words", "certainty"), optional=())
    return Milestone(
        day=day(fields["date"]), words=fields["words"].text(), certainty=word(fields["certainty"], Certainty)
    )


def _threshold(node: Node) -> Threshold:
    fields = node.fields(required=("ops", "comparison"), optional=())
    try:
        ops = parse_ops(fields["ops"].text())
    except UnitError:
        fields["ops"].fail("a whole number of operations, such as 1e26")
    if ops == 0:
        fields["ops"].fail("a line above zero")
    comparison = fields["comparison"].text()
    if comparison not in (">=", ">"):
        fields["comparison"].fail("'>=' or '>'")
    return Threshold(ops=ops, comparison=comparison)


def _counter_named(node: Node, names: Names) -> Counter:
    if node.text() not in names.counters:
        node.unknown(node.text(), tuple(names.counters))
    return names.counters[node.text()]


def _clauses(node: Node | None, known: Mapping[str, Name], names: Names) -> tuple[Clause, ...]:
    clauses: dict[str, Clause] = {}
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("id", "words", "when", "sources", "certainty"), optional=())
        name = fields["id"].text()
        refuse_taken(part, name, clauses)
        clauses[name] = Clause(
            id=name,
            words=fields["words"].text(),
            when=_expression(fields["when"], known),
            sources=sources(fields["sources"], names),
            certainty=word(fields["certainty"], Certainty),
        )
    return tuple(clauses.values())


def _paragraphs(node: Node | None, known: Mapping[str, Name]) -> tuple[Paragraph, ...]:
    paragraphs: dict[str, Paragraph] = {}
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("outcome", "id", "when"), optional=())
        name = fields["id"].text()
        refuse_taken(part, name, paragraphs)
        when = _expression(fields["when"], known)
        paragraphs[name] = Paragraph(outcome=fields["outcome"].text(), id=name, when=when)
    return tuple(paragraphs.values())


def _expression(node: Node, known: Mapping[str, Name]) -> Expression:
    try:
        return parse(node.text(), known)
    except RuleError as error:
        raise RuleError(f"{node.file}:{node.line}: {node.path}: {error}", remedy=error.remedy) from error


def _mapping(node: Node | None) -> dict[str, Node]:
    return {} if node is None else node.fields()
