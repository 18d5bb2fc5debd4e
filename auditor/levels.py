"""Levels at which somebody wants to be told: a share of a rule's line, or an amount of operations.

``80%`` is a share of the line of every rule that binds, ``eu_ai_act_art51=80%`` of that rule's alone; ``2e25`` is an
amount of all that was executed, ``us_ca_sb53=2e25`` of what that rule's counter counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from auditor.errors import UnitError
from auditor.units import LEAST_MEANT_OPS, parse_exact, parse_ops, without_groups

_LEVEL = re.compile(r"(?:(?P<rule>[A-Za-z0-9_]+)=)?(?P<amount>[0-9.eE+]+)(?P<percent>%?)")
_GROUPED = re.compile(r"(?<![0-9.eE+])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9.%])")
_MOST = 100
_MOST_PERCENT = 1000
_WHOLE_LINE = 100  # per cent


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """``rule``: its id, or "" for all that bind. Either ``percent`` of the line or ``ops`` operations, never both."""

    text: str
    rule: str
    percent: Fraction | None
    ops: int | None

    def at_ops(self, line_ops: int) -> int:
        """The least whole amount of operations that is at the level of a rule with this line."""
        if self.ops is not None:
            return self.ops
        share = Fraction(self.percent or 0) * line_ops / 100
        return -(-share.numerator // share.denominator)


def parse_levels(text: str) -> tuple[Level, ...]:
    """The levels that a text names, separated by blanks or commas, each once.

    Raises: UnitError: one that cannot be read; the message names it.
    """
    grouped = _GROUPED.search(text)
    if grouped:
        raise UnitError(f"expected a level such as 80% or 2e25, got {grouped[0]!r}{without_groups(grouped[0])}")
    words = re.sub(r"\s+%", "%", text).replace(",", " ").split()
    levels = dict.fromkeys(map(_level, words))
    if len(levels) > _MOST:
        raise UnitError(f"expected at most {_MOST} levels, got {len(levels)}")
    return tuple(levels)


def _level(word: str) -> Level:
    match = _LEVEL.fullmatch(word)
    if match is None:
        raise UnitError(f"expected a level such as 80%, 2e25 or RULE=80%, got {word!r}")
    rule = match["rule"] or ""
    if match["percent"]:
        percent = Fraction(parse_exact(match["amount"]))
        if not 0 < percent <= _MOST_PERCENT:
            raise UnitError(f"expected a share above 0 and of at most {_MOST_PERCENT}%, got {word!r}")
        return Level(text=word, rule=rule, percent=percent, ops=None)
    ops = parse_ops(match["amount"])
    if ops < LEAST_MEANT_OPS:
        meant = f"; did you mean {word}%?" if 0 < ops <= _WHOLE_LINE else ""
        raise UnitError(
            f"expected a share of the line such as 80%, or an amount of operations from {LEAST_MEANT_OPS:,} on such as "
            f"2e25, got {word!r}{meant}"
        )
    return Level(text=word, rule=rule, percent=None, ops=ops)
