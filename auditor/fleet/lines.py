"""How far an amount may go before a rule answers otherwise, found by asking the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.rules.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

MOST = 2**60  # TPP; more than all chips that were ever made
_USUAL = 2**34  # above most lines: they are found in half as many questions


def most(within: Callable[[int], bool | None]) -> int | None:
    """The largest whole number of which that is true, 0 where it is true of none; None: there is no end, or it is open.

    What is true of a number is true of every smaller one.
    """
    if within(0) is not True:
        return 0 if within(0) is False else None
    if within(MOST) is not False:
        return None
    low, high = (0, _USUAL) if within(_USUAL) is not True else (_USUAL, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) is True else (low, middle)
    return low


def left(line: Range, used: Range) -> Range:
    """What is left up to a line, never less than nothing: at least, and at most."""
    least = _less(line.low, used.high)
    return Range(least if least is not None else Range.exactly(0).low, _less(line.high, used.low))


def _less(line: Fraction | None, used: Fraction | None) -> Fraction | None:
    return None if line is None or used is None else max(line - used, line * 0)
