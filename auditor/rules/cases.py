"""Rules about a transaction, a party or a use: held against what somebody answers, and what was counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.rules.expressions import Result
from auditor.rules.facts import printed
from auditor.rules.model import HOLDING, Mode, RuleKind
from auditor.rules.paragraphs import walk
from auditor.rules.totals import Total, total
from auditor.rules.verdict import Judged, judge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from auditor.operations import Operations
    from auditor.rules.ancestors import Ancestor
    from auditor.rules.expressions import Values
    from auditor.rules.generators import Generator
    from auditor.rules.model import Rule, RuleSet
    from auditor.rules.paragraphs import Walked


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a rule comes to, and what that rests on. ``total`` is None where nothing is counted."""

    rule: Rule
    walked: Walked
    binds: bool
    total: Total | None
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What rules are held against: a record, a day, a mode, and what was answered."""

    ruleset: RuleSet
    operations: Operations
    as_of: date
    answers: Values
    mode: Mode = Mode.AS_CODIFIED
    lower_bound: bool = False
    abandoned: Operations | None = None
    missing: Sequence[str] = ()
    generators: Sequence[Generator] | None = None
    ancestors: Sequence[Ancestor] = ()
    model: str = ""  # its name

    def verdicts(self) -> dict[str, Result]:
        """The names that the verdict of a model threshold answers; no where the rule does not hold on that day."""
        found: dict[str, Result] = {}
        for name, fact in self.ruleset.facts.items():
            if not fact.verdict_of:
                continue
            rule = self.ruleset.find(fact.verdict_of)
            finding = self.judge(rule).finding
            if rule.status_on(self.as_of).standing in HOLDING:
                found[name] = Result(finding.applies, frozenset(finding.open_names))
            else:
                found[name] = Result(False)
        return found

    def judge(self, rule: Rule) -> Judged:
        """The finding of a model threshold."""
        return judge(
            self.ruleset,
            rule,
            self.operations,
            as_of=self.as_of,
            answers=self.answers,
            lower_bound=self.lower_bound,
            abandoned=self.abandoned,
            missing=self.missing,
            mode=self.mode,
            generators=self.generators,
            ancestors=self.ancestors,
        )

    def case(self, rule: Rule, verdicts: Values | None = None) -> Case:
        """The outcome of a case test. ``verdicts``: as `verdicts` gives them, where they are known already."""
        values = {**self.answers, **(self.verdicts() if verdicts is None else verdicts)}
        values |= printed(self.ruleset, rule, self.as_of)
        if rule.models:
            values["is_named"] = Result(self.model in rule.models)
        summed = None
        if rule.counter is not None:
            summed = total(
                rule.counter,
                self.operations,
                answers=self.answers,
                lower_bound=self.lower_bound,
                abandoned=self.abandoned,
                missing=self.missing,
                generators=self.generators,
                ancestors=self.ancestors,
            )
            values = {**summed.known, **values, **summed.values}
        binds = rule.binds_on(self.as_of, self.mode)
        return Case(rule=rule, walked=walk(rule, values), binds=binds, total=summed, values=values)

    def judged(self) -> list[Judged]:
        """Every model threshold that is in force, codified or enacted on that day."""
        thresholds = [rule for rule in self.ruleset.rules if rule.kind is RuleKind.MODEL_THRESHOLD]
        return [self.judge(rule) for rule in thresholds if rule.status_on(self.as_of).standing in HOLDING]

    def cases(self) -> list[Case]:
        """Every case test, in force or not."""
        verdicts = self.verdicts()
        return [self.case(rule, verdicts) for rule in self.ruleset.rules if rule.kind is RuleKind.CASE_TEST]
