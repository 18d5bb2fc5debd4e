"""When a count reaches a line if training goes on as it did, and what it comes to at the end of what is planned.

The band says: from now on, every stretch as long as a window goes no faster than the fastest window of the time
observed, and no slower than the slowest. What may count or not, and what is missing from the record, widen it; an end
that nothing bounds is open. Nothing is rounded: a moment is the first microsecond at which the line is reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from auditor.rules.plan import Until
from auditor.warning.pace import EXECUTED, STEPS

if TYPE_CHECKING:
    from auditor.rules.plan import Plan
    from auditor.warning.pace import Pace

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reaching(NamedTuple):
    """Moments in microseconds since 1970; None where nothing bounds them, or for ever.

    ``soonest_us`` is the earliest of what was counted for certain, ``earliest_us`` the earliest of all that may count.
    """

    earliest_us: int | None
    soonest_us: int | None
    expected_us: int | None
    latest_us: int | None


class Done(NamedTuple):
    """What a run has done so far: steps of progress, and all that was executed."""

    steps: int
    executed_ops: int


class Span(NamedTuple):
    """Where an amount lies; ``most`` is None without end, ``middle`` as the whole time observed has it."""

    least: int
    middle: int
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a rule's counter has now, for certain and at most; ``needed_ops`` reach the line."""

    counter: str
    counted_ops: int
    most_ops: int | None
    needed_ops: int

    @property
    def reached(self) -> bool | None:
        """Whether the line is reached; None where it may be."""
        if self.counted_ops >= self.needed_ops:
            return True
        return None if self.most_ops is None or self.most_ops >= self.needed_ops else False


def reaching(pace: Pace, standing: Standing, asked_us: int) -> Reaching | None:
    """When the line is reached; None where it is, or too little was observed."""
    rates = pace.rates(standing.counter)
    if rates is None or standing.reached:
        return None
    from_us, behind = pace.from_us(asked_us), pace.behind(standing.counter, asked_us)
    left = standing.needed_ops - standing.counted_ops + behind
    least_left = None if standing.most_ops is None else standing.needed_ops - standing.most_ops + behind
    return Reaching(
        earliest_us=None if least_left is None else _after(from_us, least_left, rates.greatest),
        soonest_us=_after(from_us, left, rates.greatest),
        expected_us=_after(from_us, left, rates.mean),
        latest_us=_after(from_us, left, rates.least),
    )


def _after(from_us: int, left: Fraction | int, rate: Fraction | None) -> int | None:
    """The moment at which so much has come; never before the one from which on is projected."""
    if not rate:
        return None
    return from_us + max(-(-Fraction(left) // rate), 0)


def end_us(plan: Plan) -> int | None:
    """The end of the planned last day, in UTC; None where the plan names no day."""
    if plan.end is None:
        return None
    last = datetime.combine(plan.end, time(), UTC) - _EPOCH
    return last // timedelta(microseconds=1) + 86_400 * 10**6


class Left(NamedTuple):
    """What of a plan is left: so many microseconds (``of`` is ""), steps or executed operations."""

    of: str
    amount: Fraction


def left(pace: Pace, plan: Plan, done: Done, asked_us: int) -> Left:
    """What of the plan is still to be done; nothing where it is over."""
    last_us = end_us(plan)
    if last_us is not None:
        found = Left("", Fraction(last_us - pace.from_us(asked_us)))
    elif plan.until is Until.OPERATIONS:
        found = Left(EXECUTED, Fraction(plan.amount - done.executed_ops))
    else:
        found = Left(STEPS, Fraction((plan.steps or 0) - done.steps))
    return found._replace(amount=max(found.amount, Fraction()))


def at_end(pace: Pace, standing: Standing, remaining: Left, asked_us: int) -> Span | None:
    """What the rule's counter has when that much more is done; None where too little was observed."""
    if not remaining.amount:
        return Span(standing.counted_ops, standing.counted_ops, standing.most_ops)
    rates = pace.rates(standing.counter, remaining.of)
    if rates is None:
        return None
    behind = Fraction() if remaining.of else pace.behind(standing.counter, asked_us)
    grown = [remaining.amount * rate for rate in (rates.least, rates.mean)]
    least, middle = (standing.counted_ops + max(more - behind, Fraction()) // 1 for more in grown)
    if standing.most_ops is None or rates.greatest is None:
        return Span(least, middle, None)
    more = max(remaining.amount * rates.greatest - behind, Fraction())
    return Span(least, middle, standing.most_ops + more // 1)


def ending(pace: Pace, remaining: Left, asked_us: int) -> Reaching | None:
    """When the plan will be done, at the rates of its own measure; None where too little was observed."""
    from_us = pace.from_us(asked_us)
    if not remaining.of or not remaining.amount:
        only = from_us + int(remaining.amount)
        return Reaching(only, only, only, only)
    rates = pace.rates(remaining.of)
    if rates is None:
        return None
    behind = pace.behind(remaining.of, asked_us)
    soonest_us, expected_us, latest_us = (
        _after(from_us, remaining.amount + behind, rate) for rate in (rates.greatest, rates.mean, rates.least)
    )
    return Reaching(soonest_us, soonest_us, expected_us, latest_us)


def met(standing: Standing, span: Span | None) -> bool | None:
    """Whether the line is reached by the end of the plan; None where that depends."""
    if standing.reached or (span is not None and span.least >= standing.needed_ops):
        return True
    return False if span is not None and span.most is not None and span.most < standing.needed_ops else None
