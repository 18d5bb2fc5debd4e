"""What the chip rules make of a circuit on a day: its class, what follows from it, and the class of what holds it.

A circuit may be one of several, and each of its figures a number, a range or unknown. An answer is certain where all
that is left open leads to the same; else it is undetermined, with what is possible and what would decide it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from auditor.rules.circuits import Circuit, values_of
from auditor.rules.expressions import Result, Values
from auditor.rules.model import BINDING, Rule, RuleKind, RuleSet, Standing
from auditor.rules.paragraphs import NONE, UNDETERMINED, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

__all__ = ["NONE", "NO_RULE", "UNDETERMINED", "Answer", "answers", "class_rule", "classify", "holder", "tested"]

NO_RULE = "no rule"  # none gives a class on that day


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``outcome``: "3A090.a" or what else the rule leads to, "none", "undetermined" or "no rule".

    ``possible``: what it may be; nothing where no rule was asked.
    """

    outcome: str
    paragraph: str  # "3A090.a.1", several with " and ", or ""
    possible: tuple[str, ...]
    reasons: tuple[str, ...]
    rule: str  # id, or "" where no rule is in force
    title: str
    standing: str  # a `Standing`
    note: str  # on its standing
    enforced: bool | None
    certainty: str
    as_of: date


def classify(ruleset: RuleSet, circuits: Sequence[Circuit], *, as_of: date) -> Answer:
    """The class of a circuit, which is one of ``circuits``, under the rule in force on that day."""
    rule = class_rule(ruleset, as_of=as_of)
    if rule is None:
        return _without_a_rule(ruleset, as_of)
    return _united([_walk(rule, values_of(circuit), as_of) for circuit in circuits or (Circuit(),)], _SEVERAL)


def class_rule(ruleset: RuleSet, *, as_of: date) -> Rule | None:
    """The rule that gives a circuit its class on that day, where there is one."""
    return next((rule for rule in _rules(ruleset, RuleKind.CHIP_CLASS) if _binds(rule, as_of)), None)


def tested(ruleset: RuleSet, *, as_of: date) -> tuple[str, ...]:
    """The figures of a circuit that the tests of that rule use, in the order of `Circuit`."""
    rule = class_rule(ruleset, as_of=as_of)
    tests = [one.when for one in rule.paragraphs] + [one.when for one in rule.exclusions] if rule else []
    used = frozenset[str]().union(*(test.names for test in tests))
    return tuple(one.name for one in fields(Circuit) if one.name in used)


def answers(ruleset: RuleSet, circuits: Sequence[Circuit], *, as_of: date) -> tuple[Answer, ...]:
    """What every chip rule that was published by then says of the circuit, in force or not, the oldest first.

    Tests that turn on the class take that of the rule in force on the day.
    """
    kinds = (RuleKind.CHIP_CLASS, RuleKind.CHIP_TEST)
    known = [
        rule
        for rule in ruleset.rules
        if rule.kind in kinds and rule.status_on(as_of).standing is not Standing.NOT_YET_PUBLISHED
    ]
    known.sort(key=lambda rule: rule.history[0].since)
    return tuple(_answer(ruleset, rule, circuits or (Circuit(),), as_of) for rule in known)


def holder(ruleset: RuleSet, classes: Sequence[Answer], *, as_of: date) -> Answer | None:
    """The class of what holds circuits of these classes, each judged by itself; None where no rule says.

    Undetermined on a day whose circuits have a class, and whose text on what holds them the packs lack.
    """
    rule = next((rule for rule in _rules(ruleset, RuleKind.CHIP_HOLDER) if _binds(rule, as_of)), None)
    if not classes:
        return None
    if rule is None:
        return _without_its_text(ruleset, as_of)
    each = [
        _united([_walk(rule, _classed(eccn), as_of) for eccn in one.possible or (None,)], _CLASS_OPEN)
        for one in classes
    ]
    ranks = [*dict.fromkeys(paragraph.outcome for paragraph in rule.paragraphs), NONE]
    possible = {NONE}
    for one in each:
        possible = {min(left, right, key=ranks.index) for left in possible for right in one.possible}
    found = tuple(outcome for outcome in ranks if outcome in possible)
    if found == (NONE,):
        return _made(rule, found, ("No circuit in it meets a paragraph.",), as_of)
    if len(found) == 1:
        words = f"It meets {found[0]}: each circuit is judged by itself."
        return _made(rule, found, (words, *rule.notes), as_of, paragraph=found[0])
    words = f"The class of a circuit in it is open. Possible: {', '.join(found)}."
    return _made(rule, found, (words, *rule.notes), as_of)


def _answer(ruleset: RuleSet, rule: Rule, circuits: Sequence[Circuit], as_of: date) -> Answer:
    found = []
    for circuit in circuits:
        values = values_of(circuit)
        if rule.kind is RuleKind.CHIP_CLASS:
            found.append(_walk(rule, values, as_of))
        else:
            eccns = classify(ruleset, [circuit], as_of=as_of).possible or (None,)
            found += [_walk(rule, {**values, **_classed(eccn)}, as_of) for eccn in eccns]
    united = _united(found, _SEVERAL if len(found) == len(circuits) else _CLASS_OPEN)
    return replace(united, reasons=(*united.reasons, *rule.notes))


