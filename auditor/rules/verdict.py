"""What each rule says of a run: how much it counts, how near its line that is, and a three-valued verdict.

A verdict of "not reached" needs a whole count. Where operations may be missing, or the law may count more
than the record shows, an amount below the line is undetermined; an amount at the line is reached all the
same, because more cannot undo it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import TYPE_CHECKING

from auditor.errors import RuleError
from auditor.rules.expressions import Result, all_of
from auditor.rules.facts import printed, read_answers
from auditor.rules.model import HOLDING, Mode, RuleKind
from auditor.rules.ranges import Range, less, opposite
from auditor.rules.totals import Total, total
from auditor.units import scientific

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from auditor.operations import Operations
    from auditor.rules.ancestors import Ancestor
    from auditor.rules.counter import Counter
    from auditor.rules.expressions import Values
    from auditor.rules.generators import Generator
    from auditor.rules.model import Clause, Rule, RuleSet, Threshold

__all__ = ["Finding", "Judged", "Verdict", "applies", "evaluate", "judge", "line_reached"]


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
    fines_held_back: bool
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
    in_words: str  # what of the records was counted and what left out, in a sentence
    source: str
    certainty: str  # of the rule's text
    status_certainty: str  # of where it stands
    mode: str  # a `Mode`
    binds: bool  # on that day, in that mode
    applies: bool | None  # the line is reached, every condition is met and no exclusion; None while one is open
    open_names: tuple[str, ...]  # what would decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A finding with what it rests on."""

    rule: Rule
    finding: Finding
    total: Total
    values: Values


def evaluate(
    ruleset: RuleSet,
    operations: Operations,
    *,
    as_of: date,
    facts: Mapping[str, object] | None = None,
    lower_bound: bool = False,
    abandoned: Operations | None = None,
    missing: Sequence[str] = (),
    mode: Mode = Mode.AS_CODIFIED,
    generators: Sequence[Generator] | None = None,
    ancestors: Sequence[Ancestor] = (),
) -> list[Finding]:
    """One finding for each model threshold that is in force, codified or enacted on that day.

    ``facts``: answers to names that packs declare (True, False, a number or its text); a name without an
    answer is open. ``prior_ops``, where a pack declares it, is added to the counted amount. ``lower_bound``:
    operations may be missing from the record (a rank, a gap, time without a counter); operators without a
    price make the count a lower bound by themselves. ``abandoned``: the part of ``operations`` in steps that were
    given up when the run went on from an earlier checkpoint; each counter says whether they count. ``missing``: what
    else makes the count a lower bound, in words. ``mode`` says which of the rules bind; ``generators``: all models
    that made unpublished data for the training, None where nobody says; ``ancestors``: other models, and other runs of
    this one, of which each counter counts what its law does. Raises: RuleError: a fact that no pack declares, or of
    another kind.
    """
    values = read_answers(ruleset, facts or {})
    return [
        judge(
            ruleset,
            rule,
            operations,
            as_of=as_of,
            answers=values,
            lower_bound=lower_bound,
            abandoned=abandoned,
            missing=missing,
            mode=mode,
            generators=generators,
            ancestors=ancestors,
        ).finding
        for rule in ruleset.rules
        if rule.kind is RuleKind.MODEL_THRESHOLD and rule.status_on(as_of).standing in HOLDING
    ]


def judge(
    ruleset: RuleSet,
    rule: Rule,
    operations: Operations,
    *,
    as_of: date,
    answers: Values,
    lower_bound: bool = False,
    abandoned: Operations | None = None,
    missing: Sequence[str] = (),
    mode: Mode = Mode.AS_CODIFIED,
    generators: Sequence[Generator] | None = None,
    ancestors: Sequence[Ancestor] = (),
) -> Judged:
    """The finding of one model threshold, in force or not, with what it rests on.

    ``answers``: as `facts.read_answers` reads them; the others as `evaluate` has them.
    Raises: RuleError: the rule has no line.
    """
    if rule.threshold is None or rule.counter is None:
        raise RuleError(f"{rule.id} has no line to hold a count against")
    summed = total(
        rule.counter,
        operations,
        answers=answers,
        lower_bound=lower_bound,
        abandoned=abandoned,
        missing=missing,
        generators=generators,
        ancestors=ancestors,
    )
    values = {
        **answers,
        **printed(ruleset, rule, as_of),
        **summed.values,
        "threshold_ops": Result(Range.exactly(rule.threshold.ops)),
    }
    case = _Case(ruleset, rule, rule.threshold, rule.counter, as_of, values, summed)
    return Judged(rule=rule, finding=case.finding(mode), total=summed, values=values)


def line_reached(rule: Rule, values: Values) -> Result:
    """Whether the count reaches the line; open where what is missing or undecided could make it."""
    counted, line = values["counted_ops"], values["threshold_ops"]
    if not isinstance(counted.value, Range) or not isinstance(line.value, Range) or rule.threshold is None:
        return Result(None, frozenset({"counted_ops"}))
    if rule.threshold.comparison == ">=":
        answer = opposite(less(counted.value, line.value))
    else:
        answer = less(line.value, counted.value)
    return Result(answer, counted.open if answer is None else frozenset())


