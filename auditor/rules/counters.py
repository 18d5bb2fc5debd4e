"""The counters of a rule pack, each read strictly: a line for every kind of operations."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from auditor.operations import Family
from auditor.relations import Relation
from auditor.rules.certainty import Certainty
from auditor.rules.counter import Cell, Component, Counter, Decided, Descent, Line, Scope, SyntheticData, Treatment
from auditor.rules.expressions import Kind
from auditor.rules.places import sources, texts, whole, word, words
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping

    from auditor.documents import Node
    from auditor.rules.places import Names

_EVERY_CELL = [Cell(*parts) for parts in itertools.product(Phase, Family, Purpose, Component)]


def counter(node: Node, names: Names) -> Counter:
    """What a law adds up, with a line for every kind of operations."""
    fields = node.fields(
        required=("id", "title", "counts", "leaves_out", "lines", "builds_on_earlier", "sources"),
        optional=("unseen", "abandoned", "tolerance", "scope", "synthetic_data", "ancestry"),
    )
    lines = tuple(_line(part, names) for part in fields["lines"])
    for cell in _EVERY_CELL:
        if not any(line.covers(cell) for line in lines):
            fields["lines"].fail(f"a line for every kind of operations; none covers {'/'.join(cell)}")
    ancestry = _ancestry(fields.get("ancestry"))
    decided = [*(line.decided_by for line in lines), *(one.decided_by for one in ancestry)]
    if any(decided) and "synthetic_data" not in fields:
        fields["lines"].fail("a field synthetic_data beside lines that it decides about")
    percent, digits, tolerance = _tolerance(fields.get("tolerance"))
    return Counter(
        id=fields["id"].text(),
        title=fields["title"].text(),
        counts=fields["counts"].text(),
        leaves_out=fields["leaves_out"].text(),
        lines=lines,
        builds_on_earlier=words(fields["builds_on_earlier"], Purpose),
        unseen=texts(fields.get("unseen")),
        abandoned=word(fields["abandoned"], Treatment) if "abandoned" in fields else Treatment.COUNTED,
        tolerance=tolerance,
        tolerance_percent=percent,
        reported_digits=digits,
        sources=sources(fields["sources"], names),
        scope=word(fields["scope"], Scope) if "scope" in fields else Scope.MODEL,
        synthetic_data=_synthetic_data(fields.get("synthetic_data")),
        ancestry=ancestry,
    )


def _tolerance(node: Node | None) -> tuple[int, int, str]:
    if node is None:
        return 0, 0, ""
    fields = node.fields(required=("percent", "reported_digits", "words"), optional=())
    return whole(fields["percent"]), whole(fields["reported_digits"]), fields["words"].text()


def _synthetic_data(node: Node | None) -> SyntheticData | None:
    if node is None:
        return None
    fields = node.fields(required=("trigger_percent", "words", "certainty"), optional=())
    return SyntheticData(
        trigger_percent=whole(fields["trigger_percent"]),
        words=fields["words"].text(),
        certainty=word(fields["certainty"], Certainty),
    )


def _ancestry(node: Node | None) -> tuple[Descent, ...]:
    """What becomes of ancestors, each kind once; nothing where the pack does not say."""
    found: list[Descent] = []
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("relations", "treatment", "why", "certainty"), optional=("decided_by",))
        treatment, decided_by = _treated(fields)
        one = Descent(
            relations=words(fields["relations"], Relation),
            treatment=treatment,
            why=fields["why"].text(),
            certainty=word(fields["certainty"], Certainty),
            decided_by=decided_by,
        )
        if any(one.relations & other.relations for other in found):
            fields["relations"].fail("each kind of ancestor once")
        found.append(one)
    said = frozenset(relation for one in found for relation in one.relations)
    if node is not None and said != frozenset(Relation):
        node.fail(f"a line for every kind of ancestor; none speaks of {', '.join(sorted(set(Relation) - said))}")
    return tuple(found)


def _treated(fields: Mapping[str, Node]) -> tuple[Treatment, Decided | None]:
    treatment = word(fields["treatment"], Treatment)
    if "decided_by" not in fields:
        return treatment, None
    if treatment is not Treatment.UNDETERMINED:
        fields["decided_by"].fail("the treatment undetermined where something else decides")
    return treatment, word(fields["decided_by"], Decided)


def _line(node: Node, names: Names) -> Line:
    axes = ("phases", "families", "purposes", "components")
    fields = node.fields(required=("treatment", "why", "certainty"), optional=(*axes, "decided_by", "left_out_if"))
    treatment, decided_by = _treated(fields)
    return Line(
        phases=words(fields.get("phases"), Phase),
        families=words(fields.get("families"), Family),
        purposes=words(fields.get("purposes"), Purpose),
        components=words(fields.get("components"), Component),
        treatment=treatment,
        why=fields["why"].text(),
        certainty=word(fields["certainty"], Certainty),
        decided_by=decided_by,
        left_out_if=_flag(fields["left_out_if"], names) if "left_out_if" in fields else "",
    )


def _flag(node: Node, names: Names) -> str:
    """The name of a flag that somebody may answer."""
    flags = [name for name, one in names.facts.items() if one.kind is Kind.TRUTH and not one.verdict_of]
    if node.text() not in flags:
        node.unknown(node.text(), tuple(flags))
    return node.text()
