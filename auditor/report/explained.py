"""Why one rule answers as it does, drawn: its tests, each operand with its origin, and what would change the answer."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from auditor.report.layout import Block, Bullets, Heading, Pairs, Paragraph
from auditor.report.words import listing, plural, powers, status_words
from auditor.rules.expressions import Members, Unit
from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditor.rules.cases import Subject
    from auditor.rules.changes import Change
    from auditor.rules.explaining import Explanation, Operand
    from auditor.rules.expressions import Result
    from auditor.rules.model import Duty, Rule

_ANSWERS = {True: "yes", False: "no", None: "open"}
_MOST_MEMBERS = 8


def blocks(found: Explanation, subject: Subject, expected: str = "") -> Iterator[Block]:
    """The page on one rule. ``expected``: when its line is reached, in a sentence; "" where it has none."""
    rule = found.rule
    binds = "binds" if rule.binds_on(subject.as_of, subject.mode) else "does not bind"
    yield Heading(f"{powers(rule.title)} ({rule.id})")
    yield Pairs(
        (
            ("answer", f"{found.outcome}; the rule {binds} on {subject.as_of}, {subject.mode.replace('_', ' ')}"),
            *((("expected", expected),) if expected else ()),
            ("authority", rule.authority),
            ("citation", rule.citation),
            ("status", f"{status_words(rule.status_on(subject.as_of).standing)}: {rule.note_on(subject.as_of)}"),
            *_history(rule, subject),
        )
    )
    yield Heading("Tests")
    yield Pairs(
        tuple(
            row
            for test in found.tests
            for row in ((_ANSWERS[test.answer], f"{test.role}, {test.id}:"), ("", test.text))
        )
    )
    yield Heading("Operands")
    yield Pairs(tuple((one.name, f"{_shown(one.result, one.unit)}; {one.origin}") for one in found.operands))
    yield Heading("What would change the answer")
    yield Bullets(
        tuple(map(change_words, found.changes)) or ("No single value: the answer stands whatever is changed.",)
    )
    if found.total is not None:
        yield Heading("What was counted")
        counter = found.total.counter
        law = (counter.synthetic_data.words,) if counter.synthetic_data else ()
        yield Bullets((found.total.words(), counter.counts, counter.leaves_out, *law, *found.total.reasons))
    yield from _texts(rule, subject)


def _history(rule: Rule, subject: Subject) -> Iterator[tuple[str, str]]:
    for status in rule.history:
        if status.since <= subject.as_of:
            sources = subject.ruleset.cite(status.sources)
            yield "", f"{status.since}: {status_words(status.standing)}. {status.note} [{status.certainty}] {sources}"
    for one in rule.milestones:
        yield "", f"{one.day}: {one.words} [{one.certainty}]"


def _duty_words(duty: Duty, subject: Subject) -> str:
    """What is to be done by when, of whom it is asked, and where that is written."""
    begins = " or ".join(one.replace("_", " ") for one in duty.begins)
    by = f"By {duty.day}" if duty.day else f"Within {plural(duty.within_days, 'day')} of: {begins}"
    asked = f" Asked where: {duty.when.text}." if duty.when else ""
    return f"{by}. {duty.words}{asked} [{duty.certainty}] {subject.ruleset.cite(duty.sources)}"


def _texts(rule: Rule, subject: Subject) -> Iterator[Block]:
    if rule.duties:
        yield Heading("What falls due")
        yield Pairs(tuple((duty.id, _duty_words(duty, subject)) for duty in rule.duties))
    values = rule.values_on(subject.as_of)
    if values:
        yield Heading("Numbers that it prints")
        yield Pairs(tuple((name, f"{_text(one.amount)} {one.unit}") for name, one in values.items()))
    if rule.definitions:
        yield Heading("Definitions")
        yield Pairs(tuple(rule.definitions.items()))
    if rule.notes:
        yield Heading("Notes")
        yield Bullets(rule.notes)
    yield Paragraph(f"Certainty: {rule.certainty}. Sources: {subject.ruleset.cite(rule.sources)}.")


def change_words(change: Change) -> str:
    """If this were so, the answer would be that."""
    if change.countries:
        others = f" ({plural(change.countries, 'country')} lead there)".replace("countrys", "countries")
        return f"If {change.name} were {change.to}{others}: {change.outcome}."
    if change.more:
        further = "more" if change.more > 0 else "less"
        return f"If {change.name} were {_text(change.to)} ({_text(abs(change.more))} {further}): {change.outcome}."
    return f"If {change.name} were {_text(change.to)}: {change.outcome}."


def _text(value: bool | str | Fraction) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value.numerator:,}" if value.denominator == 1 else f"{float(value):,.6g}"


def _shown(result: Result, unit: Unit | None) -> str:
    value = result.value
    if isinstance(value, Members):
        return listing(sorted(value.inside), _MOST_MEMBERS) or "nobody"
    if isinstance(value, Range):
        suffix = "" if unit in (None, Unit.RATIO) else f" {unit}"
        return f"{_span(value)}{suffix}"
    return "open" if value is None else _text(value)


def _span(value: Range) -> str:
    if value.low is not None and value.low == value.high:
        return _text(value.low)
    low = "" if value.low is None else f"at least {_text(value.low)}"
    high = "" if value.high is None else f"at most {_text(value.high)}"
    return " and ".join(filter(None, (low, high))) or "open"


def to_plain(found: Explanation) -> dict[str, Any]:
    """The explanation as lists and mappings; numbers are decimal strings."""
    return {
        "rule": found.rule.id,
        "answer": found.outcome,
        "tests": [{"part": one.role, "id": one.id, "test": one.text, "holds": one.answer} for one in found.tests],
        "operands": [_operand(one) for one in found.operands],
        "changes": [
            {
                "name": one.name,
                "to": _wire(one.to),
                "more": None if one.more is None else _wire(one.more),
                "answer": one.outcome,
                "countries": one.countries,
            }
            for one in found.changes
        ],
        "history": [
            {"date": one.since.isoformat(), "status": str(one.standing), "note": one.note} for one in found.rule.history
        ],
    }


def _operand(one: Operand) -> dict[str, Any]:
    value = one.result.value
    low, high = (value.low, value.high) if isinstance(value, Range) else (None, None)
    return {
        "name": one.name,
        "value": value if isinstance(value, (bool, str)) else None,
        "lowest": None if low is None else _wire(low),
        "highest": None if high is None else _wire(high),
        "members": sorted(value.inside) if isinstance(value, Members) else None,
        "unit": None if one.unit is None else str(one.unit),
        "origin": one.origin,
    }


def _wire(value: bool | str | Fraction) -> bool | str:
    if not isinstance(value, Fraction):
        return value
    if value.denominator == 1:
        return str(value.numerator)
    return f"{value.numerator}/{value.denominator}"
