"""Why a rule answers as it does: its tests, each operand with where it came from, and what would change the answer."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.errors import RuleError
from auditor.rules.changes import Change, changes
from auditor.rules.expressions import Kind, Name, Result, Unit
from auditor.rules.model import RuleKind
from auditor.rules.paragraphs import walk
from auditor.rules.ranges import Range
from auditor.rules.verdict import applies, line_reached
from auditor.units import threshold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from auditor.rules.cases import Case, Subject
    from auditor.rules.expressions import Values
    from auditor.rules.generators import Generator
    from auditor.rules.model import Rule
    from auditor.rules.totals import Total
    from auditor.rules.verdict import Judged

APPLIES, DOES_NOT_APPLY, UNDETERMINED = "applies", "does not apply", "undetermined"
_COUNTED = Name(Kind.AMOUNT, Unit.OPERATIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test of a rule, as it stands in the pack, and what it comes to."""

    role: str  # "line", "condition", "exclusion", or the outcome of a paragraph
    id: str
    text: str
    answer: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """A name in the tests; ``origin`` says where its value came from, or who could give it."""

    name: str
    result: Result
    unit: Unit | None
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that an answer rests on."""

    rule: Rule
    outcome: str
    tests: tuple[Test, ...]
    operands: tuple[Operand, ...]
    changes: tuple[Change, ...]
    total: Total | None


def explain(subject: Subject, rule: Rule, origins: Mapping[str, str]) -> Explanation:
    """The explanation of a model threshold or a case test. ``origins``: where each answer was given, by name.

    Raises: RuleError: a rule of another kind, which no record of training answers.
    """
    if rule.kind is RuleKind.MODEL_THRESHOLD:
        judged = subject.judge(rule)
        return _explained(subject, judged, outcome=_applies_words, tests=_of_a_line(judged), origins=origins)
    if rule.kind is RuleKind.CASE_TEST:
        case = subject.case(rule)
        return _explained(subject, case, outcome=_outcome, tests=_of_paragraphs(case), origins=origins)
    raise RuleError(
        f"{rule.id} is of the kind {rule.kind}, which asks nothing about a record of training",
        remedy="`auditor hardware show` holds chips against the chip rules.",
    )


def _applies_words(rule: Rule, values: Values) -> str:
    return {True: APPLIES, False: DOES_NOT_APPLY, None: UNDETERMINED}[_truth(applies(rule, values))]


def _outcome(rule: Rule, values: Values) -> str:
    return walk(rule, values).outcome


def _truth(result: Result) -> bool | None:
    return result.value if isinstance(result.value, bool) else None


def _explained(
    subject: Subject,
    held: Judged | Case,
    *,
    outcome: Callable[[Rule, Values], str],
    tests: Iterable[Test],
    origins: Mapping[str, str],
) -> Explanation:
    rule, values, total = held.rule, held.values, held.total
    turns = [turn for expression in rule.expressions for turn in expression.turns_at(values)]
    line = values["threshold_ops"].value if rule.threshold is not None else None
    if isinstance(line, Range):
        turns.append(("counted_ops", line))
    return Explanation(
        rule=rule,
        outcome=outcome(rule, values),
        tests=tuple(tests),
        operands=tuple(_operands(subject, rule, values, total, origins)),
        changes=tuple(changes(_varied(subject, rule), values, turns, lambda changed: outcome(rule, changed))),
        total=total,
    )


def _of_a_line(judged: Judged) -> Iterator[Test]:
    rule, values = judged.rule, judged.values
    if rule.threshold is not None:
        text = f"counted_ops {rule.threshold.comparison} {threshold(rule.threshold.ops)}"
        yield Test(role="line", id=rule.id, text=text, answer=_truth(line_reached(rule, values)))
    for role, clauses in (("condition", rule.conditions), ("exclusion", rule.exclusions)):
        for clause in clauses:
            answer = _truth(clause.when.evaluate(values))
            yield Test(role=role, id=clause.id, text=clause.when.text, answer=answer)


def _of_paragraphs(case: Case) -> Iterator[Test]:
    for part in case.rule.paragraphs:
        answer = _truth(part.when.evaluate(case.values))
        yield Test(role=part.outcome, id=part.id, text=part.when.text, answer=answer)


def _named(rule: Rule) -> list[str]:
    """The names in the rule's tests, the first first."""
    names = ["counted_ops", "threshold_ops"] if rule.threshold is not None else []
    for expression in rule.expressions:
        names += sorted(expression.names, key=expression.text.find)
    return list(dict.fromkeys(names))


