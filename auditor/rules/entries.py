"""The entries of a rule pack, each read strictly from its place in the file."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.errors import RuleError, UnitError
from auditor.rules import countries, duties
from auditor.rules.expressions import Expression, Kind, Name, Unit, parse
from auditor.rules.model import (
    ENDED,
    Certainty,
    Clause,
    Counter,
    Fact,
    Group,
    Member,
    Milestone,
    Paragraph,
    Rule,
    RuleKind,
    Source,
    Standing,
    Status,
    Threshold,
    Value,
)
from auditor.rules.places import Names, day, day_or_none, refuse_taken, sources, span, texts, word
from auditor.units import parse_exact, parse_ops

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.documents import Node

# What the auditor supplies to the expressions of a kind of rule; the rest are facts that packs declare.
_OF_A_CIRCUIT = {
    "tpp": Name(Kind.AMOUNT, Unit.TPP),
    "performance_density": Name(Kind.AMOUNT, Unit.TPP_PER_MM2),
    "io_gb_per_s": Name(Kind.AMOUNT, Unit.GB_PER_S),  # all but the memory's, both directions together
    "link_gb_per_s": Name(Kind.AMOUNT, Unit.GB_PER_S),  # to other accelerators, both directions together
    "memory_gb_per_s": Name(Kind.AMOUNT, Unit.GB_PER_S),
    "memory_gb_per_s_per_mm2": Name(Kind.AMOUNT, Unit.GB_PER_S_PER_MM2),
    "peak_tera": Name(Kind.AMOUNT, Unit.TERA_PER_S),  # dense, whatever the bit length
    "data_centre": Name(Kind.TRUTH),  # designed or marketed for data centres
    "is_processor": Name(Kind.TRUTH),  # its dominant function is processing
}
_CLASS = {"eccn": Name(Kind.TEXT)}  # of the circuit, under the rule in force
_OF_A_MODEL = {
    "counted_ops": Name(Kind.AMOUNT, Unit.OPERATIONS),  # by the rule's counter, stated earlier training included
    "record_ops": Name(Kind.AMOUNT, Unit.OPERATIONS),  # of them, those of this record alone
}
SUPPLIED: Mapping[RuleKind, Mapping[str, Name]] = {
    RuleKind.MODEL_THRESHOLD: {**_OF_A_MODEL, "threshold_ops": Name(Kind.AMOUNT, Unit.OPERATIONS)},
    RuleKind.CHIP_CLASS: _OF_A_CIRCUIT,
    RuleKind.CHIP_TEST: {**_OF_A_CIRCUIT, **_CLASS},
    RuleKind.CHIP_HOLDER: _CLASS,
    RuleKind.CASE_TEST: {},  # and what is counted, where it names a counter
    RuleKind.STATEMENT: {},
}
_FACT_KINDS = {
    "flag": Kind.TRUTH,
    "amount": Kind.AMOUNT,
    "number": Kind.NUMBER,
    "text": Kind.TEXT,
    "country": Kind.COUNTRY,
}
_NUMBERS = (Kind.AMOUNT, Kind.NUMBER)


def source(name: str, node: Node) -> Source:
    """Where something was read."""
    fields = node.fields(required=("title", "locator", "read"), optional=())
    return Source(id=name, title=fields["title"].text(), locator=fields["locator"].text(), read=day(fields["read"]))


def fact(name: str, node: Node) -> Fact:
    """A name to be answered; a number has a unit."""
    fields = node.fields(required=("kind", "words"), optional=("unit", "verdict_of"))
    if fields["kind"].text() not in _FACT_KINDS:
        fields["kind"].unknown(fields["kind"].text(), tuple(_FACT_KINDS))
    kind = _FACT_KINDS[fields["kind"].text()]
    _refuse_supplied(node, name)
    if (kind in _NUMBERS) != ("unit" in fields):
        node.fail("a unit for a number, and for nothing else")
    if "verdict_of" in fields and kind is not Kind.TRUTH:
        fields["kind"].fail("a flag, which is what a verdict answers")
    return Fact(
        name=name,
        stands_for=Name(kind, word(fields["unit"], Unit) if "unit" in fields else None),
        words=fields["words"].text(),
        verdict_of=fields["verdict_of"].text() if "verdict_of" in fields else "",
    )


def _refuse_supplied(node: Node, name: str) -> None:
    supplied = {*_OF_A_MODEL, *(name for names in SUPPLIED.values() for name in names)}
    if not name.isidentifier() or name in supplied:
        node.fail("a name of letters, digits and _ that the auditor does not supply itself")


def group(name: str, node: Node, names: Names) -> Group:
    """Countries, each with the days for which it belongs."""
    fields = node.fields(required=("title", "members", "sources", "certainty"), optional=("notes",))
    _refuse_supplied(node, name)
    refuse_taken(node, name, names.facts)
    certainty = word(fields["certainty"], Certainty)
    return Group(
        id=name,
        title=fields["title"].text(),
        members=tuple(_member(part, certainty) for part in fields["members"]),
        notes=texts(fields.get("notes")),
        sources=sources(fields["sources"], names),
        certainty=certainty,
    )


def _member(node: Node, certainty: Certainty) -> Member:
    fields = node.fields(required=("code", "name"), optional=("since", "until", "uncertain", "note", "certainty"))
    code = fields["code"].text()
    if code not in countries.CODES:
        fields["code"].fail(f"a country; {countries.near(code)}")
    since, until = span(fields)
    return Member(
        code=code,
        name=fields["name"].text(),
        since=since,
        until=until,
        uncertain="uncertain" in fields and fields["uncertain"].flag(),
        note=fields["note"].text() if "note" in fields else "",
        certainty=word(fields["certainty"], Certainty) if "certainty" in fields else certainty,
    )


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
    RuleKind.CASE_TEST: ("counter",),
    RuleKind.MODEL_THRESHOLD: ("duties",),
}


def rule(node: Node, names: Names) -> Rule:
    """One rule, its dates in order and its expressions over names that are known."""
    kind = word(node.fields(required=("kind",))["kind"], RuleKind)
    fields = node.fields(required=(*_EVERY_RULE, *_OF_KIND[kind]), optional=(*_ANY_RULE, *_ALSO_OF_KIND.get(kind, ())))
    values = _values(fields.get("values"), names)
    known = _known(kind, fields, values, names)
    past = history(fields["history"], names)
    dates = {name: day_or_none(fields.get(name)) for name in _DATES}
    _check_dates(fields["history"], past, dates)
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
        duties=duties.read(fields.get("duties"), values, names, lambda part: _expression(part, known)),
        definitions={name: part.text() for name, part in _mapping(fields.get("definitions")).items()},
        notes=texts(fields.get("notes")),
        sources=sources(fields["sources"], names),
        certainty=word(fields["certainty"], Certainty),
    )


def _known(kind: RuleKind, fields: Mapping[str, Node], values: Sequence[Value], names: Names) -> Mapping[str, Name]:
    """What the rule's expressions may name; a verdict on the model is no part of a verdict on the model."""
    supplied = {**SUPPLIED[kind], **(_OF_A_MODEL if "counter" in fields else {})}
    asked = {
        name: one.stands_for
        for name, one in names.facts.items()
        if not (one.verdict_of and kind is RuleKind.MODEL_THRESHOLD)
    }
    printed = {one.name: Name(Kind.AMOUNT, one.unit) for one in values}
    return {**supplied, **asked, **dict.fromkeys(names.groups, Name(Kind.GROUP)), **printed}


