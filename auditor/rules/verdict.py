"""What each rule says of a run: how much it counts, how near its line that is, and a three-valued verdict.

A verdict of "not reached" needs a whole count. Where operations may be missing, or the law may count more
than the record shows, an amount below the line is undetermined; an amount at the line is reached all the
same, because more cannot undo it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

from auditor.errors import RuleError, UnitError
from auditor.rules.counting import Count, count
from auditor.rules.expressions import Kind, Range, Result, Values
from auditor.rules.model import BINDING, Clause, Counter, Fact, Rule, RuleKind, RuleSet, Standing, Threshold
from auditor.units import parse_exact, scientific

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from auditor.operations import Operations

__all__ = ["Finding", "Verdict", "evaluate"]


class Verdict(StrEnum):
    """Whether a rule's line is reached by a model that the rule speaks of."""

    REACHED = "reached"
    NOT_REACHED = "not reached"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule, one run, one day."""

    id: str
    title: str
    status: str  # a `Standing`
    status_note: str
    enforced: bool | None
    as_of: date
    counted_ops: int
    left_out_ops: int
    undetermined_ops: int
    threshold_ops: int
    comparison: str
    fraction: Decimal  # counted_ops / threshold_ops, exact for a line that is a power of ten
    lower_bound: bool  # more may count than counted_ops
    line_reached: bool | None  # of the count alone
    excluded_by: tuple[str, ...]  # conditions not met, exclusions met
    open_clauses: tuple[str, ...]  # conditions and exclusions that nobody has answered
    verdict: str  # a `Verdict`
    reasons: tuple[str, ...]
    counted_words: str
    left_out_words: str
    source: str
    certainty: str


def evaluate(
    ruleset: RuleSet,
    operations: Operations,
    *,
    as_of: date,
    facts: Mapping[str, object] | None = None,
    lower_bound: bool = False,
    abandoned: Operations | None = None,
    missing: Sequence[str] = (),
) -> list[Finding]:
    """One finding for each model threshold that is in force, codified or enacted on that day.

    ``facts``: answers to names that packs declare (True, False, a number or its text); a name without an
    answer is open. ``prior_ops``, where a pack declares it, is added to the counted amount. ``lower_bound``:
    operations may be missing from the record (a rank, a gap, time without a counter); operators without a
    price make the count a lower bound by themselves. ``abandoned``: the part of ``operations`` in steps that were
    given up when the run went on from an earlier checkpoint; each counter says whether they count.
    ``missing``: what else makes the count a lower bound, in words.
    Raises: RuleError: a fact that no pack declares, or of another kind.
    """
    values = _read_facts(ruleset, facts or {})
    shown = BINDING | {Standing.ENACTED}
    return [
        _Case(
            ruleset,
            rule,
            as_of,
            values,
            operations=operations,
            abandoned=abandoned,
            missing=[*_missing(operations, lower_bound), *missing],
        ).finding()
        for rule in ruleset.rules
        if rule.kind is RuleKind.MODEL_THRESHOLD and rule.status_on(as_of).standing in shown
    ]


class _Case:
    """One rule held against one run."""

    def __init__(
        self,
        ruleset: RuleSet,
        rule: Rule,
        as_of: date,
        values: Mapping[str, Result],
        *,
        operations: Operations,
        abandoned: Operations | None,
        missing: list[str],
    ) -> None:
        threshold, counter = rule.threshold, rule.counter
        if threshold is None or counter is None:
            raise RuleError(f"{rule.id} has no line to hold a count against")
        self.ruleset, self.rule, self.as_of = ruleset, rule, as_of
        self.threshold: Threshold = threshold
        self.counter: Counter = counter
        self.counted: Count = count(counter, operations, abandoned)
        self.prior_ops = _prior(values)
        self.counted_ops = self.counted.counted_ops + (self.prior_ops or 0)
        self.missing = missing
        if self.counted.earlier_missing and self.prior_ops is None:
            self.missing.append("earlier training of the same model counts too, and is not in this record")
        amounts = {"counted_ops": self._amount(), "threshold_ops": Result(Range.exactly(threshold.ops))}
        self.values: Values = {**values, **amounts}

    def _amount(self) -> Result:
        high = None if self.missing else Fraction(self.counted_ops + self.counted.undetermined_ops)
        names = frozenset({"counted_ops"}) if high != self.counted_ops else frozenset[str]()
        return Result(Range(Fraction(self.counted_ops), high), names)

    def line_reached(self) -> bool | None:
        """Whether the count reaches the line; None where what is missing or undecided could make it."""
        if self.threshold.reached_by(self.counted_ops):
            return True
        more_ops = self.counted_ops + self.counted.undetermined_ops
        return None if self.missing or self.threshold.reached_by(more_ops) else False

    def finding(self) -> Finding:
        """All that is to be said."""
        rule, status = self.rule, self.rule.status_on(self.as_of)
        reached = self.line_reached()
        against = _against(rule, self.values)
        verdict = _verdict(reached, bool(against.excluding))
        return Finding(
            id=rule.id,
            title=rule.title,
            status=str(status.standing),
            status_note=rule.note_on(self.as_of),
            enforced=status.enforced,
            as_of=self.as_of,
            counted_ops=self.counted_ops,
            left_out_ops=self.counted.left_out_ops,
            undetermined_ops=self.counted.undetermined_ops,
            threshold_ops=self.threshold.ops,
            comparison=self.threshold.comparison,
            fraction=_fraction(self.counted_ops, self.threshold.ops),
            lower_bound=bool(self.missing or self.counted.undetermined_ops),
            line_reached=reached,
            excluded_by=tuple(clause.id for clause, _ in against.excluding),
            open_clauses=tuple(clause.id for clause in against.open),
            verdict=str(verdict),
            reasons=tuple(self._reasons(reached, against)),
            counted_words=self.counter.counts,
            left_out_words=self.counter.leaves_out,
            source=f"{rule.citation}; {self.ruleset.cite(rule.sources)}",
            certainty=str(rule.certainty),
        )

    def _reasons(self, reached: bool | None, against: _Against) -> list[str]:
        reasons = [self._line_words(reached)]
        if reached is not False:
            reasons += [f"Left out by the rule: {words}" for _, words in against.excluding]
            reasons += [f"Not answered: {clause.words}" for clause in against.open]
        if reached is not True:
            reasons += [f"The count is a lower bound: {words}." for words in self.missing]
            reasons += [f"Not in any record, though the law counts it: {words}." for words in self.counter.unseen]
        for part in self.counted.parts:
            if part.line.treatment == "undetermined":
                reasons.append(f"{scientific(part.amount_ops)} operations may or may not count: {part.line.why}")
        if self.counted.set_aside_ops:
            amount, treatment = scientific(self.counted.set_aside_ops), self.counter.abandoned.replace("_", " ")
            reasons.append(f"{amount} operations of steps that were abandoned are {treatment}.")
        if self.prior_ops:
            reasons.append(f"{scientific(self.prior_ops)} operations of earlier training are added, as stated.")
        reasons += self._tolerance_words()
        return [*reasons, *self.rule.notes]

    def _line_words(self, reached: bool | None) -> str:
        counted, line = scientific(self.counted_ops), scientific(self.threshold.ops)
        if reached is None:
            return f"{counted} operations are counted, below the line of {line}, but more may count."
        words = "reach" if reached else "do not reach"
        comparison = self.threshold.comparison
        return f"The {counted} operations that are counted {words} the line of {line} ({comparison})."

    def _tolerance_words(self) -> list[str]:
        percent, digits = self.counter.tolerance_percent, self.counter.reported_digits
        if not self.counter.tolerance:
            return []
        reasons = [f"{self.counter.tolerance} Reported like that: {scientific(self.counted_ops, digits)}."]
        within = abs(self.counted_ops - self.threshold.ops) * 100 <= percent * self.counted_ops
        if within:
            reasons.append(f"The line lies within {percent} % of the count: an estimate could fall on either side.")
        return reasons


@dataclass(frozen=True, slots=True)
class _Against:
    """What speaks against a rule's applying: what is known, and what nobody has answered."""

    excluding: tuple[tuple[Clause, str], ...]
    open: tuple[Clause, ...]


