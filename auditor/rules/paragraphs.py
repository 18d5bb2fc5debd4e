"""The paragraphs of a rule held against values: which outcome is met, which may be, and what would decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.rules.expressions import any_of

if TYPE_CHECKING:
    from auditor.rules.expressions import Values
    from auditor.rules.model import Rule

NONE = "none"
UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """``possible``: the outcome, or each that it may be; ``met``: the paragraphs that lead to the one outcome.

    ``left_out``: the words of exclusions that are met; ``open``: the names that keep it open.
    """

    possible: tuple[str, ...]
    met: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    open: frozenset[str] = frozenset()

    @property
    def outcome(self) -> str:
        """The one outcome that is possible, else "undetermined"."""
        return self.possible[0] if len(self.possible) == 1 else UNDETERMINED


def walk(rule: Rule, values: Values) -> Walked:
    """The first outcome with a paragraph that is met; open where an earlier one might still be."""
    excluded = any_of([clause.when.evaluate(values) for clause in rule.exclusions])
    if excluded.value is True:
        words = tuple(clause.words for clause in rule.exclusions if clause.when.evaluate(values).value)
        return Walked(possible=(NONE,), left_out=words)
    possible: list[str] = []
    names: set[str] = set(excluded.open)
    for outcome in dict.fromkeys(paragraph.outcome for paragraph in rule.paragraphs):
        each = {p.id: p.when.evaluate(values) for p in rule.paragraphs if p.outcome == outcome}
        met = tuple(name for name, result in each.items() if result.value)
        either = any_of(list(each.values()))
        if met and not possible and excluded.value is False:
            return Walked(possible=(outcome,), met=met)
        if either.value is not False:
            possible.append(outcome)
            names |= either.open
        if met:
            break
    else:
        possible.append(NONE)
    if possible == [NONE]:
        return Walked(possible=(NONE,))
    if excluded.value is None and NONE not in possible:
        possible.append(NONE)
    return Walked(possible=tuple(possible), open=frozenset(names))
