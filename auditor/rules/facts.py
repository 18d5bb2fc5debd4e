"""What somebody answers where no record shows it: read against what the packs ask for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from auditor.errors import RuleError, UnitError
from auditor.rules import countries
from auditor.rules.expressions import Kind, Result
from auditor.rules.ranges import Range
from auditor.units import parse_exact, without_groups

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from auditor.rules.model import Fact, Rule, RuleSet


def read_answers(ruleset: RuleSet, answers: Mapping[str, object]) -> dict[str, Result]:
    """The answers as expressions take them: True, False, a number or its text, text, a country's code.

    A name whose answer is None is open. Raises: RuleError: a name that no pack asks for, or an answer of another kind.
    """
    values: dict[str, Result] = {}
    for name, answer in answers.items():
        if name not in ruleset.facts:
            known = ", ".join(sorted(ruleset.facts))
            raise RuleError(f"no rule asks for {name!r}", remedy=f"What rules ask for: {known}.")
        if answer is not None:
            values[name] = _read_answer(ruleset.facts[name], answer)
    return values


def printed(ruleset: RuleSet, rule: Rule, as_of: date) -> dict[str, Result]:
    """The groups of countries on a day, and the numbers that the rule prints for it."""
    found = {name: Result(group.on(as_of)) for name, group in ruleset.groups.items()}
    for name, value in rule.values_on(as_of).items():
        found[name] = Result(Range.exactly(value.amount))
    return found


def _read_answer(fact: Fact, answer: object) -> Result:
    kind = fact.kind
    if fact.verdict_of:
        raise RuleError(f"{fact.name} is answered by the rule {fact.verdict_of}", remedy="Leave it out.")
    if (kind is Kind.TRUTH and isinstance(answer, bool)) or (kind is Kind.TEXT and isinstance(answer, str)):
        return Result(answer)
    if kind is Kind.COUNTRY and isinstance(answer, str):
        if answer not in countries.CODES:
            raise RuleError(f"{fact.name}: unknown country {answer!r}; {countries.near(answer)}")
        return Result(answer)
    if kind in (Kind.AMOUNT, Kind.NUMBER) and isinstance(answer, (int, Decimal, str)):
        number = _number(fact, answer)
        if kind is Kind.NUMBER or number >= 0:
            return Result(Range.exactly(number))
    raise _unfit(fact, answer)


def _number(fact: Fact, answer: int | Decimal | str) -> Decimal:
    try:
        if not isinstance(answer, bool):
            return parse_exact(str(answer))
    except UnitError:
        pass
    raise _unfit(fact, answer)


def _unfit(fact: Fact, answer: object) -> RuleError:
    kind, unit = fact.stands_for
    wanted = f"{kind}, in {unit}" if unit else str(kind)
    groups = without_groups(answer) if isinstance(answer, str) and kind in (Kind.AMOUNT, Kind.NUMBER) else ""
    return RuleError(f"{fact.name}: expected {wanted}, got {answer!r}{groups}", remedy=f"It asks: {fact.words}")
