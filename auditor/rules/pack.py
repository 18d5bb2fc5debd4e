"""Rule packs: YAML files, read strictly into a `RuleSet`.

A pack holds any of ``sources``, ``facts``, ``counters`` and ``rules``; names are shared by all packs that are
loaded together, so one pack may use another's source, fact or counter. Every complaint names file, line and
field.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from auditor.documents import Node, read_yaml
from auditor.errors import RuleError, UnitError
from auditor.operations import Family
from auditor.resources import tree
from auditor.rules.expressions import Expression, Kind, parse
from auditor.rules.model import (
    ENDED,
    Cell,
    Certainty,
    Clause,
    Component,
    Counter,
    Fact,
    Line,
    Paragraph,
    Rule,
    RuleKind,
    RuleSet,
    Source,
    Standing,
    Status,
    Threshold,
    Treatment,
)
from auditor.tally import Phase, Purpose
from auditor.units import parse_ops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

SCHEMA = "auditor.rules/1"

# What the auditor supplies to the expressions of a kind of rule; the rest are facts that packs declare.
_OF_A_CIRCUIT = {
    "tpp": Kind.AMOUNT,
    "performance_density": Kind.AMOUNT,
    "io_gb_per_s": Kind.AMOUNT,  # all inputs and outputs but the memory's, both directions together
    "link_gb_per_s": Kind.AMOUNT,  # to other accelerators, both directions together
    "memory_gb_per_s": Kind.AMOUNT,
    "memory_gb_per_s_per_mm2": Kind.AMOUNT,
    "peak_tera": Kind.AMOUNT,  # dense tera-operations per second, whatever the bit length
    "data_centre": Kind.TRUTH,  # designed or marketed for data centres
    "is_processor": Kind.TRUTH,  # its dominant function is processing
}
_CLASS = {"eccn": Kind.TEXT}  # of the circuit, under the rule in force
SUPPLIED = {
    RuleKind.MODEL_THRESHOLD: {"counted_ops": Kind.AMOUNT, "threshold_ops": Kind.AMOUNT},
    RuleKind.CHIP_CLASS: _OF_A_CIRCUIT,
    RuleKind.CHIP_TEST: {**_OF_A_CIRCUIT, **_CLASS},
    RuleKind.CHIP_HOLDER: _CLASS,
}
_KINDS = {"flag": Kind.TRUTH, "amount": Kind.AMOUNT, "number": Kind.NUMBER, "text": Kind.TEXT}
_EVERY_CELL = [Cell(*parts) for parts in itertools.product(Phase, Family, Purpose, Component)]

Word = TypeVar("Word", bound=StrEnum)
Item = TypeVar("Item")


def shipped() -> list[Path]:
    """The packs that come with the auditor."""
    return sorted((tree("configs") / "rules").glob("*.yaml"))


def load(paths: Iterable[Path] | None = None) -> RuleSet:
    """The rules of the packs at ``paths``, else of those that are shipped.

    One's own are added by ``load([*shipped(), own])``.
    Raises: RuleError: a pack that does not fit, or an id that is taken.
    """
    files = shipped() if paths is None else list(paths)
    packs = [_Pack(read_yaml(path, RuleError)) for path in files]
    names = _Names()
    for pack in packs:
        names.sources.update(pack.each("sources", names.sources, _source))
        names.facts.update(pack.each("facts", names.facts, _fact))
    for pack in packs:
        names.counters.update(pack.listed("counters", names.counters, lambda node: _counter(node, names)))
    rules: dict[str, Rule] = {}
    for pack in packs:
        rules.update(pack.listed("rules", rules, lambda node: _rule(node, names)))
    return RuleSet(
        rules=tuple(rules.values()),
        counters=names.counters,
        facts=names.facts,
        sources=names.sources,
        digest=digest(files),
    )


def digest(paths: Iterable[Path] | None = None) -> str:
    """SHA-256 over the names and bytes of the packs, without reading what they say: milliseconds.

    Raises: RuleError: a file cannot be read.
    """
    files = shipped() if paths is None else list(paths)
    try:
        lines = sorted(f"{path.name}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n" for path in files)
    except OSError as error:
        raise RuleError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return hashlib.sha256(f"{SCHEMA}\n{''.join(lines)}".encode()).hexdigest()


@dataclass(slots=True)
class _Names:
    """What has been named so far, over all packs."""

    sources: dict[str, Source] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    counters: dict[str, Counter] = field(default_factory=dict)


class _Pack:
    """One file, and its four sections."""

    def __init__(self, document: Node) -> None:
        self.fields = document.fields(required=("schema",), optional=("sources", "facts", "counters", "rules"))
        if self.fields["schema"].text() != SCHEMA:
            self.fields["schema"].fail(f"{SCHEMA!r}")

    def each(self, section: str, taken: Mapping[str, Item], read: Callable[[str, Node], Item]) -> dict[str, Item]:
        """The items of a section that is a mapping from names."""
        found: dict[str, Item] = {}
        for name, node in self.fields[section].fields().items() if section in self.fields else ():
            _refuse_taken(node, name, taken)
            found[name] = read(name, node)
        return found

    def listed(self, section: str, taken: Mapping[str, Item], read: Callable[[Node], Item]) -> dict[str, Item]:
        """The items of a section that is a list, by their ids."""
        found: dict[str, Item] = {}
        for node in self.fields[section].items() if section in self.fields else ():
            name = node.fields(required=("id",))["id"].text()
            _refuse_taken(node, name, {**taken, **found})
            found[name] = read(node)
        return found


def _refuse_taken(node: Node, name: str, taken: Mapping[str, object]) -> None:
    if name in taken:
        raise RuleError(f"{node.file}:{node.line}: {node.path}: the id {name!r} is taken already")


def _source(name: str, node: Node) -> Source:
    fields = node.fields(required=("title", "locator", "read"), optional=())
    return Source(id=name, title=fields["title"].text(), locator=fields["locator"].text(), read=_date(fields["read"]))


def _fact(name: str, node: Node) -> Fact:
    fields = node.fields(required=("kind", "words"), optional=())
    kind = fields["kind"]
    if kind.text() not in _KINDS:
        kind.unknown(kind.text(), tuple(_KINDS))
    if not name.isidentifier() or any(name in supplied for supplied in SUPPLIED.values()):
        node.fail("a name of letters, digits and _ that the auditor does not supply itself")
    return Fact(name=name, kind=_KINDS[kind.text()], words=fields["words"].text())


def _counter(node: Node, names: _Names) -> Counter:
    fields = node.fields(
        required=("id", "title", "counts", "leaves_out", "lines", "builds_on_earlier", "sources"),
        optional=("unseen", "abandoned", "tolerance"),
    )
    lines = tuple(_line(part) for part in fields["lines"])
    for cell in _EVERY_CELL:
        if not any(line.covers(cell) for line in lines):
            fields["lines"].fail(f"a line for every kind of operations; none covers {'/'.join(cell)}")
    percent, digits, tolerance = _tolerance(fields.get("tolerance"))
    return Counter(
        id=fields["id"].text(),
        title=fields["title"].text(),
        counts=fields["counts"].text(),
        leaves_out=fields["leaves_out"].text(),
        lines=lines,
        builds_on_earlier=_words(fields["builds_on_earlier"], Purpose),
        unseen=_texts(fields.get("unseen")),
        abandoned=_word(fields["abandoned"], Treatment) if "abandoned" in fields else Treatment.COUNTED,
        tolerance=tolerance,
        tolerance_percent=percent,
        reported_digits=digits,
        sources=_sources(fields["sources"], names),
    )


def _tolerance(node: Node | None) -> tuple[int, int, str]:
    if node is None:
        return 0, 0, ""
    fields = node.fields(required=("percent", "reported_digits", "words"), optional=())
    return _whole(fields["percent"]), _whole(fields["reported_digits"]), fields["words"].text()


def _line(node: Node) -> Line:
    axes = ("phases", "families", "purposes", "components")
    fields = node.fields(required=("treatment", "why", "certainty"), optional=axes)
    return Line(
        phases=_words(fields.get("phases"), Phase),
        families=_words(fields.get("families"), Family),
        purposes=_words(fields.get("purposes"), Purpose),
        components=_words(fields.get("components"), Component),
        treatment=_word(fields["treatment"], Treatment),
        why=fields["why"].text(),
        certainty=_word(fields["certainty"], Certainty),
    )


_EVERY_RULE = ("id", "kind", "title", "authority", "citation", "checked", "history", "sources", "certainty")
_DATES = ("published", "effective", "compliance", "ended")
_OF_KIND = {
    RuleKind.MODEL_THRESHOLD: ("threshold", "counter"),
    RuleKind.CHIP_CLASS: ("paragraphs",),
    RuleKind.CHIP_TEST: ("paragraphs",),
    RuleKind.CHIP_HOLDER: ("paragraphs",),
}


def _rule(node: Node, names: _Names) -> Rule:
    kind = _word(node.fields(required=("kind",))["kind"], RuleKind)
    fields = node.fields(
        required=(*_EVERY_RULE, *_OF_KIND[kind]),
        optional=(*_DATES, "conditions", "exclusions", "definitions", "notes"),
    )
    known = {**SUPPLIED[kind], **{name: fact.kind for name, fact in names.facts.items()}}
    history = tuple(_status(part, names) for part in fields["history"])
    dates = {name: _date_or_none(fields.get(name)) for name in _DATES}
    _check_dates(fields["history"], history, dates)
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
        checked=_date(fields["checked"]),
        history=history,
        threshold=_threshold(fields["threshold"]) if "threshold" in fields else None,
        counter=_counter_named(fields["counter"], names) if "counter" in fields else None,
        conditions=_clauses(fields.get("conditions"), known, names),
        exclusions=_clauses(fields.get("exclusions"), known, names),
        paragraphs=_paragraphs(fields.get("paragraphs"), known),
        definitions={name: part.text() for name, part in _mapping(fields.get("definitions")).items()},
        notes=_texts(fields.get("notes")),
        sources=_sources(fields["sources"], names),
        certainty=_word(fields["certainty"], Certainty),
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


def _counter_named(node: Node, names: _Names) -> Counter:
    if node.text() not in names.counters:
        node.unknown(node.text(), tuple(names.counters))
    return names.counters[node.text()]


def _status(node: Node, names: _Names) -> Status:
    fields = node.fields(required=("date", "status", "enforced", "note", "sources", "certainty"), optional=())
    standing = _word(fields["status"], Standing)
    enforced = None if fields["enforced"].text() == "unknown" else fields["enforced"].flag()
    if enforced and standing is not Standing.IN_FORCE:
        fields["enforced"].fail(f"false or unknown for the status {standing}")
    return Status(
        since=_date(fields["date"]),
        standing=standing,
        enforced=enforced,
        note=fields["note"].text(),
        sources=_sources(fields["sources"], names),
        certainty=_word(fields["certainty"], Certainty),
    )


def _check_dates(node: Node, history: Sequence[Status], dates: Mapping[str, date | None]) -> None:
    if not history:
        node.fail("at least one status")
    days = [status.since for status in history]
    if days != sorted(set(days)):
        node.fail("dates that rise from one status to the next")
    effective, compliance, ended = dates["effective"], dates["compliance"], dates["ended"]
    if effective is not None and not any(
        status.since == effective and status.standing is Standing.IN_FORCE for status in history
    ):
        node.fail(f"the status in_force on the effective date {effective}")
    if compliance is not None and (effective is None or compliance < effective):
        node.fail(f"a compliance date not before the effective date, with compliance on {compliance}")
    last = history[-1]
    if (last.standing in ENDED and effective is not None) != (ended is not None) or (
        ended is not None and ended != last.since
    ):
        node.fail(f"an ended date that is the day of the last status, with {last.standing} on {last.since}")


def _clauses(node: Node | None, known: Mapping[str, Kind], names: _Names) -> tuple[Clause, ...]:
    clauses: dict[str, Clause] = {}
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("id", "words", "when", "sources", "certainty"), optional=())
        name = fields["id"].text()
        _refuse_taken(part, name, clauses)
        clauses[name] = Clause(
            id=name,
            words=fields["words"].text(),
            when=_expression(fields["when"], known),
            sources=_sources(fields["sources"], names),
            certainty=_word(fields["certainty"], Certainty),
        )
    return tuple(clauses.values())


def _paragraphs(node: Node | None, known: Mapping[str, Kind]) -> tuple[Paragraph, ...]:
    paragraphs: dict[str, Paragraph] = {}
    for part in node.items() if node is not None else ():
        fields = part.fields(required=("outcome", "id", "when"), optional=())
        name = fields["id"].text()
        _refuse_taken(part, name, paragraphs)
        when = _expression(fields["when"], known)
        paragraphs[name] = Paragraph(outcome=fields["outcome"].text(), id=name, when=when)
    return tuple(paragraphs.values())


def _expression(node: Node, known: Mapping[str, Kind]) -> Expression:
    try:
        return parse(node.text(), known)
    except RuleError as error:
        raise RuleError(f"{node.file}:{node.line}: {node.path}: {error}", remedy=error.remedy) from error


def _sources(node: Node, names: _Names) -> tuple[str, ...]:
    for part in node:
        if part.text() not in names.sources:
            part.unknown(part.text(), tuple(names.sources))
    if not node.items():
        node.fail("at least one source")
    return tuple(part.text() for part in node)


def _mapping(node: Node | None) -> dict[str, Node]:
    return {} if node is None else node.fields()


def _texts(node: Node | None) -> tuple[str, ...]:
    return () if node is None else tuple(part.text() for part in node)


def _words(node: Node | None, words: type[Word]) -> frozenset[Word]:
    return frozenset() if node is None else frozenset(_word(part, words) for part in node)


def _word(node: Node, words: type[Word]) -> Word:
    try:
        return words(node.text())
    except ValueError:
        node.unknown(node.text(), tuple(map(str, words)))


def _whole(node: Node) -> int:
    text = node.text()
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        node.fail("a whole number")
    return int(text)


def _date(node: Node) -> date:
    try:
        return date.fromisoformat(node.text())
    except ValueError:
        node.fail("a date such as 2025-05-15")


def _date_or_none(node: Node | None) -> date | None:
    return None if node is None or node.value is None else _date(node)