def _rules(ruleset: RuleSet, kind: RuleKind) -> list[Rule]:
    return [rule for rule in ruleset.rules if rule.kind is kind]


def _binds(rule: Rule, as_of: date) -> bool:
    return rule.status_on(as_of).standing in BINDING


def _walk(rule: Rule, values: Values, as_of: date) -> Answer:
    found = walk(rule, values)
    if found.left_out:
        return _made(rule, found.possible, found.left_out, as_of)
    if found.possible == (NONE,):
        return _made(rule, found.possible, ["It meets none of the paragraphs."], as_of)
    if found.met:
        met = " and ".join(found.met)
        return _made(rule, found.possible, [f"It meets {met}."], as_of, paragraph=met)
    why = f"Not known exactly enough: {', '.join(sorted(_SPOKEN.get(name, name) for name in found.open))}."
    return _made(rule, found.possible, (why, f"Possible: {', '.join(found.possible)}."), as_of)


_SPOKEN = {
    "tpp": "total processing performance",
    "rates": "total processing performance (dense peak rates)",
    "die_area": "performance density (die area)",
    "data_centre": "whether it is designed or marketed for data centres",
    "io_gb_per_s": "the transfer rate of its inputs and outputs",
    "performance_density": "performance density",
    "link_gb_per_s": "the transfer rate to other accelerators",
    "memory_gb_per_s": "memory bandwidth",
    "memory_gb_per_s_per_mm2": "memory bandwidth per area of the stack",
    "peak_tera": "peak rate",
    "eccn": "the class of the circuit",
}


_SEVERAL = "It may be one of several circuits."
_CLASS_OPEN = "The class of the circuit is open."


def _united(found: Sequence[Answer], why_open: str) -> Answer:
    """One answer for what may be any of several; they answer the same rule on the same day."""
    outcomes = {one.outcome for one in found}
    if outcomes == {found[0].outcome} and found[0].outcome != UNDETERMINED:
        paragraphs = " or ".join(_unique(one.paragraph for one in found if one.paragraph))
        reasons = tuple(_unique(reason for one in found for reason in one.reasons))
        return replace(found[0], paragraph=paragraphs, reasons=reasons)
    if len(found) == 1:
        return found[0]
    possible = tuple(_unique(outcome for one in found for outcome in one.possible))
    why = _unique(one.reasons[0] for one in found if one.outcome == UNDETERMINED)
    reasons = (*(why or [why_open]), f"Possible: {', '.join(possible)}.")
    return replace(found[0], outcome=UNDETERMINED, paragraph="", possible=possible, reasons=reasons)


def _unique(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def _made(rule: Rule, possible: Sequence[str], reasons: Sequence[str], as_of: date, *, paragraph: str = "") -> Answer:
    """The outcome where only one is possible, else undetermined."""
    status = rule.status_on(as_of)
    return Answer(
        outcome=possible[0] if len(possible) == 1 else UNDETERMINED,
        paragraph=paragraph,
        possible=tuple(possible),
        reasons=tuple(reasons),
        rule=rule.id,
        title=rule.title,
        standing=str(status.standing),
        note=rule.note_on(as_of),
        enforced=status.enforced,
        certainty=str(rule.certainty),
        as_of=as_of,
    )


def _without_a_rule(ruleset: RuleSet, as_of: date) -> Answer:
    first = min(
        (since for rule in _rules(ruleset, RuleKind.CHIP_CLASS) for since in _binding_since(rule)), default=None
    )
    if first is not None and as_of < first:
        return unanswered(NO_RULE, f"No chip rule yet on {as_of}: the first is in force from {first} on.", as_of)
    return unanswered(NO_RULE, f"No chip rule of the packs that are loaded is in force on {as_of}.", as_of)


def _without_its_text(ruleset: RuleSet, as_of: date) -> Answer | None:
    later = next((rule for rule in _rules(ruleset, RuleKind.CHIP_HOLDER) if as_of < rule.history[0].since), None)
    if later is None or class_rule(ruleset, as_of=as_of) is None:
        return None
    subject, since = later.title.partition(",")[0], later.history[0].since
    return unanswered(
        UNDETERMINED, f"The text of {subject} of that day is not held here, only that since {since}.", as_of
    )


def _binding_since(rule: Rule) -> list[date]:
    return [status.since for status in rule.history if status.standing in BINDING]


def unanswered(outcome: str, reason: str, as_of: date) -> Answer:
    """What is said where no rule was asked, and why none was."""
    return Answer(
        outcome=outcome,
        paragraph="",
        possible=(),
        reasons=(reason,),
        rule="",
        title="",
        standing=str(Standing.NOT_YET_PUBLISHED),
        note="",
        enforced=False,
        certainty="",
        as_of=as_of,
    )


def _classed(eccn: str | None) -> dict[str, Result]:
    return {"eccn": Result(eccn, frozenset() if eccn else frozenset({"eccn"}))}
