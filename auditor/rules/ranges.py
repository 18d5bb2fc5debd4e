"""Where a number that is not known may lie, and what can be said of it all the same.

Ends are exact fractions, so nothing is rounded; what is said of ranges holds for every number in them.
"""

from __future__ import annotations

import operator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal


class Range(NamedTuple):
    """Where a number lies, both ends included; None is unbounded. Equal ends are an exact number."""

    low: Fraction | None
    high: Fraction | None

    @classmethod
    def exactly(cls, number: int | Decimal | Fraction) -> Range:
        """The range that holds one number."""
        return cls(Fraction(number), Fraction(number))


ANYWHERE = Range(None, None)
NOT_NEGATIVE = Range(Fraction(0), None)


def less(left: Range, right: Range) -> bool | None:
    """Whether every number of one is less than every number of the other; None where it depends."""
    if left.high is not None and right.low is not None and left.high < right.low:
        return True
    if left.low is not None and right.high is not None and left.low >= right.high:
        return False
    return None


def opposite(answer: bool | None) -> bool | None:
    """Yes for no, no for yes."""
    return None if answer is None else not answer


def equal(left: Range, right: Range) -> bool | None:
    """Whether they are the same number; None where it depends."""
    if left == right and left.low is not None and left.low == left.high:
        return True
    return False if less(left, right) or less(right, left) else None


def unequal(left: Range, right: Range) -> bool | None:
    """Whether they are different numbers; None where it depends."""
    return opposite(equal(left, right))


def _end(
    left: Fraction | None, right: Fraction | None, function: Callable[[Fraction, Fraction], Fraction]
) -> Fraction | None:
    return None if left is None or right is None else function(left, right)


def sum_of(left: Range, right: Range) -> Range:
    """Where the sum lies."""
    return Range(_end(left.low, right.low, operator.add), _end(left.high, right.high, operator.add))


def difference(left: Range, right: Range) -> Range:
    """Where the difference lies."""
    return sum_of(left, negated(right))


def negated(part: Range) -> Range:
    """Where the number lies with its sign turned."""
    low, high = part
    return Range(None if high is None else -high, None if low is None else -low)


def product(left: Range, right: Range) -> Range:
    """Exact where one side is an exact number; a product of two open ranges is left anywhere."""
    if left.low is None or left.low != left.high:
        left, right = right, left
    factor = left.low
    if factor is None or factor != left.high:
        return ANYWHERE
    low, high = (None if end is None else end * factor for end in right)
    if factor == 0:
        return Range.exactly(0)
    return Range(low, high) if factor > 0 else Range(high, low)


def quotient(left: Range, right: Range) -> Range:
    """Where the quotient lies; a division by an open range is left anywhere.

    Raises: ZeroDivisionError: by exactly zero.
    """
    if right.low is None or right.low != right.high:
        return ANYWHERE
    return product(left, Range.exactly(1 / right.low))


def greatest(*parts: Range) -> Range:
    """Where the greatest lies."""
    lows = [part.low for part in parts if part.low is not None]
    highs = [part.high for part in parts]
    high = None if None in highs else max(end for end in highs if end is not None)
    return Range(max(lows, default=None), high)


def least(*parts: Range) -> Range:
    """Where the least lies."""
    return negated(greatest(*map(negated, parts)))
