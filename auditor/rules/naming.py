"""What the tests of rules may name: what the auditor supplies, what packs ask, and groups of countries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.rules import countries
from auditor.rules.certainty import Certainty
from auditor.rules.expressions import Kind, Name, Unit
from auditor.rules.model import Fact, Group, Member, RuleKind
from auditor.rules.places import Names, refuse_taken, sources, span, texts, word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from auditor.documents import Node
    from auditor.rules.model import Value

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
_OF_A_LETTER = {"is_named": Name(Kind.TRUTH)}  # the record is of a model that the rule names, letter for letter
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


def names_of(kind: RuleKind, fields: Mapping[str, Node], values: Sequence[Value], names: Names) -> Mapping[str, Name]:
    """What the rule's expressions may name; a verdict on the model is no part of a verdict on the model."""
    supplied = {
        **SUPPLIED[kind],
        **(_OF_A_MODEL if "counter" in fields else {}),
        **(_OF_A_LETTER if "models" in fields else {}),
    }
    asked = {
        name: one.stands_for
        for name, one in names.facts.items()
        if not (one.verdict_of and kind is RuleKind.MODEL_THRESHOLD)
    }
    printed = {one.name: Name(Kind.AMOUNT, one.unit) for one in values}
    return {**supplied, **asked, **dict.fromkeys(names.groups, Name(Kind.GROUP)), **printed}


def fact(name: str, node: Node) -> Fact:
    """A name to be answered; a number has a unit."""
    fields = node.fields(required=("kind", "words"), optional=("unit", "verdict_of", "with_source"))
    if fields["kind"].text() not in _FACT_KINDS:
        fields["kind"].unknown(fields["kind"].text(), tuple(_FACT_KINDS))
    kind = _FACT_KINDS[fields["kind"].text()]
    refuse_supplied(node, name)
    if (kind in _NUMBERS) != ("unit" in fields):
        node.fail("a unit for a number, and for nothing else")
    if "verdict_of" in fields and kind is not Kind.TRUTH:
        fields["kind"].fail("a flag, which is what a verdict answers")
    return Fact(
        name=name,
        stands_for=Name(kind, word(fields["unit"], Unit) if "unit" in fields else None),
        words=fields["words"].text(),
        verdict_of=fields["verdict_of"].text() if "verdict_of" in fields else "",
        with_source="with_source" in fields and fields["with_source"].flag(),
    )


def refuse_supplied(node: Node, name: str) -> None:
    """Raise where the auditor supplies a name itself, or it is none."""
    supplied = {*_OF_A_MODEL, *_OF_A_LETTER, *(name for names in SUPPLIED.values() for name in names)}
    if not name.isidentifier() or name in supplied:
        node.fail("a name of letters, digits and _ that the auditor does not supply itself")


def group(name: str, node: Node, names: Names) -> Group:
    """Countries, each with the days for which it belongs."""
    fields = node.fields(required=("title", "members", "sources", "certainty"), optional=("notes",))
    refuse_supplied(node, name)
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
