"""Which paragraph of the chip controls a circuit meets on a day: one, none, or undetermined and why."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.rules.expressions import Range, Result, Values, any_of
from auditor.rules.model import BINDING, Rule, RuleKind, RuleSet

if TYPE_CHECKING:
    from datetime import date

NONE = "none"
UNDETERMINED = "undetermined"

Known = Decimal | tuple[Decimal, Decimal] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """``eccn``: "3A090.a", "3A090.b", "none" or "undetermined"; ``possible``: what it may be."""

    eccn: str
    paragraph: str  # "3A090.a.1", several with " and ", or ""
    possible: tuple[str, ...]
    reasons: tuple[str, ...]
    rule: str  # id, or "" where no rule is in force
    as_of: date


def classify_chip(
    ruleset: RuleSet, *, tpp: Known, performance_density: Known, data_centre: bool | None, as_of: date
) -> Classification:
    """The paragraph that an integrated circuit meets under the chip rule in force on that day.

    ``tpp``, ``performance_density``: a number, a range (lowest, highest), or None where not known.
    ``data_centre``: whether it was designed or marketed for data centres; None where not known.
    """
    rule = _rule_on(ruleset, as_of)
    if rule is None:
        why = f"No chip rule of the packs that are loaded is in force on {as_of}."
        return _undetermined("", (), (why,), as_of)
    values: Values = {
        "tpp": _number("tpp", tpp),
        "performance_density": _number("performance_density", performance_density),
        "data_centre": Result(data_centre, frozenset() if data_centre is not None else frozenset({"data_centre"})),
    }
    return _walk(rule, values, as_of)


def _walk(rule: Rule, values: Values, as_of: date) -> Classification:
    """The first ECCN with a paragraph that is met; open where an earlier one might still be."""
    excluded = any_of([clause.when.evaluate(values) for clause in rule.exclusions])
    if excluded.value is True:
        words = [clause.words for clause in rule.exclusions if clause.when.evaluate(values).value]
        return _decided(NONE, "", words, rule, as_of)
    possible: list[str] = []
    names: set[str] = set(excluded.open)
    for eccn in dict.fromkeys(paragraph.eccn for paragraph in rule.paragraphs):
        answers = {p.id: p.when.evaluate(values) for p in rule.paragraphs if p.eccn == eccn}
        met = [name for name, answer in answers.items() if answer.value]
        either = any_of(list(answers.values()))
        if met and not possible and excluded.value is False:
            return _decided(eccn, " and ".join(met), [f"It meets {' and '.join(met)}."], rule, as_of)
        if either.value is not False:
            possible.append(eccn)
            names |= either.open
        if met:
            break
    else:
        possible.append(NONE)
    return _left_open(rule, possible, names, excluded, as_of)


def _left_open(rule: Rule, possible: list[str], names: set[str], excluded: Result, as_of: date) -> Classification:
    if possible == [NONE]:
        return _decided(NONE, "", ["It meets none of the paragraphs."], rule, as_of)
    if excluded.value is None and NONE not in possible:
        possible.append(NONE)
    why = f"Not known exactly enough: {', '.join(sorted(_SPOKEN.get(name, name) for name in names))}."
    reasons = (why, f"Possible: {', '.join(possible)}.")
    return _undetermined(rule.id, tuple(possible), reasons, as_of)


_SPOKEN = {
    "tpp": "total processing performance",
    "performance_density": "performance density (die area)",
    "data_centre": "whether it is designed or marketed for data centres",
}


def _decided(eccn: str, paragraph: str, reasons: list[str], rule: Rule, as_of: date) -> Classification:
    return Classification(
        eccn=eccn,
        paragraph=paragraph,
        possible=(eccn,),
        reasons=tuple(reasons),
        rule=rule.id,
        as_of=as_of,
    )


def _undetermined(rule_id: str, possible: tuple[str, ...], reasons: tuple[str, ...], as_of: date) -> Classification:
    return Classification(
        eccn=UNDETERMINED, paragraph="", possible=possible, reasons=reasons, rule=rule_id, as_of=as_of
    )


def _rule_on(ruleset: RuleSet, as_of: date) -> Rule | None:
    rules = [rule for rule in ruleset.rules if rule.kind is RuleKind.CHIP_CLASS]
    return next((rule for rule in rules if rule.status_on(as_of).standing in BINDING), None)


def _number(name: str, known: Known) -> Result:
    if known is None:
        return Result(None, frozenset({name}))
    if isinstance(known, Decimal):
        return Result(Range.exactly(known))
    low, high = known
    open_names = frozenset({name}) if low != high else frozenset[str]()
    return Result(Range(Range.exactly(low).low, Range.exactly(high).high), open_names)