def applies(rule: Rule, values: Values) -> Result:
    """Whether the line is reached, with every condition met and no exclusion."""
    return all_of([line_reached(rule, values), *_against(rule, values).met])


def _truth(result: Result) -> bool | None:
    return result.value if isinstance(result.value, bool) else None


@dataclass(frozen=True, slots=True)
class _Case:
    """One rule held against one run."""

    ruleset: RuleSet
    rule: Rule
    threshold: Threshold
    counter: Counter
    as_of: date
    values: Values
    total: Total

    def finding(self, mode: Mode) -> Finding:
        """All that is to be said."""
        rule, status, counted = self.rule, self.rule.status_on(self.as_of), self.total
        reached = _truth(line_reached(rule, self.values))
        against = _against(rule, self.values)
        verdict = _verdict(reached, bool(against.excluding))
        applied = applies(rule, self.values)
        return Finding(
            id=rule.id,
            title=rule.title,
            status=str(status.standing),
            status_note=rule.note_on(self.as_of),
            enforced=status.enforced,
            fines_held_back=status.fines_held_back,
            as_of=self.as_of,
            counted_ops=counted.counted_ops,
            left_out_ops=counted.left_out_ops,
            undetermined_ops=counted.undetermined_ops,
            threshold_ops=self.threshold.ops,
            comparison=self.threshold.comparison,
            fraction=_fraction(counted.counted_ops, self.threshold.ops),
            lower_bound=counted.most_ops != counted.counted_ops,
            line_reached=reached,
            excluded_by=tuple(clause.id for clause, _ in against.excluding),
            open_clauses=tuple(clause.id for clause in against.open),
            verdict=str(verdict),
            reasons=tuple(self._reasons(reached, against)),
            counted_words=self.counter.counts,
            left_out_words=self.counter.leaves_out,
            in_words=self.total.words(),
            source=f"{rule.citation}; {self.ruleset.cite(rule.sources_by(self.as_of))}",
            certainty=str(rule.certainty),
            status_certainty=str(status.certainty),
            mode=str(mode),
            binds=rule.binds_on(self.as_of, mode),
            applies=_truth(applied),
            open_names=tuple(sorted(applied.open)),
        )

    def _reasons(self, reached: bool | None, against: _Against) -> list[str]:
        reasons = [self._line_words(reached), self.total.words()]
        if reached is not False:
            reasons += [f"Left out by the rule: {words}" for _, words in against.excluding]
            reasons += [f"Not answered: {clause.words}" for clause in against.open]
        if reached is not True:
            reasons += [f"The count is a lower bound: {words}." for words in self.total.missing]
            reasons += [f"Not in any record, though the law counts it: {words}." for words in self.counter.unseen]
        return [*reasons, *self.total.reasons, *self._tolerance_words(), *self.rule.notes]

    def _line_words(self, reached: bool | None) -> str:
        counted, line = scientific(self.total.counted_ops), scientific(self.threshold.ops)
        if reached is None:
            return f"{counted} operations are counted, below the line of {line}, but more may count."
        words = "reach" if reached else "do not reach"
        comparison = self.threshold.comparison
        return f"The {counted} operations that are counted {words} the line of {line} ({comparison})."

    def _tolerance_words(self) -> list[str]:
        percent, digits = self.counter.tolerance_percent, self.counter.reported_digits
        if not self.counter.tolerance:
            return []
        counted_ops = self.total.counted_ops
        reasons = [f"{self.counter.tolerance} Reported like that: {scientific(counted_ops, digits)}."]
        within = abs(counted_ops - self.threshold.ops) * 100 <= percent * counted_ops
        if within:
            reasons.append(f"The line lies within {percent} % of the count: an estimate could fall on either side.")
        return reasons


@dataclass(frozen=True, slots=True)
class _Against:
    """What speaks against a rule's applying: what is known, and what nobody has answered."""

    excluding: tuple[tuple[Clause, str], ...]
    open: tuple[Clause, ...]
    met: tuple[Result, ...]  # of each clause: whether it lets the rule apply


def _against(rule: Rule, values: Values) -> _Against:
    excluding: list[tuple[Clause, str]] = []
    still_open: list[Clause] = []
    met: list[Result] = []
    clauses = [(clause, False) for clause in rule.conditions] + [(clause, True) for clause in rule.exclusions]
    for clause, excludes_when in clauses:
        answer, names = clause.when.evaluate(values)
        met.append(Result(None if answer is None else answer is not excludes_when, names))
        if answer is None:
            still_open.append(clause)
        elif answer is excludes_when:
            words = clause.words if excludes_when else f"not met: {clause.words}"
            excluding.append((clause, words))
    return _Against(tuple(excluding), tuple(still_open), tuple(met))


def _verdict(reached: bool | None, excluded: bool) -> Verdict:
    if reached is False or excluded:
        return Verdict.NOT_REACHED
    return Verdict.REACHED if reached else Verdict.UNDETERMINED


def _fraction(part: int, whole: int) -> Decimal:
    with localcontext() as context:
        context.prec = 100
        return Decimal(part) / Decimal(whole)
