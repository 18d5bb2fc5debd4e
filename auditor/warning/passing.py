"""Which levels are passed: each held against what its rule counts, or against all that was executed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from auditor.levels import Level
    from auditor.rules.model import RuleSet
    from auditor.rules.verdict import Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A level, held against one amount. ``rule``: whose counter counted, or "" for all that was executed.

    ``line_ops``: the rule's line, 0 without one. ``passed``: None where more may count than ``counted_ops``.
    """

    level: Level
    rule: str
    line_ops: int
    at_ops: int
    counted_ops: int
    passed: bool | None

    @property
    def name(self) -> str:
        """What the mark is called, the same in every run and whatever was counted."""
        return f"{self.rule or 'executed'}@{self.at_ops}"


def marks(levels: Sequence[Level], judged: Sequence[Judged], executed_ops: int, *, floor: bool) -> list[Mark]:
    """Every level with every amount that it speaks of, the nearest last; one that two levels name stands once.

    ``judged``: all rules with a line. ``floor``: operations may be missing from what was executed.
    """
    found = {mark.name: mark for level in levels for mark in _of(level, judged, executed_ops, floor=floor)}
    return sorted(found.values(), key=lambda mark: (mark.rule, mark.at_ops))


def _of(level: Level, judged: Sequence[Judged], executed_ops: int, *, floor: bool) -> Iterator[Mark]:
    if level.ops is not None and not level.rule:
        passed = True if executed_ops >= level.ops else None if floor else False
        yield Mark(level=level, rule="", line_ops=0, at_ops=level.ops, counted_ops=executed_ops, passed=passed)
    named = bool(level.rule)
    for one in judged:
        meant = one.rule.id == level.rule if named else one.finding.binds and level.percent is not None
        if meant:
            yield _mark(level, one)


def _mark(level: Level, one: Judged) -> Mark:
    at_ops, most_ops = level.at_ops(one.finding.threshold_ops), one.total.most_ops
    may_be = most_ops is None or most_ops >= at_ops
    return Mark(
        level=level,
        rule=one.rule.id,
        line_ops=one.finding.threshold_ops,
        at_ops=at_ops,
        counted_ops=one.total.counted_ops,
        passed=True if one.total.counted_ops >= at_ops else None if may_be else False,
    )


def check_rules(levels: Sequence[Level], ruleset: RuleSet) -> None:
    """Every rule that a level names has a line.

    Raises: RuleError: there is none of that id, or it has no line.
    """
    for level in levels:
        if level.rule and ruleset.find(level.rule).threshold is None:
            raise RuleError(f"the level {level.text} names a rule without a line", remedy="Name a model_threshold.")