def _values(node: Node | None, names: Names) -> tuple[Value, ...]:
    found: list[Value] = []
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("name", "amount", "unit"), optional=("since", "until"))
        name = fields["name"].text()
        _refuse_supplied(fields["name"], name)
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


def history(node: Node, names: Names) -> tuple[Status, ...]:
    """Where a rule stood from which day on: a list of its own, or the name of one that rules share."""
    if not isinstance(node.value, str):
        return tuple(_status(part, names) for part in node)
    if node.value not in names.histories:
        node.unknown(node.value, tuple(names.histories))
    return names.histories[node.value]


def _status(node: Node, names: Names) -> Status:
    fields = node.fields(required=("date", "status", "enforced", "note", "sources", "certainty"), optional=())
    standing = word(fields["status"], Standing)
    enforced = None if fields["enforced"].text() == "unknown" else fields["enforced"].flag()
    if enforced and standing is not Standing.IN_FORCE:
        fields["enforced"].fail(f"false or unknown for the status {standing}")
    return Status(
        since=day(fields["date"]),
        standing=standing,
        enforced=enforced,
        note=fields["note"].text(),
        sources=sources(fields["sources"], names),
        certainty=word(fields["certainty"], Certainty),
    )


def _check_dates(node: Node, past: Sequence[Status], dates: Mapping[str, date | None]) -> None:
    if not past:
        node.fail("at least one status")
    days = [status.since for status in past]
    if days != sorted(set(days)):
        node.fail("dates that rise from one status to the next")
    effective, compliance, ended = dates["effective"], dates["compliance"], dates["ended"]
    if effective is not None and not any(
        status.since == effective and status.standing is Standing.IN_FORCE for status in past
    ):
        node.fail(f"the status in_force on the effective date {effective}")
    if compliance is not None and (effective is None or compliance < effective):
        node.fail(f"a compliance date not before the effective date, with compliance on {compliance}")
    last = past[-1]
    must_end = last.standing in ENDED and effective is not None
    if (must_end and ended is None) or (ended is not None and (last.standing not in ENDED or ended != last.since)):
        node.fail(f"an ended date that is the day of the last status, with {last.standing} on {last.since}")


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
