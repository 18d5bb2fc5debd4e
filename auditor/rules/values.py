"""Values that may be open: truths, texts, countries and ranges of numbers, and how they go together in three values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from auditor.rules import ranges
from auditor.rules.ranges import Range


class Members(NamedTuple):
    """A group of countries on a day: who is in it, and of whom that is not known."""

    inside: frozenset[str]
    uncertain: frozenset[str] = frozenset()


class Result(NamedTuple):
    """A value and the names that keep it open: a truth, text or country that is open is None, a number is a range."""

    value: bool | str | Range | Members | None
    open: frozenset[str] = frozenset()


Values = Mapping[str, Result]


def all_of(parts: Sequence[Result]) -> Result:
    """Yes where all are, no where one is not; what is open stays open."""
    if any(part.value is False for part in parts):
        return Result(False)
    return _joined(parts) if any(part.value is None for part in parts) else Result(True)


def any_of(parts: Sequence[Result]) -> Result:
    """Yes where one is, no where none is; what is open stays open."""
    if any(part.value is True for part in parts):
        return Result(True)
    return _joined(parts) if any(part.value is None for part in parts) else Result(False)


def _joined(parts: Sequence[Result]) -> Result:
    return Result(None, frozenset().union(*(part.open for part in parts if part.value is None)))


def negation(part: Result) -> Result:
    """No for yes, yes for no; what is open stays open."""
    return Result(None if part.value is None else not part.value, part.open)


def ranged(result: Result, anywhere: Range) -> Result:
    """A number that is open as the range in which it lies."""
    return Result(anywhere, result.open) if result.value is None else result


def belongs(country: Result, group: Result, name: str) -> Result:
    """Whether a country is in the group of that name."""
    if country.value is None or not isinstance(group.value, Members):
        return Result(None, country.open | group.open)
    if country.value in group.value.uncertain:
        return Result(None, frozenset({name}))
    return Result(country.value in group.value.inside)


def compared(compare: Callable[[Range, Range], bool | None], left: Result, right: Result) -> Result:
    """What a comparison of two numbers, or of two of anything else, comes to."""
    names = left.open | right.open
    if isinstance(left.value, Range) and isinstance(right.value, Range):
        answer = compare(left.value, right.value)
    elif left.value is None or right.value is None:
        answer = None
    else:
        answer = (left.value == right.value) == (compare is ranges.equal)
    return Result(answer, names if answer is None else frozenset())


def combined(combine: Callable[..., Range], parts: Sequence[Result]) -> Result:
    """Where a number that is made of others lies; open by all that keeps these open."""
    found = [part.value for part in parts if isinstance(part.value, Range)]
    return Result(combine(*found), frozenset().union(*(part.open for part in parts)))