def _against(rule: Rule, values: Values) -> _Against:
    excluding: list[tuple[Clause, str]] = []
    still_open: list[Clause] = []
    clauses = [(clause, False) for clause in rule.conditions] + [(clause, True) for clause in rule.exclusions]
    for clause, excludes_when in clauses:
        answer = clause.when.evaluate(values).value
        if answer is None:
            still_open.append(clause)
        elif answer is excludes_when:
            words = clause.words if excludes_when else f"not met: {clause.words}"
            excluding.append((clause, words))
    return _Against(tuple(excluding), tuple(still_open))


def _verdict(reached: bool | None, excluded: bool) -> Verdict:
    if reached is False or excluded:
        return Verdict.NOT_REACHED
    return Verdict.REACHED if reached else Verdict.UNDETERMINED


def _missing(operations: Operations, lower_bound: bool) -> list[str]:
    missing = ["parts of the run are not in the record"] if lower_bound else []
    if not operations.complete:
        missing.append(f"{len(operations.unpriced)} operators have no price")
    return missing


def _prior(values: Mapping[str, Result]) -> int | None:
    value = values["prior_ops"].value if "prior_ops" in values else None
    return int(value.low) if isinstance(value, Range) and value.low is not None else None


def _fraction(part: int, whole: int) -> Decimal:
    with localcontext() as context:
        context.prec = 100
        return Decimal(part) / Decimal(whole)


def _read_facts(ruleset: RuleSet, facts: Mapping[str, object]) -> dict[str, Result]:
    values: dict[str, Result] = {}
    for name, answer in facts.items():
        if name not in ruleset.facts:
            known = ", ".join(sorted(ruleset.facts))
            raise RuleError(f"no rule asks for {name!r}", remedy=f"What rules ask for: {known}.")
        if answer is not None:
            values[name] = _read_fact(ruleset.facts[name], answer)
    return values


def _read_fact(fact: Fact, answer: object) -> Result:
    if fact.kind is Kind.TRUTH and isinstance(answer, bool):
        return Result(answer)
    if fact.kind is Kind.TEXT and isinstance(answer, str):
        return Result(answer)
    if fact.kind in (Kind.AMOUNT, Kind.NUMBER) and isinstance(answer, (int, Decimal, str)):
        number = _number(fact, answer)
        if fact.kind is Kind.NUMBER or number >= 0:
            return Result(Range.exactly(number))
    raise RuleError(f"{fact.name}: expected {fact.kind}, got {answer!r}", remedy=f"It asks: {fact.words}")


def _number(fact: Fact, answer: int | Decimal | str) -> Decimal:
    try:
        if not isinstance(answer, bool):
            return parse_exact(str(answer))
    except UnitError:
        pass
    raise RuleError(f"{fact.name}: expected {fact.kind}, got {answer!r}", remedy=f"It asks: {fact.words}")