def _varied(subject: Subject, rule: Rule) -> dict[str, Name]:
    """What could be otherwise: what was counted, and what somebody answers."""
    facts = subject.ruleset.facts
    counted = dict.fromkeys(("counted_ops", "record_ops"), _COUNTED)
    known = counted | {name: fact.stands_for for name, fact in facts.items()}
    return {name: known[name] for name in _named(rule) if name in known}


def _operands(
    subject: Subject, rule: Rule, values: Values, total: Total | None, origins: Mapping[str, str]
) -> Iterator[Operand]:
    for name in _named(rule):
        result = values.get(name, Result(None, frozenset({name})))
        unit, origin = _origin(subject, rule, name, total, origins)
        yield Operand(name=name, result=result, unit=unit, origin=origin)
    for one in total.generators if total is not None else ():
        yield from _of_generator(one)


def _of_generator(one: Generator) -> Iterator[Operand]:
    """The amounts that the note on generated data asks of a generator."""
    for name, ops, floor in (
        ("trained_on_ops", one.trained_on_ops, False),
        ("generation_ops", one.generation_ops, one.generation_floor),
        ("training_ops", one.training_ops, one.floor),
    ):
        range_ = Range(Fraction(ops), None if floor else Fraction(ops)) if ops is not None else None
        origin = one.origins.get(name, "not stated")
        yield Operand(
            name=f"{name} of {one.name}",
            result=Result(range_, frozenset({name}) if floor or ops is None else frozenset()),
            unit=Unit.OPERATIONS,
            origin=origin,
        )


def _origin(
    subject: Subject, rule: Rule, name: str, total: Total | None, origins: Mapping[str, str]
) -> tuple[Unit | None, str]:
    if total is not None and name in ("counted_ops", "record_ops"):
        return Unit.OPERATIONS, _counted_words(total, name)
    own = _of_the_rule(subject, rule, name)
    if own is not None:
        return own
    if name in subject.ruleset.groups:
        group = subject.ruleset.groups[name]
        return None, f"{group.title}, on {subject.as_of}; {subject.ruleset.cite(group.sources)}"
    fact = subject.ruleset.facts[name]
    if fact.verdict_of:
        return None, f"the verdict of {fact.verdict_of} on this record"
    answered = origins.get(name) or f"not answered: {fact.words}"
    if total is not None and name in total.known and name not in subject.answers:
        answered = f"the records of its ancestors, under the counter {total.counter.id}"
    return fact.stands_for.unit, answered


def _of_the_rule(subject: Subject, rule: Rule, name: str) -> tuple[Unit | None, str] | None:
    """The origin of what the rule itself says; None for another name."""
    if name == "threshold_ops":
        return Unit.OPERATIONS, f"the line of the rule ({rule.citation})"
    if name == "is_named":
        return None, f"the name of this record's model, {subject.model!r}; the rule names {', '.join(rule.models)}"
    printed = [value for value in rule.values if value.name == name]
    if not printed:
        return None
    return printed[0].unit, f"printed by the rule for {subject.as_of}; {subject.ruleset.cite(rule.sources)}"


def _counted_words(total: Total, name: str) -> str:
    counter = f"under the counter {total.counter.id}"
    if name == "record_ops":
        return f"this record alone, {counter}"
    words = f"{counter}: {total.words()}"
    for ops, why in (
        (total.stated_ops, "are added as the lineage states them, for what has no record"),
        (total.prior_ops, "of earlier training are added as stated (prior_ops)"),
        (total.decision.counted_ops, "are added for generated data"),
    ):
        if ops:
            words += f" {ops:,} operations {why}."
    return words
