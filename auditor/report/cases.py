"""What rules about a transaction, a party or a use come to, in groups: what follows first, what is out last."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from auditor.report.layout import Block, Bullets, Heading, Paragraph, Table
from auditor.report.words import listing, powers, standing_words
from auditor.rules.model import HOLDING
from auditor.rules.paragraphs import NONE, UNDETERMINED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditor.rules.cases import Case, Subject


class Weight(StrEnum):
    """How much a case has to do with the record, the most first."""

    FOLLOWS = "What follows from other rules"
    OPEN_BY_RECORD = "Open, and this record bears on it"
    OPEN = "Asked of a transaction or a party, which no record shows"
    NOTHING = "Nothing follows from these"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What would decide: a name, and what it asks; "" where the record or a rule answers it."""

    name: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a case test comes to on a day."""

    id: str
    title: str
    authority: str
    status: str  # in words
    status_note: str
    outcome: str
    possible: tuple[str, ...]
    paragraphs: tuple[str, ...]
    binds: bool
    counted: str  # of the record, in a sentence; "" where nothing is counted
    questions: tuple[Question, ...]
    notes: tuple[str, ...]
    source: str
    certainty: str
    weight: Weight


Groups = tuple[tuple[Weight, tuple[Found, ...]], ...]


def grouped(cases: Iterable[Case], subject: Subject) -> Groups:
    """The cases that hold on that day, in groups; in each those that bind first."""
    found = [_found(one, subject) for one in cases if one.rule.status_on(subject.as_of).standing in HOLDING]
    ranked = sorted(found, key=lambda one: not one.binds)
    groups = ((weight, tuple(one for one in ranked if one.weight is weight)) for weight in Weight)
    return tuple((weight, several) for weight, several in groups if several)


def _found(case: Case, subject: Subject) -> Found:
    rule, status, facts = case.rule, case.rule.status_on(subject.as_of), subject.ruleset.facts
    open_names = sorted(case.walked.open)
    return Found(
        id=rule.id,
        title=rule.title,
        authority=rule.authority,
        status=standing_words(str(status.standing), status.fines_held_back),
        status_note=rule.note_on(subject.as_of),
        outcome=case.walked.outcome,
        possible=case.walked.possible,
        paragraphs=(*case.walked.met, *case.walked.left_out),
        binds=case.binds,
        counted=case.total.words() if case.total is not None else "",
        questions=tuple(Question(name=one, words=facts[one].words if one in facts else "") for one in open_names),
        notes=rule.notes,
        source=f"{rule.citation}; {subject.ruleset.cite(rule.sources_by(subject.as_of))}",
        certainty=str(rule.certainty),
        weight=_weight(case, subject),
    )


def _weight(case: Case, subject: Subject) -> Weight:
    if case.walked.possible == (NONE,):
        return Weight.NOTHING
    if case.walked.outcome != UNDETERMINED:
        return Weight.FOLLOWS
    facts = subject.ruleset.facts
    named = {name for expression in case.rule.expressions for name in expression.names}
    bears = case.total is not None or any(name in facts and facts[name].verdict_of for name in named)
    return Weight.OPEN_BY_RECORD if bears else Weight.OPEN


def blocks(groups: Groups) -> Iterator[Block]:
    """The groups as text: what follows and what is open in tables, the rest by name."""
    if not groups:
        return
    yield Heading("What other rules ask")
    for weight, several in groups:
        yield Paragraph(f"{weight}:", "strong")
        if weight is Weight.NOTHING:
            yield Bullets(tuple(f"{powers(one.title)} ({one.id})" for one in several))
        else:
            yield _table(several)
    yield Paragraph(
        "--answers FILE gives answers; `auditor check --explain RULE` asks the questions and says what would change.",
        "quiet",
    )


def _table(several: Sequence[Found]) -> Table:
    rows = tuple(
        (one.id, outcome_words(one), "yes" if one.binds else "no", listing([q.name for q in one.questions], 3))
        for one in several
    )
    return Table(("rule", "outcome", "binds", "would be decided by"), rows, flexible=3)


def outcome_words(one: Found) -> str:
    """The outcome; where it is open, what it may be."""
    if one.outcome != UNDETERMINED:
        return one.outcome
    return f"open: {', or '.join('nothing' if outcome == NONE else outcome for outcome in one.possible)}"


def to_plain(groups: Groups) -> list[dict[str, Any]]:
    """The cases, the most relevant first, as lists and mappings."""
    return [_plain(one) for _, several in groups for one in several]


def _plain(one: Found) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "group": one.weight.name.lower(),
        "status": one.status,
        "status_note": one.status_note,
        "outcome": one.outcome,
        "possible": list(one.possible),
        "paragraphs": list(one.paragraphs),
        "binds": one.binds,
        "in_words": one.counted or None,
        "open": [{"name": question.name, "asks": question.words or None} for question in one.questions],
        "source": one.source,
        "certainty": one.certainty,
    }
